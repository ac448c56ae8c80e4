//! What a replica says of itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::damaged::DamagedEvents;
use super::handle::Replica;
use super::tree_walk::TreeWalk;
use crate::events::outermost_event;
use crate::store::{Capabilities, Direction, StoreError};
use crate::tree::Root;
use crate::{
    ClockFault, EventKey, Incarnation, NodeId, Parameters, ReadError, TimeSpan, Timestamp, WallClock,
    WriteError,
};

/// What a replica says of itself.
#[derive(Debug, Clone)]
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
        let mut walk = TreeWalk::begin(&self.shared, &self.queue, None).await?;
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

    /// Why no local writes are taken at the moment, if none are: what the answer to a write would be.
    pub fn refuses_writes(&self) -> Option<WriteError> {
        let failure = Option::clone(&self.shared.failure.load()).map(WriteError::ReadOnly);
        let unreadable = || match self.shared.state() {
            Err(error) => Some(WriteError::from(error)),
            Ok(_) => None,
        };
        failure.or_else(unreadable).or_else(|| self.clock_fault().map(WriteError::Clock))
    }

    /// Why this node's clock cannot be trusted with a write, if it cannot.
    pub fn clock_fault(&self) -> Option<ClockFault> {
        self.shared.clock_fault()
    }

    /// Resolves with the reason if the writer dies, which is a defect: nothing is written any more, and nothing read.
    /// Never resolves otherwise.
    pub async fn died(&self) -> String {
        let mut died = self.shared.died.subscribe();
        match died.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives as long as this handle.
            Err(_) => std::future::pending().await,
        }
    }

    /// How far ahead of the wall clock an event may be and still count as the present.
    pub fn max_drift(&self) -> Duration {
        self.shared.max_drift
    }

    /// Which opening of its store this is.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// What the cluster of this replica shares.
    pub fn parameters(&self) -> Parameters {
        self.shared.parameters
    }

    /// Rows that one commit of the store takes without trouble.
    pub(crate) fn rows_at_once(&self) -> usize {
        self.shared.capabilities.rows_at_once
    }

    /// Where the time comes from.
    pub(crate) fn wall(&self) -> Arc<dyn WallClock> {
        Arc::clone(&self.shared.wall)
    }

    /// Stored hashes and counts that were found to be wrong and taken back, since the replica was opened.
    pub fn healed_hashes(&self) -> u64 {
        self.shared.healed_hashes.load(Ordering::Relaxed)
    }

    /// The events whose stored copy is damaged, as far as a read, an export, a watch, `verify` or the scrub has come upon
    /// them. Connected neighbours are asked for sound copies; an import or an insertion of one mends it, too.
    pub fn damaged_events(&self) -> DamagedEvents {
        self.shared.damage.listed()
    }

    /// The addresses of damaged events.
    pub(crate) fn damaged_event_keys(&self) -> Vec<EventKey> {
        self.shared.damage.event_keys()
    }

    /// Changes with the list of damaged events.
    pub(crate) fn damage_changes(&self) -> watch::Receiver<u64> {
        self.shared.damage.changes()
    }

    /// How many events are held, so that a simulation need not ask for the root to see that it cannot be equal.
    #[cfg(feature = "testkit")]
    pub(crate) fn events_held(&self) -> Option<u64> {
        self.shared.state().ok().map(|state| state.checkpoint.events)
    }
}
