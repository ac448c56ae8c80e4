//! Failures of the store: writes are refused, the store is tried again without being asked, and nothing in memory
//! counts before it was read again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::kept_sketch::{self, Recovered};
use super::read_state::{ReadState, read_checkpoint, read_sketch, recover};
use super::state::Shared;
use crate::events::outermost_event;
use crate::fault_injection::{Bug, injected};
use crate::steady;
use crate::store::{Direction, StoreError, Table};
use crate::tables::name;
use crate::{ReadError, Timestamp};

/// How long the store is left alone after a failure.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How far the writer can rely on the store.
#[derive(Default)]
pub(super) struct StoreHealth {
    /// When a store that failed is tried again.
    pub(super) retry_at: Option<Instant>,
    /// Whether the store may hold another state than memory does. Nothing is committed before it was read again.
    pub(super) is_behind: bool,
}

impl StoreHealth {
    /// Why writes are refused, if they are and it is too early to try again.
    pub(super) fn refusal(&self, shared: &Shared) -> Option<StoreError> {
        let retry_at = self.retry_at?;
        if steady::now() >= retry_at {
            return None;
        }
        Option::clone(&shared.failure.load())
    }

    /// Turns read-only until the store takes a write again. The failed commit may be stored all the same: only the
    /// store can tell.
    pub(super) fn note_failure(&mut self, error: &StoreError, shared: &Shared) {
        if shared.failure.swap(Arc::new(Some(error.clone()))).is_none() {
            tracing::error!(%error, "the store failed: read-only until it takes a write again");
        } else {
            tracing::debug!(%error, "the store fails still");
        }
        self.fall_behind();
    }

    /// The store took a write.
    pub(super) fn note_success(&mut self, shared: &Shared) {
        if shared.failure.swap(Arc::new(None)).is_some() {
            tracing::info!("the store takes writes again");
            self.retry_at = None;
        }
    }

    /// Memory may hold less than the store, or more. The store is read again before the next commit, and before long.
    pub(super) fn fall_behind(&mut self) {
        self.is_behind = true;
        self.retry_later();
    }

    pub(super) fn retry_later(&mut self) {
        self.retry_at = Some(steady::now() + RETRY_AFTER);
    }

    /// The store could not be read again.
    pub(super) fn note_unreadable(&mut self) {
        self.fall_behind();
        self.is_behind = !injected(Bug::StaleReload);
    }
}

/// The state of a store that was read again.
pub(super) struct Reloaded {
    pub(super) state: ReadState,
    /// The greatest timestamp stored.
    pub(super) greatest: Option<Timestamp>,
    pub(super) sketch: Recovered,
}

/// Reads the store again. An engine that was reopened after a failure may have lost buffered commits, or have kept a
/// commit that failed.
pub(super) async fn reload(shared: &Shared) -> Result<Reloaded, ReadError> {
    let view = shared.store.view().await?;
    let published = match shared.state() {
        Err(ReadError::Closed) => return Err(ReadError::Closed),
        published => published.ok(),
    };
    let all = (Timestamp::MIN, Timestamp::MAX);
    let last = outermost_event(&*view, all, Direction::Backward).await?;
    let unreadable =
        || ReadError::damaged(Table::Meta, name::CHECKPOINT.as_bytes(), "its row cannot be read");
    let checkpoint = read_checkpoint(&*view).await?.ok_or_else(unreadable)?;
    let state = match &published {
        Some(state) if state.checkpoint == checkpoint => {
            ReadState { view, pending: state.pending.clone(), checkpoint }
        }
        _ => {
            tracing::warn!("the store holds another state than was known: going on from what it holds");
            let (state, damaged) = recover(&*shared.store, view, checkpoint).await?;
            shared.damage.found(damaged, shared.wall.now());
            state
        }
    };
    let stored = read_sketch(&*state.view).await?;
    let sketch = kept_sketch::recover(&*state.view, &checkpoint, stored, shared.sketch.locators).await?;
    let known = published.map_or(0, |state| state.checkpoint.next_arrival);
    shared.latest.forget_all(checkpoint.next_arrival.max(known) + 1);
    Ok(Reloaded { state, greatest: last.map(|event_key| event_key.timestamp), sketch })
}

/// The failure of a store that cannot be read, where no other is known.
pub(super) fn unreadable() -> StoreError {
    StoreError::Io(Arc::new(std::io::Error::other("the store could not be read after a commit")))
}
