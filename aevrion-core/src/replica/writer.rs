//! The writer: the one task that changes the store.
//!
//! It drains what waits, up to the bounds of a lot, makes one commit of it and answers. What is written meanwhile
//! waits for the next lot: under load every fsync serves thousands of writes, at rest a write waits for nobody.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::lot::Lot;
use super::queue::{Counted, Nodes, Request, Submission, Walk, node_channel};
use super::recover::{read_checkpoint, recover_pending};
use super::{ReadState, Shared};
use crate::bounds::{KNOWN_STALE, LOT_BYTES, LOT_EVENTS, PENDING_LEFT, TOUCHED_DURING_PASS};
use crate::events::outermost_event;
use crate::index::Pending;
use crate::store::{Direction, Durability, StoreError, Table, WriteBatch};
use crate::tables::{Checkpoint, name, node_key, node_value};
use crate::tree::NodeAddress;
use crate::{Clock, ReadError, Timestamp};

/// A buffered write is synced no later than this.
const SYNC_WITHIN: Duration = Duration::from_millis(500);

/// After a failure the store is tried again with the first write that comes after this long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The only one who writes.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    pub(super) clock: Clock,
    /// The greatest timestamp stored.
    pub(super) greatest: Option<Timestamp>,
    /// Nodes that certainly have no stored hash: removing it once more would be wasted.
    known_stale: BTreeSet<NodeAddress>,
    walk: Option<ActiveWalk>,
    /// Local writes for which the clock is too far ahead of the wall.
    pub(super) waiting: VecDeque<Submission>,
    pub(super) clock_ready: Option<Instant>,
    /// When buffered commits have to be synced.
    sync_at: Option<Instant>,
    retry_at: Option<Instant>,
    /// A request taken from the queue that did not belong to the lot.
    stash: Option<Request>,
}

/// Someone walks the tree.
struct ActiveWalk {
    nodes: mpsc::Receiver<Nodes>,
    /// Nodes written to since the walk began: what it computed of them may be stale.
    touched: BTreeSet<NodeAddress>,
}

