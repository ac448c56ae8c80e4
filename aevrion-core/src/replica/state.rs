//! The state that handles, readers and the writer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, watch};

use super::damaged::{DamageList, damaged_event};
use super::digests::Digests;
use super::feed::Feed;
use super::kept_sketch::{KeptCells, KeptSketch};
use super::options::Options;
use super::read_state::ReadState;
use super::recent::RecentArrivals;
use crate::events::read_event;
use crate::fault_injection::{Bug, injected};
use crate::index::LatestCache;
use crate::store::{Capabilities, EventStore, StoreError};
use crate::tables::Lineage;
use crate::tree::{KeptTop, Shape};
use crate::{Clock, ClockFault, Event, Incarnation, NodeId, Parameters, ReadError, Timestamp, WallClock};

/// The state that the writer shows to readers.
pub(super) enum Published {
    /// The latest commit.
    State(Arc<ReadState>),
    /// The latest commit cannot be shown: reads fail rather than answer without it.
    Unreadable(StoreError),
    /// The replica was closed, or its writer has died.
    Closed,
}

/// The names of a store and its arrivals.
pub(super) struct Names {
    pub(super) node: NodeId,
    /// This opening.
    pub(super) incarnation: Incarnation,
    /// Its last opening is this one, even before its first arrival.
    pub(super) lineage: Lineage,
}

