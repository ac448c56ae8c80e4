//! Commits, one at a time: each is put together on the latest state, stored, and published to readers, watchers and
//! neighbours. After a failure the store is read again before the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::commit_batch::CommitBatch;
use super::derived::still_wrong;
use super::failure::{Reloaded, StoreHealth, reload, unreadable};
use super::kept_sketch::Changes;
use super::queue::{CountCorrection, SettingWrite};
use super::read_state::ReadState;
use super::state::{Published, Shared};
use super::tree_changes::{Nodes, TreeChanges, WalkGrant};
use crate::bounds::PENDING_LEFT;
use crate::fault_injection::{Bug, injected};
use crate::index::Pending;
use crate::steady;
use crate::store::{Durability, StoreError, Table, WriteBatch};
use crate::tables::{Checkpoint, name, node_key, node_value};
use crate::{Clock, ReadError, Timestamp};

/// A buffered commit is synced no later than this.
const SYNC_WITHIN: Duration = Duration::from_millis(500);

/// Changes the store. There is one for each replica, and the writer's task owns it.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) tree: TreeChanges,
    pub(super) health: StoreHealth,
    /// No row of the timetable is earlier; `None` if it has no row.
    pub(super) next_expiry: Option<Timestamp>,
    /// When buffered commits have to be synced.
    pub(super) sync_at: Option<Instant>,
    /// The greatest timestamp stored.
    greatest: Option<Timestamp>,
    /// The stored row of the sketch has the arrivals before this one; `None` if it is none that can be used.
    pub(super) sketch_stored_until: Option<u64>,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        clock: Clock,
        greatest: Option<Timestamp>,
        sketch_stored_until: u64,
    ) -> Self {
        let tree = TreeChanges::new(Arc::clone(&shared.tree_top));
        Self {
            shared,
            clock,
            tree,
            health: StoreHealth::default(),
            next_expiry: Some(Timestamp::MIN),
            sync_at: None,
            greatest,
            sketch_stored_until: Some(sketch_stored_until),
        }
    }

    /// The state that the next commit builds on.
    ///
    /// # Errors
    /// The failure of the store, as long as it is left alone or cannot be read again.
    pub(super) async fn ready(&mut self) -> Result<Arc<ReadState>, StoreError> {
        match self.health.refusal(&self.shared) {
            Some(error) => Err(error),
            None => self.base().await,
        }
    }

    /// As [`Committer::ready`], also while the store is left alone. The state is the one that readers see, read again
    /// if a commit before may have left another one in the store.
    pub(super) async fn base(&mut self) -> Result<Arc<ReadState>, StoreError> {
        if self.health.is_behind {
            self.resync().await;
        }
        if self.health.is_behind {
            let failure = Option::clone(&self.shared.failure.load());
            return Err(failure.unwrap_or_else(unreadable));
        }
        self.shared.state().map_err(|error| match error {
            ReadError::Store(error) => error,
            ReadError::Damaged(_) | ReadError::Closed => StoreError::Closed,
        })
    }

    /// An empty batch on top of `state`.
    pub(super) fn batch(&self, state: Arc<ReadState>) -> CommitBatch {
        CommitBatch::new(Arc::clone(&self.shared), state, self.greatest)
    }

    /// Commits a batch and publishes it.
    pub(super) async fn commit_batch(
        &mut self,
        mut batch: CommitBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            self.shared.damage.sound(&batch.sound);
            // Every event was known, but perhaps not durable yet.
            return if durability == Durability::Immediate { self.sync().await } else { Ok(()) };
        }
        batch.remove_stale_hashes(self.tree.without_hash());
        if let Err(error) = batch.apply_index_if_full().await {
            self.fail(&error).await;
            return Err(error);
        }
        let sketch_stored_until = self.store_sketch_if_due(&mut batch);
        batch.seal(&self.clock);
        let changes = self.changes_of(&batch);
        self.commit(batch.writes, durability).await?;
        self.sketch_stored_until = sketch_stored_until;
        // A batch that only mends brings no arrival: reads of the state before must become void all the same.
        let written = batch.checkpoint.next_arrival + u64::from(!batch.mended.is_empty());
        let mended_keys = batch.mended.iter().map(|(_, key)| key);
        for key in batch.arrived.iter().map(|(_, key)| key).chain(mended_keys) {
            self.shared.latest.note_write(key, written);
        }
        if self.shared.arrivals.receiver_count() > 0 {
            self.shared.recent.offer(batch.base.checkpoint.next_arrival, batch.effect, &batch.arrived);
        }
        self.greatest = batch.greatest;
        self.next_expiry = self.next_expiry.into_iter().chain(batch.next_expiry).min();
        self.shared.feed.offer(batch.news);
        self.tree.note_touched(batch.touched);
        self.publish_changed(batch.pending, batch.checkpoint, &changes).await;
        // The list says so after the publication: an event that it calls mended can be read.
        self.shared.damage.sound(&batch.sound);
        let mended: Vec<_> = batch.mended.iter().map(|(event_key, _)| *event_key).collect();
        self.shared.damage.mended(&mended);
        Ok(())
    }

    /// Grants a walk of the tree. A neighbour will be `told` of the events up to a time: nothing is stamped at or
    /// before it from then on.
    pub(super) fn begin_walk(&mut self, told: Option<Timestamp>, reply: oneshot::Sender<WalkGrant>) {
        let Ok(state) = self.shared.state() else { return };
        if let Some(until) = told {
            self.settle_clock(until.min(self.shared.wall.now()));
        }
        self.tree.grant(state, reply);
    }

    /// Stores nodes computed by a walk, except those touched since it began.
    pub(super) async fn commit_nodes(&mut self, walk: u64, mut nodes: Nodes) {
        let Ok(state) = self.base().await else { return };
        // Reading the store again ends a walk.
        self.tree.retain_current(walk, &mut nodes);
        if nodes.is_empty() {
            return;
        }
        let mut writes = WriteBatch::new();
        for (position, node) in &nodes {
            let key = Bytes::copy_from_slice(&node_key(position.level, position.index));
            writes.put(Table::Nodes, key, Bytes::copy_from_slice(&node_value(node.count, node.hash)));
        }
        // A hash that is not stored is computed again by the next walk that needs it.
        if self.commit_derived(writes, Durability::Buffered).await.is_ok() {
            let stored: Vec<_> = nodes.into_iter().map(|(position, _)| position).collect();
            self.tree.note_stored(&stored);
            self.publish(state.pending.clone(), state.checkpoint).await;
        }
    }

    /// Commits corrections of derived rows and counts, found by `rebuild`, the scrub or a comparison with a neighbour.
    pub(super) async fn mend(
        &mut self,
        corrections: WriteBatch,
        counted: Option<CountCorrection>,
    ) -> Result<(), StoreError> {
        let state = self.ready().await?;
        let (mut writes, kept) = still_wrong(corrections, &*state.view).await?;
        let mut checkpoint = state.checkpoint;
        if counted.is_some() || kept > 0 {
            let CountCorrection { events, indexed_keys } =
                counted.unwrap_or(CountCorrection { events: 0, indexed_keys: 0 });
            checkpoint.events = checkpoint.events.saturating_add_signed(events + kept);
            checkpoint.indexed_keys = checkpoint.indexed_keys.saturating_add_signed(indexed_keys);
            writes.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
        }
        let changes = self.removed_by(&writes, &state).await?;
        let sketch_stored_until = self.store_changed_sketch(&mut writes, &changes, &checkpoint);
        self.commit(writes, Durability::Immediate).await?;
        self.sketch_stored_until = sketch_stored_until;
        // A walk under way may have read the wrong rows.
        self.tree.forget();
        self.next_expiry = Some(Timestamp::MIN);
        // An index row that was missing may make another version the newest, and a mended state has no more arrivals
        // than the one before: reads of either are not kept until the next write.
        self.shared.latest.forget_all(checkpoint.next_arrival + 1);
        self.publish_changed(state.pending.clone(), checkpoint, &changes).await;
        self.shared.digests.forget();
        Ok(())
    }

    /// Commits a local setting.
    pub(super) async fn commit_setting(&mut self, setting: SettingWrite) -> Result<(), StoreError> {
        let state = self.ready().await?;
        let mut writes = WriteBatch::new();
        match setting.value {
            Some(value) => writes.put(Table::Meta, setting.row, value),
            None => writes.remove(Table::Meta, setting.row),
        }
        self.commit(writes, Durability::Immediate).await?;
        self.publish(state.pending.clone(), state.checkpoint).await;
        Ok(())
    }

    /// Stamps nothing at or before `until` from now on, also after a restart.
    pub(super) async fn settle(&mut self, until: Timestamp) -> Result<(), StoreError> {
        let until = until.min(self.shared.wall.now());
        self.settle_clock(until);
        let state = self.ready().await?;
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
    pub(super) async fn resume_clock(&mut self) -> Result<(), StoreError> {
        let state = self.ready().await?;
        self.clock.resume(self.shared.wall.now());
        self.shared.show_clock(&self.clock);
        self.commit_checkpoint(&state).await
    }

    /// Commits the checkpoint alone: no event was added, the clock has moved on.
    async fn commit_checkpoint(&mut self, state: &ReadState) -> Result<(), StoreError> {
        let mut checkpoint = state.checkpoint;
        checkpoint.clock = self.clock.mark();
        let mut writes = WriteBatch::new();
        writes.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
        self.commit(writes, Durability::Immediate).await?;
        self.publish(state.pending.clone(), checkpoint).await;
        Ok(())
    }

    /// Commits the pending index rows.
    async fn commit_index(&mut self) -> Result<(), StoreError> {
        let state = self.base().await?;
        if state.pending.is_empty() {
            return Ok(());
        }
        let mut batch = self.batch(state);
        batch.apply_index().await?;
        let sketch_stored_until = self.store_sketch_if_due(&mut batch);
        batch.seal(&self.clock);
        self.commit(batch.writes, Durability::Immediate).await?;
        self.sketch_stored_until = sketch_stored_until;
        self.publish(batch.pending, batch.checkpoint).await;
        Ok(())
    }

    /// Makes buffered commits durable.
    pub(super) async fn sync(&mut self) -> Result<(), StoreError> {
        if self.sync_at.is_none() {
            return Ok(());
        }
        let synced = self.sync_base().await;
        if synced.is_err() {
            self.sync_at = self.health.retry_at;
        }
        synced
    }

    async fn sync_base(&mut self) -> Result<(), StoreError> {
        let state = self.base().await?;
        self.commit(WriteBatch::new(), Durability::Immediate).await?;
        self.show_arrivals(state.checkpoint.next_arrival);
        Ok(())
    }

    /// Makes everything durable and closes the store.
    pub(super) async fn close(&mut self) -> Result<(), StoreError> {
        let pending = self.shared.state().map_or(0, |state| state.pending.len());
        if pending > PENDING_LEFT
            && let Err(error) = self.commit_index().await
        {
            // The next start makes these rows again.
            tracing::warn!(%error, "the pending index rows were not written");
        }
        if let Err(error) = self.store_sketch_at_the_end().await {
            // The next start reads the arrivals since the last row.
            tracing::warn!(%error, "the sketch was not written");
        }
        let synced = self.sync().await;
        self.shared.published.store(Arc::new(Published::Closed));
        self.shared.arrivals.send_modify(|_| ());
        let closed = self.shared.store.close().await;
        synced.and(closed)
    }

    pub(super) async fn commit(
        &mut self,
        writes: WriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.commit_derived(writes, durability).await?;
        self.sync_at = match durability {
            Durability::Immediate => None,
            Durability::Buffered => self.sync_at.or_else(|| Some(steady::now() + SYNC_WITHIN)),
        };
        Ok(())
    }

    /// As [`Committer::commit`], of rows that are computed again if they are lost: it plans no sync.
    async fn commit_derived(&mut self, writes: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        match self.shared.store.commit(writes, durability).await {
            Ok(()) => {
                self.health.note_success(&self.shared);
                Ok(())
            }
            Err(error) => {
                self.fail(&error).await;
                Err(error)
            }
        }
    }

    /// Shows the latest commit to readers, and tells watchers of it. View and pending rows stay a pair: if the store
    /// gives no view of the commit, reads fail until it does.
    async fn publish(&mut self, pending: Pending, checkpoint: Checkpoint) {
        self.publish_changed(pending, checkpoint, &Changes::default()).await;
    }

    /// As [`Committer::publish`], of a commit that changed the events held.
    pub(super) async fn publish_changed(
        &mut self,
        pending: Pending,
        checkpoint: Checkpoint,
        changes: &Changes,
    ) {
        self.shared.show_clock(&self.clock);
        let published = match self.shared.store.view().await {
            Ok(view) => Published::State(Arc::new(ReadState { view, pending, checkpoint })),
            Err(error) => {
                tracing::error!(%error, "the store gives no view of its latest commit: reads fail until it does");
                self.health.fall_behind();
                Published::Unreadable(error)
            }
        };
        self.shared.sketch.change(changes, || self.shared.published.store(Arc::new(published)));
        self.show_arrivals(checkpoint.next_arrival);
    }

    /// Wakes watchers and neighbours once every arrival is durable: an event that they have seen must not be
    /// forgotten, nor its place in the order be given to another one.
    fn show_arrivals(&self, next_arrival: u64) {
        if self.sync_at.is_none() {
            self.shared.arrivals.send_replace(next_arrival);
            self.shared.feed.show();
        }
    }

    /// Refuses writes after a failure of the store, and reads it again.
    pub(super) async fn fail(&mut self, error: &StoreError) {
        self.health.note_failure(error, &self.shared);
        self.resync().await;
    }

    /// Tries a store that failed again, without waiting for a write: the neighbours send none to a node that takes
    /// none, so it would never learn that it can.
    pub(super) async fn retry(&mut self) {
        self.health.retry_at = None;
        match self.base().await {
            Ok(state) if self.shared.failure.load().is_some() => {
                // A failure plans the next attempt.
                let _ = self.commit_checkpoint(&state).await;
            }
            Ok(_) => {}
            Err(_) => self.health.retry_later(),
        }
    }

    /// Takes everything that memory holds of the store from the store again.
    pub(super) async fn resync(&mut self) {
        self.shared.feed.forget_unshown();
        self.shared.recent.forget();
        self.tree.forget();
        self.next_expiry = Some(Timestamp::MIN);
        match reload(&self.shared).await {
            Ok(Reloaded { state, greatest, sketch }) => {
                self.greatest = greatest;
                self.health.is_behind = false;
                self.shared.show_clock(&self.clock);
                let next_arrival = state.checkpoint.next_arrival;
                self.show_reloaded(state, sketch);
                self.shared.digests.forget();
                self.show_arrivals(next_arrival);
            }
            Err(ReadError::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "the store cannot be read again: nothing is committed until it can");
                self.health.note_unreadable();
            }
        }
    }
}