/// What to do next.
enum Next {
    Request(Option<Request>),
    Nodes(Option<Nodes>),
    Sync,
    ClockReady,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
        clock: Clock,
        greatest: Option<Timestamp>,
    ) -> Self {
        Self {
            shared,
            requests,
            clock,
            greatest,
            known_stale: BTreeSet::new(),
            walk: None,
            waiting: VecDeque::new(),
            clock_ready: None,
            sync_at: None,
            retry_at: None,
            stash: None,
        }
    }

    /// Works until the replica is closed or its last handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Request(None) => {
                    if let Err(error) = self.close().await {
                        tracing::error!(%error, "closing the store failed");
                    }
                    return;
                }
                Next::Request(Some(Request::Close(reply))) => {
                    let closed = self.close().await;
                    drop(reply.send(closed));
                    return;
                }
                Next::Request(Some(request)) => self.serve(request).await,
                Next::Nodes(Some(nodes)) => self.store_nodes(nodes).await,
                Next::Nodes(None) => self.walk = None,
                Next::Sync => drop(self.sync().await),
                Next::ClockReady => {
                    self.clock_ready = None;
                    let waiting = std::mem::take(&mut self.waiting);
                    self.store_lot(waiting.into()).await;
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        if let Some(request) = self.stash.take() {
            return Next::Request(Some(request));
        }
        // A store without isolated views must stand still while someone walks the tree.
        let stand_still = self.walk.is_some() && !self.shared.capabilities.isolated_views;
        tokio::select! {
            biased;
            () = until(self.sync_at) => Next::Sync,
            () = until(self.clock_ready), if !stand_still => Next::ClockReady,
            nodes = next_nodes(&mut self.walk) => Next::Nodes(nodes),
            request = self.requests.recv(), if !stand_still => Next::Request(request),
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Submit(first) => {
                let lot = self.drain(first);
                self.store_lot(lot).await;
            }
            Request::Walk(reply) => self.begin_walk(reply),
            Request::Mend(batch, checkpoint, reply) => drop(reply.send(self.mend(batch, checkpoint).await)),
            Request::Refresh => self.resync().await,
            Request::Close(reply) => drop(reply.send(self.close().await)),
        }
    }

    /// What waits behind `first`, as much of it as one lot may hold.
    fn drain(&mut self, first: Submission) -> Vec<Submission> {
        let (mut events, mut bytes) = first.content.size();
        let mut lot = vec![first];
        while events < LOT_EVENTS && bytes < LOT_BYTES {
            match self.requests.try_recv() {
                Ok(Request::Submit(submission)) => {
                    let (more_events, more_bytes) = submission.content.size();
                    events += more_events;
                    bytes += more_bytes;
                    lot.push(submission);
                }
                Ok(other) => {
                    self.stash = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        lot
    }

    /// Commits a lot and publishes what reads see from now on.
    pub(super) async fn finish(
        &mut self,
        mut lot: Lot<'_>,
        state: &ReadState,
        durability: Durability,
    ) -> Result<(), StoreError> {
        if lot.is_empty() {
            // All of it was known. If not everything known is durable yet, what was asked for still has to be.
            return if durability == Durability::Immediate { self.sync().await } else { Ok(()) };
        }
        lot.remove_stale_hashes(&self.known_stale);
        let stored = match lot.apply_index(&*state.view, false).await {
            Ok(()) => {
                lot.seal();
                self.commit(lot.batch, durability).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            self.fail(&error).await;
            return Err(error);
        }
        // A lot that only mends brings no arrival: what was read before it must become useless all the same.
        let written = lot.checkpoint.next_arrival + u64::from(lot.mended > 0);
        for key in &lot.keys {
            self.shared.tips.note_write(key, written);
        }
        self.greatest = lot.greatest;
        self.shared.feed.offer(lot.fresh);
        self.remember_stale(lot.touched);
        self.publish(Some((lot.pending, lot.checkpoint))).await;
        Ok(())
    }

    async fn commit(&mut self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.commit_derived(batch, durability).await?;
        self.sync_at = match durability {
            Durability::Immediate => None,
            Durability::Buffered => self.sync_at.or_else(|| Some(Instant::now() + SYNC_WITHIN)),
        };
        Ok(())
    }

    /// A commit of rows that are made again if they are lost: nobody waits for it to be synced.
    async fn commit_derived(&mut self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.shared.store.commit(batch, durability).await?;
        if self.shared.failure.swap(Arc::new(None)).is_some() {
            tracing::info!("the store takes writes again");
        }
        self.retry_at = None;
        Ok(())
    }

    /// Makes buffered commits durable.
    async fn sync(&mut self) -> Result<(), StoreError> {
        if self.sync_at.is_none() {
            return Ok(());
        }
        let synced = self.commit(WriteBatch::new(), Durability::Immediate).await;
        match &synced {
            Ok(()) => {
                let state = self.shared.state.load();
                self.show_arrivals(state.as_ref().map_or(0, |state| state.checkpoint.next_arrival));
            }
            Err(error) => {
                self.sync_at = Some(Instant::now() + RETRY_AFTER);
                self.fail(error).await;
            }
        }
        synced
    }

    fn remember_stale(&mut self, touched: BTreeSet<NodeAddress>) {
        if let Some(ActiveWalk { touched: during_walk, .. }) = &mut self.walk {
            during_walk.extend(&touched);
            if during_walk.len() > TOUCHED_DURING_PASS {
                self.walk = None;
            }
        }
        if self.known_stale.len() + touched.len() > KNOWN_STALE {
            self.known_stale.clear();
        }
        self.known_stale.extend(touched);
    }

    /// Shows readers the latest commit, and watchers that there is one.
    pub(super) async fn publish(&self, brought: Option<(Pending, Checkpoint)>) {
        let Some(state) = self.shared.state.load_full() else { return };
        let view = match self.shared.store.view().await {
            Ok(view) => view,
            Err(error) => {
                tracing::error!(%error, "the store gives no view; reads go on with the one before");
                Arc::clone(&state.view)
            }
        };
        let (pending, checkpoint) = brought.unwrap_or_else(|| (state.pending.clone(), state.checkpoint));
        self.shared.clock.store(self.clock.last().as_millis(), Ordering::Release);
        self.shared.state.store(Some(Arc::new(ReadState { view, pending, checkpoint })));
        self.show_arrivals(checkpoint.next_arrival);
    }

    /// Wakes watchers and neighbours, once all that arrived is durable: what they have seen must not be forgotten, nor its place in
    /// the order be given to another event.
    fn show_arrivals(&self, next_arrival: u64) {
        if self.sync_at.is_none() {
            self.shared.arrivals.send_replace(next_arrival);
            self.shared.feed.show();
        }
    }

    /// Why writes are refused, if they are and it is too early to try again.
    pub(super) fn refusal(&self) -> Option<StoreError> {
        let retry_at = self.retry_at?;
        if Instant::now() >= retry_at {
            return None;
        }
        Option::clone(&self.shared.failure.load())
    }

    /// Turns read-only until the store takes a write again. Whether the failed commit was stored after all is for the
    /// store to say: what stands in it counts.
    pub(super) async fn fail(&mut self, error: &StoreError) {
        tracing::error!(%error, "the store failed: read-only until it takes a write again");
        self.shared.failure.store(Arc::new(Some(error.clone())));
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        self.resync().await;
    }

    /// Takes everything that memory holds of the store from the store again. An engine that was reopened after a
    /// failure may have lost what was buffered, or have kept a commit that failed.
    async fn resync(&mut self) {
        self.shared.feed.forget_unshown();
        self.known_stale.clear();
        self.walk = None;
        match self.reload().await {
            Ok(found) => self.publish(found).await,
            Err(error) => tracing::error!(%error, "the store cannot be read after its failure"),
        }
    }

    /// What the store holds, if that is not what was published last.
    async fn reload(&mut self) -> Result<Option<(Pending, Checkpoint)>, ReadError> {
        let view = self.shared.store.view().await?;
        let published = self.shared.state()?.checkpoint;
        let all = (Timestamp::MIN, Timestamp::MAX);
        let last = outermost_event(&*view, all, Direction::Backward).await?;
        self.greatest = last.map(|address| address.timestamp);
        match read_checkpoint(&*view).await? {
            Some(stored) if stored != published => {
                tracing::warn!("the store holds another state than was known: going on from what it holds");
                let pending = recover_pending(&*view, &stored).await?;
                self.shared.tips.forget_all(stored.next_arrival.max(published.next_arrival) + 1);
                Ok(Some((pending, stored)))
            }
            _ => Ok(None),
        }
    }

    fn begin_walk(&mut self, reply: oneshot::Sender<Walk>) {
        let Some(state) = self.shared.state.load_full() else { return };
        let (sender, nodes) = node_channel();
        if reply.send(Walk { state, nodes: sender }).is_ok() {
            self.walk = Some(ActiveWalk { nodes, touched: BTreeSet::new() });
        }
    }

    /// Stores computed nodes, but for those that were written to since they were computed.
    async fn store_nodes(&mut self, nodes: Nodes) {
        let Some(ActiveWalk { touched, .. }) = &self.walk else { return };
        let mut batch = WriteBatch::new();
        let mut stored = Vec::with_capacity(nodes.len());
        for (address, node) in nodes {
            if !touched.contains(&address) {
                let key = Bytes::copy_from_slice(&node_key(address.level, address.index));
                batch.put(Table::Nodes, key, Bytes::copy_from_slice(&node_value(node.count, node.hash)));
                stored.push(address);
            }
        }
        if stored.is_empty() || self.refusal().is_some() {
            return;
        }
        match self.commit_derived(batch, Durability::Buffered).await {
            Ok(()) => {
                for address in &stored {
                    self.known_stale.remove(address);
                }
                self.publish(None).await;
            }
            // Hashes are derived: whoever needs them computes them again.
            Err(error) => self.fail(&error).await,
        }
    }

    /// Writes the pending index rows.
    async fn apply_index(&mut self) -> Result<(), StoreError> {
        let state = self.shared.state.load_full().ok_or(StoreError::Closed)?;
        if state.pending.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let mut lot = Lot::new(&state, self.greatest, &shared);
        lot.apply_index(&*state.view, true).await?;
        lot.seal();
        if let Err(error) = self.commit(lot.batch, Durability::Immediate).await {
            self.fail(&error).await;
            return Err(error);
        }
        self.publish(Some((lot.pending, lot.checkpoint))).await;
        Ok(())
    }

    /// Commits rows of derived tables that `rebuild` found missing or wrong.
    async fn mend(&mut self, mut batch: WriteBatch, counted: Option<Counted>) -> Result<(), StoreError> {
        let state = self.shared.state.load_full().ok_or(StoreError::Closed)?;
        let mut checkpoint = state.checkpoint;
        if let Some(counted) = counted {
            checkpoint.events = checkpoint.events.saturating_add_signed(counted.events);
            checkpoint.indexed_keys = checkpoint.indexed_keys.saturating_add_signed(counted.indexed_keys);
            batch.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
        }
        if let Err(error) = self.commit(batch, Durability::Immediate).await {
            self.fail(&error).await;
            return Err(error);
        }
        self.known_stale.clear();
        // A walk that has read what was wrong must not store what it made of it.
        self.walk = None;
        // An index row that was missing may make another version the newest, and a mended state has no more arrivals
        // than the one before: what is read from either is not kept until the next write.
        self.shared.tips.forget_all(checkpoint.next_arrival + 1);
        self.publish(Some((state.pending.clone(), checkpoint))).await;
        Ok(())
    }

    async fn close(&mut self) -> Result<(), StoreError> {
        let pending = self.shared.state.load_full().map_or(0, |state| state.pending.len());
        if pending > PENDING_LEFT
            && let Err(error) = self.apply_index().await
        {
            // Nothing is lost by it: the next start makes these rows again.
            tracing::warn!(%error, "the pending index rows were not written");
        }
        let synced = self.sync().await;
        self.shared.state.store(None);
        self.shared.arrivals.send_modify(|_| ());
        let closed = self.shared.store.close().await;
        synced.and(closed)
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

async fn next_nodes(walk: &mut Option<ActiveWalk>) -> Option<Nodes> {
    match walk {
        Some(walk) => walk.nodes.recv().await,
        None => pending().await,
    }
}
