//! Storing received events.

use crate::agent::Origin;
use crate::bounds::COMMIT_EVENTS;
use crate::store::Durability;
use crate::{Event, Inserted, Replica, WriteError};

/// Stores events in batches of a size that suits the engine, all submitted at once.
///
/// # Errors
/// Those of the first batch that is not stored; earlier batches are.
pub(crate) async fn store(
    replica: &Replica,
    mut events: Vec<Event>,
    origin: Origin,
) -> Result<Inserted, WriteError> {
    let batch = COMMIT_EVENTS.min(replica.rows_at_once() / 4).max(1);
    let mut answers = Vec::with_capacity(events.len().div_ceil(batch));
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(batch));
        answers
            .push(replica.submit(std::mem::replace(&mut events, rest), origin, Durability::Immediate).await?);
    }
    let mut all = Inserted::default();
    for answer in answers {
        let inserted = answer.wait().await?;
        all.new += inserted.new;
        all.known += inserted.known;
    }
    Ok(all)
}
