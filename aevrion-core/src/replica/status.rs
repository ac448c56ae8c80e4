//! The status of a replica: its names, sizes and faults.

use std::ops::Range;
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

/// The status of a replica.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Its identity.
    pub node: NodeId,
    /// The engine of its store, and its capabilities.
    pub store: Capabilities,
    /// The parameters of its cluster.
    pub parameters: Parameters,
    /// Events stored, including those from the future.
    pub events: u64,
    /// Keys that clients ever wrote, including deleted ones.
    pub keys: u64,
    /// Hash and count of all events.
    pub root: Root,
    /// The times of the first and the last event.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why no writes are taken at present, if none are.
    pub read_only: Option<StoreError>,
    /// The present, at which reads happen.
    pub now: Timestamp,
    /// How far the local clock runs ahead of the wall.
    pub clock_ahead: Duration,
    /// Why this node's clock cannot be trusted with a write, if it cannot.
    pub clock_fault: Option<ClockFault>,
    /// Index rows in memory that are not in the store yet.
    pub pending_index_rows: u64,
    /// Stored hashes and counts of the tree that were wrong and removed, since the replica was opened.
    pub healed_hashes: u64,
    /// The kept arrivals, from which a watcher can resume.
    pub arrivals: Range<u64>,
}

impl Replica {
    /// The status. Cost: as [`Replica::root`], and a search for each pending key.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn status(&self) -> Result<Status, ReadError> {
        let walk = TreeWalk::begin(&self.shared, &self.queue, None).await?;
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
            arrivals: checkpoint.oldest_arrival..checkpoint.next_arrival,
        })
    }

    /// The error that a local write would get at present; `None` if it would be taken.
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

    /// Resolves with the reason if the writer dies, which is a defect: the replica takes no reads and no writes any
    /// more. Never resolves otherwise.
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

    /// The name of this opening of the store.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// The parameters of the cluster.
    pub fn parameters(&self) -> Parameters {
        self.shared.parameters
    }

    /// The number of rows that suits one commit of the store.
    pub(crate) fn rows_at_once(&self) -> usize {
        self.shared.capabilities.rows_at_once
    }

    /// The wall clock.
    pub(crate) fn wall(&self) -> Arc<dyn WallClock> {
        Arc::clone(&self.shared.wall)
    }

    /// Stored hashes and counts that were wrong and removed, since the replica was opened.
    pub fn healed_hashes(&self) -> u64 {
        self.shared.healed_hashes.load(Ordering::Relaxed)
    }

    /// The events whose stored copy is damaged, as far as a read, an export, a watch, `verify` or the scrub has found
    /// them. Connected neighbours are asked for sound copies; an import or an insertion of a sound copy mends it,
    /// too.
    pub fn damaged_events(&self) -> DamagedEvents {
        self.shared.damage.listed()
    }

    /// The event keys of damaged events.
    pub(crate) fn damaged_event_keys(&self) -> Vec<EventKey> {
        self.shared.damage.event_keys()
    }

    /// A channel that changes with the list of damaged events.
    pub(crate) fn damage_changes(&self) -> watch::Receiver<u64> {
        self.shared.damage.changes()
    }

    /// The number of events. A simulation compares it before the root, which costs more.
    #[cfg(feature = "testkit")]
    pub(crate) fn events_held(&self) -> Option<u64> {
        self.shared.state().ok().map(|state| state.checkpoint.events)
    }
}
