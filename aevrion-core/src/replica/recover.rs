//! What a replica keeps in memory, made again from the store: at the start, and after a commit that failed.

use bytes::BytesMut;

use crate::ReadError;
use crate::arrivals::Runs;
use crate::index::Pending;
use crate::planted::{Bug, planted};
use crate::store::{Table, View};
use crate::tables::{Checkpoint, EventRow, address_key, name};

/// How far the store has come; `None` if it does not say.
pub(super) async fn read_checkpoint(view: &dyn View) -> Result<Option<Checkpoint>, ReadError> {
    let row = view.get(Table::Meta, name::CHECKPOINT.as_bytes()).await?;
    Ok(row.and_then(|row| Checkpoint::parse(&row)))
}

/// The index rows that were not written when the store was last open: those of the arrivals since the checkpoint.
///
/// A replica opens in spite of damage here: `verify` names it, and `rebuild` does what can be done. For the same reason
/// events are not checked against their ids: the row of a damaged one has to stand, or a read would silently answer
/// with the version before.
pub(super) async fn recover_pending(view: &dyn View, checkpoint: &Checkpoint) -> Result<Pending, ReadError> {
    let mut pending = Pending::default();
    let mut arena = BytesMut::new();
    if checkpoint.next_to_index == checkpoint.next_arrival || planted(Bug::PendingForgotten) {
        return Ok(pending);
    }
    let mut runs = Runs::from(view, checkpoint.next_to_index).await?;
    while let Some(page) = runs.next().await? {
        for run in page {
            match run {
                Ok(run) => {
                    for (_, address) in run.from(checkpoint.next_to_index) {
                        let row = view.get(Table::Events, &address_key(address)).await?;
                        if let Some(Ok(row)) = row.as_ref().map(EventRow::parse) {
                            pending.insert(&row.key, address, &mut arena);
                        } else {
                            tracing::error!(%address, "an event that arrived last is missing; run `verify`");
                        }
                    }
                }
                Err(damage) => tracing::error!(%damage, "events that arrived last may not be found"),
            }
        }
    }
    Ok(pending)
}
