//! What the writer does when the store fails: it refuses writes, tries again by itself, and takes nothing for true that
//! it has not read again.

use std::sync::Arc;
use std::time::Duration;

use super::read_state::ReadState;
use super::read_state::{read_checkpoint, recover};
use super::state::Published;
use super::writer::Writer;
use crate::events::outermost_event;
use crate::fault_injection::{Bug, injected};
use crate::store::{Direction, StoreError, Table};
use crate::tables::name;
use crate::{ReadError, Timestamp, steady};

/// How long the store is left alone after a failure.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Writer {
    /// Why writes are refused, if they are and it is too early to try again.
    pub(super) fn refusal(&self) -> Option<StoreError> {
        let retry_at = self.retry_at?;
        if steady::now() >= retry_at {
            return None;
        }
        Option::clone(&self.shared.failure.load())
    }

    /// Leaves the store alone for as long as that is wanted.
    pub(super) fn expect_no_refusal(&self) -> Result<(), StoreError> {
        self.refusal().map_or(Ok(()), Err)
    }

    /// What the next commit builds on: the state that readers see, read again from the store if a commit before may
    /// have left another one there.
    pub(super) async fn base(&mut self) -> Result<Arc<ReadState>, StoreError> {
        if self.is_behind {
            self.resync().await;
        }
        if self.is_behind {
            let failure = Option::clone(&self.shared.failure.load());
            return Err(failure.unwrap_or_else(unreadable));
        }
        self.shared.state().map_err(|error| match error {
            ReadError::Store(error) => error,
            ReadError::Damaged(_) | ReadError::Closed => StoreError::Closed,
        })
    }

    /// Turns read-only until the store takes a write again. Whether the failed commit was stored after all is for the
    /// store to say: what stands in it counts.
    pub(super) async fn fail(&mut self, error: &StoreError) {
        if self.shared.failure.swap(Arc::new(Some(error.clone()))).is_none() {
            tracing::error!(%error, "the store failed: read-only until it takes a write again");
        } else {
            tracing::debug!(%error, "the store fails still");
        }
        self.fall_behind();
        self.resync().await;
    }

    /// Memory may hold less than the store, or more. The store is read again before the next commit, and before long.
    pub(super) fn fall_behind(&mut self) {
        self.is_behind = true;
        self.retry_at = Some(steady::now() + RETRY_AFTER);
    }

    /// Tries a store again that has failed. Nobody needs to write for it: a node that is asked for nothing because it
    /// takes no writes would never learn that it can.
    pub(super) async fn retry(&mut self) {
        self.retry_at = None;
        match self.base().await {
            Ok(state) if self.shared.failure.load().is_some() => {
                // A failure arms the next attempt.
                let _ = self.commit_checkpoint(&state).await;
            }
            Ok(_) => {}
            Err(_) => self.retry_at = Some(steady::now() + RETRY_AFTER),
        }
    }

    /// Takes everything that memory holds of the store from the store again. An engine that was reopened after a
    /// failure may have lost what was buffered, or have kept a commit that failed.
    pub(super) async fn resync(&mut self) {
        self.shared.feed.forget_unshown();
        self.shared.recent.forget();
        self.known_stale.clear();
        self.walk = None;
        self.touched_top.forget();
        self.expiry_alarm.look();
        match self.reload().await {
            Ok(state) => {
                self.is_behind = false;
                self.shared.show_clock(&self.clock);
                let next_arrival = state.checkpoint.next_arrival;
                self.shared.published.store(Arc::new(Published::State(Arc::new(state))));
                self.shared.digests.forget();
                self.show_arrivals(next_arrival);
            }
            Err(ReadError::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "the store cannot be read again: nothing is committed until it can");
                self.fall_behind();
                self.is_behind = !injected(Bug::StaleReload);
            }
        }
    }

    /// What the store holds.
    async fn reload(&mut self) -> Result<ReadState, ReadError> {
        let view = self.shared.store.view().await?;
        let published = match self.shared.state() {
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
                let (state, damaged) = recover(&*self.shared.store, view, checkpoint).await?;
                self.shared.damage.found(damaged, self.shared.wall.now());
                state
            }
        };
        let known = published.map_or(0, |state| state.checkpoint.next_arrival);
        self.shared.latest.forget_all(checkpoint.next_arrival.max(known) + 1);
        self.greatest = last.map(|event_key| event_key.timestamp);
        Ok(state)
    }
}

fn unreadable() -> StoreError {
    StoreError::Io(Arc::new(std::io::Error::other("the store could not be read after a commit")))
}