/// One replica, with any number of handles.
pub(crate) struct Shared {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) capabilities: Capabilities,
    pub(super) parameters: Parameters,
    pub(super) shape: Shape,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) lineage: Lineage,
    /// The sequence of the first arrival of this opening: the commit that brings it brings the lineage.
    pub(super) first_arrival: u64,
    pub(super) wall: Arc<dyn WallClock>,
    pub(super) max_drift: Duration,
    /// The fault of this node's clock by the neighbours' clocks, while local writes are refused because of it.
    pub(super) neighbours_verdict: ArcSwapOption<ClockFault>,
    /// See [`Options`].
    pub(super) index_batch: usize,
    pub(super) arrivals_kept: u64,
    /// The state that the writer published last.
    pub(super) published: ArcSwap<Published>,
    pub(super) latest: LatestCache,
    /// Why no writes are taken at present, if none are.
    pub(super) failure: ArcSwap<Option<StoreError>>,
    /// The clock's last timestamp, for reads.
    pub(super) clock: AtomicU64,
    /// No timestamp is issued while the wall shows less, in milliseconds since the epoch.
    pub(super) set_back_below: AtomicU64,
    /// The end of the settled time: nothing is stamped at or before it, also after a restart.
    pub(super) settled: AtomicU64,
    /// The reason if the writer has died.
    pub(super) died: watch::Sender<Option<String>>,
    /// The sequence of the next arrival, for watchers.
    pub(super) arrivals: watch::Sender<u64>,
    /// The keys that arrived last, for watchers.
    pub(super) recent: RecentArrivals,
    /// News for the neighbours.
    pub(super) feed: Arc<Feed>,
    /// Damaged events, to be asked of the neighbours.
    pub(super) damage: DamageList,
    /// The top row of the tree, for all walks.
    pub(super) tree_top: Arc<KeptTop>,
    /// Held by a walk that computes many nodes.
    pub(super) computes_many: Mutex<()>,
    /// Stored hashes that were wrong and removed.
    pub(super) healed_hashes: AtomicU64,
    pub(super) digests: Digests,
    pub(super) sketch: KeptSketch,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn EventStore>,
        parameters: Parameters,
        names: Names,
        options: &Options,
        (state, sketch): (ReadState, KeptSketch),
        clock: &Clock,
    ) -> Self {
        let capabilities = store.capabilities();
        let Names { node, incarnation, lineage } = names;
        Self {
            capabilities,
            store,
            shape: Shape::new(&parameters),
            parameters,
            node,
            incarnation,
            lineage,
            first_arrival: state.checkpoint.next_arrival,
            wall: Arc::clone(&options.wall),
            max_drift: options.max_drift,
            neighbours_verdict: ArcSwapOption::empty(),
            index_batch: options.index_batch.min(capabilities.rows_at_once),
            arrivals_kept: options.arrivals_kept,
            arrivals: watch::Sender::new(state.checkpoint.next_arrival),
            recent: RecentArrivals::default(),
            published: ArcSwap::from_pointee(Published::State(Arc::new(state))),
            latest: LatestCache::new(),
            feed: Arc::new(Feed::new()),
            damage: DamageList::new(),
            failure: ArcSwap::from_pointee(None),
            clock: AtomicU64::new(clock.last().as_millis()),
            set_back_below: AtomicU64::new(clock.set_back_below().as_millis()),
            settled: AtomicU64::new(Timestamp::MIN.as_millis()),
            died: watch::Sender::new(None),
            tree_top: Arc::default(),
            computes_many: Mutex::default(),
            healed_hashes: AtomicU64::new(0),
            digests: Digests::default(),
            sketch,
        }
    }

    /// The state that reads begin from.
    pub(super) fn state(&self) -> Result<Arc<ReadState>, ReadError> {
        match &**self.published.load() {
            Published::State(state) => Ok(Arc::clone(state)),
            Published::Unreadable(error) => Err(ReadError::Store(error.clone())),
            Published::Closed => Err(ReadError::Closed),
        }
    }

    /// The state that reads begin from, and the kept cells of its events.
    pub(super) fn state_and_cells(&self) -> Result<(Arc<ReadState>, Arc<KeptCells>), ReadError> {
        let (state, cells) = self.sketch.with(|| self.state());
        Ok((state?, cells))
    }

    /// Shows the clock to readers.
    pub(super) fn show_clock(&self, clock: &Clock) {
        self.clock.store(clock.last().as_millis(), Ordering::Release);
        self.set_back_below.store(clock.set_back_below().as_millis(), Ordering::Release);
    }

    /// Why this node's clock cannot be trusted with a write, if it cannot.
    pub(super) fn clock_fault(&self) -> Option<ClockFault> {
        let shows = self.wall.now();
        if shows.after(self.max_drift) < self.wall.earliest() {
            return Some(ClockFault::Impossible { shows });
        }
        let least = Timestamp::from_millis(self.set_back_below.load(Ordering::Acquire));
        if shows < least {
            return Some(ClockFault::SetBack { by: least.after(self.max_drift).ahead_of(shows) });
        }
        self.neighbours_verdict.load().as_deref().copied()
    }

    /// Why a local write is refused without being queued, if it is. A clock that was set back may be set right at any
    /// moment, so writes wait for a while then.
    pub(super) fn refuse_by_clock(&self) -> Option<ClockFault> {
        self.clock_fault().filter(|fault| !matches!(fault, ClockFault::SetBack { .. }))
    }

    /// The version of `key` that wins at `at`.
    pub(super) async fn winner(&self, key: &[u8], at: Timestamp) -> Result<Option<Event>, ReadError> {
        let state = self.state()?;
        let at = if injected(Bug::FutureShown) { Timestamp::MAX } else { at };
        if at < self.now() {
            return state.index().winner(key, at).await;
        }
        if let Some(event) = self.latest.get(key, at) {
            return Ok(Some(event));
        }
        match state.index().newest(key).await? {
            Some(event) if event.timestamp() > at => state.index().winner(key, at).await,
            Some(event) => {
                self.latest.keep(&event, state.checkpoint.next_arrival);
                Ok(Some(event))
            }
            None => Ok(None),
        }
    }

    /// The time at which reads happen.
    pub(super) fn now(&self) -> Timestamp {
        self.wall.now().max(Timestamp::from_millis(self.clock.load(Ordering::Acquire)))
    }

    /// Puts the event on the list of damaged ones, if `error` names it.
    pub(super) fn note_damage(&self, error: &ReadError) {
        self.damage.note(error, self.wall.now());
    }

    /// As [`Shared::note_damage`], after a read in a view that may be old: the event may be mended by now.
    pub(super) async fn note_old_damage(&self, error: &ReadError) {
        let Some(event_key) = damaged_event(error) else { return };
        let Ok(state) = self.state() else { return };
        if let Err(error) = read_event(&*state.view, event_key).await {
            self.note_damage(&error);
        }
    }
}
