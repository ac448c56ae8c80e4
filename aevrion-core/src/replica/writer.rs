//! The writer: the one task that changes the store.
//!
//! It drains what waits, up to the bounds of a batch, makes one commit of it and answers. What is written meanwhile
//! waits for the next batch: under load every fsync serves thousands of writes, at rest a write waits for nobody.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::commit_batch::CommitBatch;
use super::derived::still_wrong;
use super::queue::{Counted, Nodes, Request, SettingWrite, Submission, Walk, node_channel};
use super::read_state::ReadState;
use super::state::Published;
use super::state::Shared;
use super::top_row::TouchedTop;
use super::waiting::{ExpiryAlarm, WaitingWrites};
use crate::bounds::{COMMIT_BYTES, COMMIT_EVENTS, KNOWN_STALE, PENDING_LEFT, TOUCHED_DURING_PASS};
use crate::fault_injection::{Bug, injected};
use crate::index::Pending;
use crate::store::{Durability, StoreError, Table, WriteBatch};
use crate::tables::{Checkpoint, name, node_key, node_value};
use crate::tree::NodePosition;
use crate::{Clock, Timestamp, steady};

/// A buffered write is synced no later than this.
const SYNC_WITHIN: Duration = Duration::from_millis(500);

/// The only one who writes.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    pub(super) clock: Clock,
    /// The greatest timestamp stored.
    pub(super) greatest: Option<Timestamp>,
    /// Nodes that certainly have no stored hash: removing it once more would be wasted.
    pub(super) known_stale: BTreeSet<NodePosition>,
    pub(super) walk: Option<ActiveWalk>,
    pub(super) touched_top: TouchedTop,
    /// Whether what goes before requests was served last. One that waits has its turn then: a walk computes nodes faster
    /// than they are stored, and a busy key has a write for each millisecond; either would keep the writer to itself.
    owes_turn: bool,
    /// Local writes that the clock does not let through yet.
    pub(super) waiting: WaitingWrites,
    /// When values expire.
    pub(super) expiry_alarm: ExpiryAlarm,
    /// When buffered commits have to be synced.
    pub(super) sync_at: Option<Instant>,
    /// When a store that failed is tried again.
    pub(super) retry_at: Option<Instant>,
    /// Whether the store may hold another state than memory does. Nothing is committed before it was read again.
    pub(super) is_behind: bool,
    /// A request taken from the queue that did not belong to the batch.
    stash: Option<Request>,
}

/// Someone walks the tree.
pub(super) struct ActiveWalk {
    nodes: mpsc::Receiver<Nodes>,
    /// Nodes written to since the walk began: what it computed of them may be stale.
    touched: BTreeSet<NodePosition>,
}

