//! The kept cells of a store, at the start and after a failed commit: those of its row, and the arrivals since. A store
//! without a row, or without all of these arrivals, has its events read once.

use std::time::Duration;

use super::check::cells_of_all;
use super::{KeptCells, Locators, StoredSketch};
use crate::ReadError;
use crate::arrivals::{Effect, Runs};
use crate::coop::charge;
use crate::steady;
use crate::store::View;
use crate::tables::Checkpoint;

/// How often the making of the cells is logged.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The cells of all events of a store.
pub(in crate::replica) struct Recovered {
    pub(in crate::replica) cells: KeptCells,
    /// The sequence up to which the stored row has them; `None` if they were made anew.
    pub(in crate::replica) stored_until: Option<u64>,
}

/// The cells of the events in `view`, whose row is `stored`. Cost: reads the arrivals since the row was written; or all
/// keys of events if the row is `None`, of another key, or older than the arrivals kept.
pub(in crate::replica) async fn recover(
    view: &dyn View,
    checkpoint: &Checkpoint,
    stored: Option<StoredSketch>,
    locators: Locators,
) -> Result<Recovered, ReadError> {
    if let Some(stored) = stored.filter(|stored| stored.key == locators.key) {
        let stored_until = Some(stored.sequence);
        if let Some(cells) = follow(view, checkpoint, stored, locators).await? {
            return Ok(Recovered { cells, stored_until });
        }
    }
    Ok(Recovered { cells: make(view, checkpoint.events, locators).await?, stored_until: None })
}

/// The stored cells with the events that arrived since; `None` if not all of these arrivals can be read.
async fn follow(
    view: &dyn View,
    checkpoint: &Checkpoint,
    stored: StoredSketch,
    locators: Locators,
) -> Result<Option<KeptCells>, ReadError> {
    let StoredSketch { sequence, mut cells, .. } = stored;
    if sequence >= checkpoint.next_arrival {
        return Ok((sequence == checkpoint.next_arrival).then_some(cells));
    }
    let mut expected = sequence;
    let mut runs = Runs::from(view, sequence).await?;
    while let Some(page) = runs.next().await? {
        for run in page {
            let Some(run) = run.ok().filter(|run| run.first <= expected) else { return Ok(None) };
            charge(run.event_keys.len()).await;
            if run.effect == Effect::Stored {
                run.from(sequence).for_each(|arrival| cells.insert(locators.of(arrival.event_key)));
            }
            expected = run.end();
        }
    }
    Ok((expected == checkpoint.next_arrival).then_some(cells))
}

/// The cells of all events, made by reading their keys.
async fn make(view: &dyn View, events: u64, locators: Locators) -> Result<KeptCells, ReadError> {
    if events > 0 {
        tracing::info!(events, "making the sketch of the store's events, once");
    }
    let mut told = steady::now();
    cells_of_all(view, locators, |done| {
        if steady::now() - told >= TELL_EVERY {
            told = steady::now();
            tracing::info!(done, events, "making the sketch of the store's events");
        }
    })
    .await
}
