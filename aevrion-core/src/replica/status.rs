//! What a replica says of itself.

use std::time::Duration;

use tokio::sync::watch;

use super::damaged::DamagedEvents;
use super::handle::Replica;
use crate::events::outermost_event;
use crate::store::{Capabilities, Direction, StoreError};
use crate::tree::Root;
use crate::{ClockFault, EventKey, NodeId, Parameters, ReadError, TimeSpan, Timestamp};

/// What a replica says of itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Its identity.
    pub node: NodeId,
    /// The engine that keeps it, and what that can do.
    pub store: Capabilities,
    /// What its cluster shares.
    pub parameters: Parameters,
    /// Events stored, those from the future included.
    pub events: u64,
    /// Keys that clients ever wrote, deleted ones included.
    pub keys: u64,
    /// Hash and count of all events.
    pub root: Root,
    /// When the first and the last event happened.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why no writes are taken at the moment, if none are.
    pub read_only: Option<StoreError>,
    /// The present, at which reads happen.
    pub now: Timestamp,
    /// How far the local clock runs ahead of the wall.
    pub clock_ahead: Duration,
    /// Why this node's clock cannot be trusted with a write, if it cannot.
    pub clock_fault: Option<ClockFault>,
    /// Index rows in memory that are not in the store yet.
    pub pending_index_rows: u64,
    /// Stored hashes and counts of the tree that were wrong and taken back, since the replica was opened.
    pub healed_hashes: u64,
    /// Arrivals that a watcher can resume from: the oldest kept, and the next to come.
    pub arrivals: (u64, u64),
}

impl Replica {
    /// What the replica says of itself. Cost: as [`Replica::root`], and a search for each pending key.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn status(&self) -> Result<Status, ReadError> {
        let mut walk = self.walk(None).await?;
        let root = self.noting(walk.root(TimeSpan::ALL).await)?;
        let shared = &self.shared;
        let state = walk.state();
        let checkpoint = state.checkpoint;
        let new_keys =
            self.noting(state.pending.count_new_keys(&*state.view).await.map_err(ReadError::from))?;
        let now = shared.now();
        let all = (Timestamp::MIN, Timestamp::MAX);
        let first = outermost_event(&*state.view, all, Direction::Forward).await?;
        let last = outermost_event(&*state.view, all, Direction::Backward).await?;
        Ok(Status {
            node: shared.node,
            store: shared.capabilities,
            parameters: shared.parameters,
            events: checkpoint.events,
            keys: checkpoint.indexed_keys + new_keys,
            root,
            span: first.zip(last).map(|(first, last)| (first.timestamp, last.timestamp)),
            read_only: Option::clone(&shared.failure.load()),
            now,
            clock_ahead: now.ahead_of(shared.wall.now()),
            clock_fault: shared.clock_fault(),
            pending_index_rows: u64::try_from(state.pending.len()).unwrap_or(u64::MAX),
            healed_hashes: self.healed_hashes(),
            arrivals: (checkpoint.oldest_arrival, checkpoint.next_arrival),
        })
    }

    /// The events whose stored copy is damaged, as far as a read, an export, a watch, `verify` or the scrub has come upon
    /// them. Connected neighbours are asked for sound copies; an import or an insertion of one mends it, too.
    pub fn damaged_events(&self) -> DamagedEvents {
        self.shared.damage.listed()
    }

    /// The addresses of damaged events.
    pub(crate) fn damaged_addresses(&self) -> Vec<EventKey> {
        self.shared.damage.event_keys()
    }

    /// Changes with the list of damaged events.
    pub(crate) fn damage_changes(&self) -> watch::Receiver<u64> {
        self.shared.damage.changes()
    }
}
