//! What handles, readers and the writer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, watch};

use super::Options;
use super::feed::Feed;
use crate::index::{IndexReader, Pending, Tips};
use crate::planted::{Bug, planted};
use crate::store::{Capabilities, EventStore, StoreError, View};
use crate::tables::Checkpoint;
use crate::tree::Shape;
use crate::{Event, NodeId, Parameters, ReadError, Timestamp, WallClock};

/// What one read sees: a view, and the index rows that are not in it yet. The two belong together.
pub(crate) struct ReadState {
    pub(crate) view: Arc<dyn View>,
    pub(crate) pending: Pending,
    pub(crate) checkpoint: Checkpoint,
}

impl ReadState {
    pub(crate) fn index(&self) -> IndexReader<'_> {
        IndexReader::new(&*self.view, &self.pending)
    }
}

/// One replica, whatever the number of its handles.
pub(crate) struct Shared {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) capabilities: Capabilities,
    pub(super) parameters: Parameters,
    pub(super) shape: Shape,
    pub(super) node: NodeId,
    pub(super) wall: Arc<dyn WallClock>,
    pub(super) max_drift: Duration,
    /// How far the neighbours say that this node's clock is ahead, while local writes are refused because of it.
    pub(super) ahead: ArcSwapOption<Duration>,
    /// See [`Options`].
    pub(super) index_lot: usize,
    pub(super) arrivals_kept: u64,
    /// What the writer published last; nothing once closed.
    pub(super) state: ArcSwapOption<ReadState>,
    pub(super) tips: Tips,
    /// Why no writes are taken at the moment, if none are.
    pub(super) failure: ArcSwap<Option<StoreError>>,
    /// The clock's last timestamp, for reads.
    pub(super) clock: AtomicU64,
    /// The sequence of the next arrival, for watchers.
    pub(super) arrivals: watch::Sender<u64>,
    /// What the neighbours are to hear of.
    pub(super) feed: Arc<Feed>,
    /// Held by whoever walks the tree: two walks would compute the same hashes.
    pub(super) tree_walk: Mutex<()>,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn EventStore>,
        parameters: Parameters,
        node: NodeId,
        options: &Options,
        state: ReadState,
        last: Timestamp,
    ) -> Self {
        let capabilities = store.capabilities();
        Self {
            capabilities,
            store,
            shape: Shape::new(&parameters),
            parameters,
            node,
            wall: Arc::clone(&options.wall),
            max_drift: options.max_drift,
            ahead: ArcSwapOption::empty(),
            index_lot: options.index_lot.min(capabilities.rows_at_once),
            arrivals_kept: options.arrivals_kept,
            arrivals: watch::Sender::new(state.checkpoint.next_arrival),
            state: ArcSwapOption::from_pointee(state),
            tips: Tips::new(),
            feed: Arc::new(Feed::new()),
            failure: ArcSwap::from_pointee(None),
            clock: AtomicU64::new(last.as_millis()),
            tree_walk: Mutex::new(()),
        }
    }

    /// The state that reads begin from.
    pub(super) fn state(&self) -> Result<Arc<ReadState>, ReadError> {
        self.state.load_full().ok_or(ReadError::Closed)
    }

    /// The version of `key` that wins at `at`.
    pub(super) async fn winner(&self, key: &[u8], at: Timestamp) -> Result<Option<Event>, ReadError> {
        let state = self.state()?;
        let at = if planted(Bug::FutureShown) { Timestamp::MAX } else { at };
        if at < self.now() {
            return state.index().winner(key, at).await;
        }
        if let Some(event) = self.tips.get(key, at) {
            return Ok(Some(event));
        }
        match state.index().newest(key).await? {
            Some(event) if event.timestamp() > at => state.index().winner(key, at).await,
            Some(event) => {
                self.tips.keep(&event, state.checkpoint.next_arrival);
                Ok(Some(event))
            }
            None => Ok(None),
        }
    }

    /// The time at which reads happen.
    pub(super) fn now(&self) -> Timestamp {
        self.wall.now().max(Timestamp::from_millis(self.clock.load(Ordering::Acquire)))
    }
}