/// What to do next.
enum Next {
    Request(Option<Request>),
    Nodes(Option<Nodes>),
    Flush,
    Retry,
    Waiting,
    Expiry,
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
            touched_top: TouchedTop::default(),
            owes_turn: false,
            waiting: WaitingWrites::default(),
            expiry_alarm: ExpiryAlarm::default(),
            sync_at: None,
            retry_at: None,
            is_behind: false,
            stash: None,
        }
    }

    /// Starts the task. If it dies, which is a defect, the replica is closed with a loud word: nobody is to take a node
    /// that writes nothing for one that is at rest.
    pub(super) fn spawn(self) {
        let shared = Arc::clone(&self.shared);
        let writer = tokio::spawn(self.run());
        tokio::spawn(async move {
            let Err(error) = writer.await else { return };
            // A runtime that shuts down cancels its tasks.
            if error.is_panic() {
                tracing::error!("the writer has died, and the replica is closed: {error}");
                shared.published.store(Arc::new(Published::Closed));
                shared.died.send_replace(Some(error.to_string()));
                shared.arrivals.send_modify(|_| ());
            }
        });
    }

    /// Works until the replica is closed or its last handle is gone.
    async fn run(mut self) {
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
                Next::Nodes(Some(nodes)) => {
                    self.store_nodes(nodes).await;
                    self.owes_turn = true;
                }
                Next::Nodes(None) => self.walk = None,
                Next::Flush => drop(self.sync().await),
                Next::Retry => self.retry().await,
                Next::Waiting => {
                    let waiting = self.waiting.take();
                    self.store_submissions(waiting).await;
                    self.owes_turn = true;
                }
                Next::Expiry => {
                    self.tell_expired().await;
                    self.owes_turn = true;
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
        if std::mem::take(&mut self.owes_turn)
            && !stand_still
            && let Ok(request) = self.requests.try_recv()
        {
            return Next::Request(Some(request));
        }
        tokio::select! {
            biased;
            () = until(self.sync_at) => Next::Flush,
            () = until(self.retry_at), if !stand_still => Next::Retry,
            () = until(self.waiting.wake_at()), if !stand_still => Next::Waiting,
            () = until(self.expiry_alarm.wake_at(self.shared.wall.now())), if !stand_still => Next::Expiry,
            nodes = next_nodes(&mut self.walk) => Next::Nodes(nodes),
            request = self.requests.recv(), if !stand_still => Next::Request(request),
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Submit(first) => {
                let submissions = self.drain(first);
                self.store_submissions(submissions).await;
            }
            Request::Walk { told, known, reply } => self.begin_walk(told, known, reply),
            Request::Mend(batch, checkpoint, reply) => drop(reply.send(self.mend(batch, checkpoint).await)),
            Request::WriteSetting(setting, reply) => drop(reply.send(self.write_setting(setting).await)),
            Request::Refresh => self.resync().await,
            Request::Settle(until, reply) => drop(reply.send(self.settle(until).await)),
            Request::ResumeClock(reply) => drop(reply.send(self.resume_clock().await)),
            Request::Close(reply) => drop(reply.send(self.close().await)),
        }
    }

    /// What waits behind `first`, as much of it as one batch may hold.
    fn drain(&mut self, first: Submission) -> Vec<Submission> {
        let (mut events, mut bytes) = first.content.size();
        let mut submissions = vec![first];
        while events < COMMIT_EVENTS && bytes < COMMIT_BYTES {
            match self.requests.try_recv() {
                Ok(Request::Submit(submission)) => {
                    let (more_events, more_bytes) = submission.content.size();
                    events += more_events;
                    bytes += more_bytes;
                    submissions.push(submission);
                }
                Ok(other) => {
                    self.stash = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        submissions
    }

    /// Commits a batch and publishes what reads see from now on.
    pub(super) async fn finish(
        &mut self,
        mut batch: CommitBatch<'_>,
        state: &ReadState,
        durability: Durability,
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            self.shared.damage.sound(&batch.sound);
            // All of it was known. If not everything known is durable yet, what was asked for still has to be.
            return if durability == Durability::Immediate { self.sync().await } else { Ok(()) };
        }
        batch.remove_stale_hashes(&self.known_stale);
        let stored = match batch.apply_index(&*state.view, false).await {
            Ok(()) => {
                batch.seal(&self.clock);
                self.commit(batch.writes, durability).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            self.fail(&error).await;
            return Err(error);
        }
        // A batch that only mends brings no arrival: what was read before it must become useless all the same.
        let written = batch.checkpoint.next_arrival + u64::from(!batch.mended.is_empty());
        let mended_keys = batch.mended.iter().map(|(_, key)| key);
        for key in batch.arrived.iter().map(|(_, key)| key).chain(mended_keys) {
            self.shared.latest.note_write(key, written);
        }
        if self.shared.arrivals.receiver_count() > 0 {
            self.shared.recent.offer(state.checkpoint.next_arrival, batch.effect, &batch.arrived);
        }
        self.greatest = batch.greatest;
        self.expiry_alarm.note(batch.next_expiry);
        self.shared.feed.offer(batch.news);
        self.remember_stale(batch.touched);
        self.publish(batch.pending, batch.checkpoint).await;
        // Whoever learns that an event is mended can read it.
        self.shared.damage.sound(&batch.sound);
        let mended: Vec<_> = batch.mended.iter().map(|(event_key, _)| *event_key).collect();
        self.shared.damage.mended(&mended);
        Ok(())
    }

    pub(super) async fn commit(
        &mut self,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.commit_derived(batch, durability).await?;
        self.sync_at = match durability {
            Durability::Immediate => None,
            Durability::Buffered => self.sync_at.or_else(|| Some(steady::now() + SYNC_WITHIN)),
        };
        Ok(())
    }

    /// A commit of rows that are made again if they are lost: nobody waits for it to be synced.
    async fn commit_derived(&mut self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.shared.store.commit(batch, durability).await?;
        if self.shared.failure.swap(Arc::new(None)).is_some() {
            tracing::info!("the store takes writes again");
            self.retry_at = None;
        }
        Ok(())
    }

    /// Makes buffered commits durable.
    async fn sync(&mut self) -> Result<(), StoreError> {
        if self.sync_at.is_none() {
            return Ok(());
        }
        let base = self.base().await;
        if base.is_err() {
            self.sync_at = self.retry_at;
        }
        let state = base?;
        let synced = self.commit(WriteBatch::new(), Durability::Immediate).await;
        match &synced {
            Ok(()) => self.show_arrivals(state.checkpoint.next_arrival),
            Err(error) => {
                self.fail(error).await;
                self.sync_at = self.retry_at;
            }
        }
        synced
    }

    fn remember_stale(&mut self, touched: BTreeSet<NodePosition>) {
        self.touched_top.touch(&touched);
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

    /// Shows readers the latest commit, and watchers that there is one. View and pending rows stay a pair: if the store
    /// gives no view of what was committed, reads fail until it does.
    pub(super) async fn publish(&mut self, pending: Pending, checkpoint: Checkpoint) {
        self.shared.show_clock(&self.clock);
        let published = match self.shared.store.view().await {
            Ok(view) => Published::State(Arc::new(ReadState { view, pending, checkpoint })),
            Err(error) => {
                tracing::error!(%error, "the store gives no view of its latest commit: reads fail until it does");
                self.fall_behind();
                Published::Unreadable(error)
            }
        };
        self.shared.published.store(Arc::new(published));
        self.show_arrivals(checkpoint.next_arrival);
    }

    /// Wakes watchers and neighbours, once all that arrived is durable: what they have seen must not be forgotten, nor its place in
    /// the order be given to another event.
    pub(super) fn show_arrivals(&self, next_arrival: u64) {
        if self.sync_at.is_none() {
            self.shared.arrivals.send_replace(next_arrival);
            self.shared.feed.show();
        }
    }

    fn begin_walk(&mut self, told: Option<Timestamp>, known: u64, reply: oneshot::Sender<Walk>) {
        let Ok(state) = self.shared.state() else { return };
        if let Some(until) = told {
            self.settle_clock(until.min(self.shared.wall.now()));
        }
        let (sender, nodes) = node_channel();
        let (number, touched) = self.touched_top.begin_walk(known);
        if reply.send(Walk { state, nodes: sender, number, touched }).is_ok() {
            self.walk = Some(ActiveWalk { nodes, touched: BTreeSet::new() });
        }
    }

    /// Stamps nothing at or before `until` from now on, also after a restart.
    async fn settle(&mut self, until: Timestamp) -> Result<(), StoreError> {
        let until = until.min(self.shared.wall.now());
        self.settle_clock(until);
        self.expect_no_refusal()?;
        let state = self.base().await?;
        let is_durable = self.sync_at.is_none();
        if state.checkpoint.clock.continues <= until || !is_durable {
            self.commit_checkpoint(&state).await?;
        }
        self.shared.settled.fetch_max(until.as_millis(), Ordering::AcqRel);
        Ok(())
    }

    fn settle_clock(&mut self, until: Timestamp) {
        if !injected(Bug::SettledForgotten) {
            self.clock.settle(until);
            self.shared.show_clock(&self.clock);
        }
    }

    /// Goes on from the latest timestamp, also after a restart.
    async fn resume_clock(&mut self) -> Result<(), StoreError> {
        self.expect_no_refusal()?;
        let state = self.base().await?;
        self.clock.resume(self.shared.wall.now());
        self.shared.show_clock(&self.clock);
        self.commit_checkpoint(&state).await
    }

    /// Commits the checkpoint alone: the events are those of before, the clock has moved on.
    pub(super) async fn commit_checkpoint(&mut self, state: &ReadState) -> Result<(), StoreError> {
        let mut checkpoint = state.checkpoint;
        checkpoint.clock = self.clock.mark();
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
        if let Err(error) = self.commit(batch, Durability::Immediate).await {
            self.fail(&error).await;
            return Err(error);
        }
        self.publish(state.pending.clone(), checkpoint).await;
        Ok(())
    }

    /// Stores computed nodes, but for those that were written to since they were computed.
    async fn store_nodes(&mut self, nodes: Nodes) {
        let Some(ActiveWalk { touched, .. }) = &self.walk else { return };
        let mut batch = WriteBatch::new();
        let mut stored = Vec::with_capacity(nodes.len());
        for (position, node) in nodes {
            if !touched.contains(&position) {
                let key = Bytes::copy_from_slice(&node_key(position.level, position.index));
                batch.put(Table::Nodes, key, Bytes::copy_from_slice(&node_value(node.count, node.hash)));
                stored.push(position);
            }
        }
        let Ok(state) = self.base().await else { return };
        if stored.is_empty() || self.walk.is_none() {
            return;
        }
        match self.commit_derived(batch, Durability::Buffered).await {
            Ok(()) => {
                for position in &stored {
                    self.known_stale.remove(position);
                }
                self.publish(state.pending.clone(), state.checkpoint).await;
            }
            // Hashes are derived: whoever needs them computes them again.
            Err(error) => self.fail(&error).await,
        }
    }

    /// Writes the pending index rows.
    async fn apply_index(&mut self) -> Result<(), StoreError> {
        let state = self.base().await?;
        if state.pending.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let mut batch = CommitBatch::new(&state, self.greatest, &shared);
        batch.apply_index(&*state.view, true).await?;
        batch.seal(&self.clock);
        if let Err(error) = self.commit(batch.writes, Durability::Immediate).await {
            self.fail(&error).await;
            return Err(error);
        }
        self.publish(batch.pending, batch.checkpoint).await;
        Ok(())
    }

    /// Commits a local setting.
    async fn write_setting(&mut self, setting: SettingWrite) -> Result<(), StoreError> {
        self.expect_no_refusal()?;
        let state = self.base().await?;
        let mut batch = WriteBatch::new();
        match setting.value {
            Some(value) => batch.put(Table::Meta, setting.row, value),
            None => batch.remove(Table::Meta, setting.row),
        }
        if let Err(error) = self.commit(batch, Durability::Immediate).await {
            self.fail(&error).await;
            return Err(error);
        }
        self.publish(state.pending.clone(), state.checkpoint).await;
        Ok(())
    }

    /// Commits rows of derived tables that `rebuild` or the scrub found missing or wrong.
    async fn mend(&mut self, batch: WriteBatch, counted: Option<Counted>) -> Result<(), StoreError> {
        self.expect_no_refusal()?;
        let state = self.base().await?;
        let (mut batch, kept) = still_wrong(batch, &*state.view).await?;
        let mut checkpoint = state.checkpoint;
        if counted.is_some() || kept > 0 {
            let Counted { events, indexed_keys } = counted.unwrap_or(Counted { events: 0, indexed_keys: 0 });
            checkpoint.events = checkpoint.events.saturating_add_signed(events + kept);
            checkpoint.indexed_keys = checkpoint.indexed_keys.saturating_add_signed(indexed_keys);
            batch.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
        }
        if let Err(error) = self.commit(batch, Durability::Immediate).await {
            self.fail(&error).await;
            return Err(error);
        }
        self.known_stale.clear();
        // A walk that has read what was wrong must not store what it made of it, nor may anyone keep it.
        self.walk = None;
        self.touched_top.forget();
        self.expiry_alarm.look();
        // An index row that was missing may make another version the newest, and a mended state has no more arrivals
        // than the one before: what is read from either is not kept until the next write.
        self.shared.latest.forget_all(checkpoint.next_arrival + 1);
        self.publish(state.pending.clone(), checkpoint).await;
        self.shared.digests.forget();
        Ok(())
    }

    async fn close(&mut self) -> Result<(), StoreError> {
        let pending = self.shared.state().map_or(0, |state| state.pending.len());
        if pending > PENDING_LEFT
            && let Err(error) = self.apply_index().await
        {
            // Nothing is lost by it: the next start makes these rows again.
            tracing::warn!(%error, "the pending index rows were not written");
        }
        let synced = self.sync().await;
        self.shared.published.store(Arc::new(Published::Closed));
        self.shared.arrivals.send_modify(|_| ());
        let closed = self.shared.store.close().await;
        synced.and(closed)
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        // A runtime without timers has none to wait for what is due.
        Some(moment) if moment <= steady::now() => {}
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
