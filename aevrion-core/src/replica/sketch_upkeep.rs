//! The writer's part of the kept sketch: the changes of each commit, and the commits that carry the row.

use std::sync::Arc;

use super::commit_batch::CommitBatch;
use super::committer::Committer;
use super::kept_sketch::{Changes, KeptCells, Recovered, encode};
use super::queue::SketchCorrection;
use super::read_state::ReadState;
use super::state::Published;
use crate::arrivals::Effect;
use crate::bounds::{PENDING_LEFT, SKETCH_CHECKPOINT};
use crate::fault_injection::{Bug, injected};
use crate::store::{Durability, StoreError, Table, WriteBatch};
use crate::tables::{Checkpoint, name, parse_event_key};

impl Committer {
    /// The changes by a batch of new events.
    pub(super) fn changes_of(&self, batch: &CommitBatch) -> Changes {
        let arrived = if batch.effect == Effect::Stored { &batch.arrived[..] } else { &[] };
        let added = arrived.iter().map(|(event_key, _)| self.shared.sketch.locators.of(*event_key));
        Changes { added: added.collect(), ..Changes::default() }
    }

    /// The changes by a batch that removes events.
    pub(super) async fn removed_by(
        &self,
        writes: &WriteBatch,
        state: &ReadState,
    ) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        for key in writes.removed(Table::Events) {
            let Some(event_key) = parse_event_key(key) else { continue };
            if state.view.get(Table::Events, key).await?.is_some() {
                changes.removed.push(self.shared.sketch.locators.of(event_key));
            }
        }
        Ok(changes)
    }

    /// Stores the sketch with this batch if many arrivals have come since, or the batch trims arrivals behind it. The
    /// events of the batch are not in the row. Returns the sequence up to which a row has the sketch then.
    pub(super) fn store_sketch_if_due(&self, batch: &mut CommitBatch) -> Option<u64> {
        let next = batch.base.checkpoint.next_arrival;
        let oldest = batch.checkpoint.oldest_arrival;
        let is_fresh = |until: &u64| next.saturating_sub(*until) < SKETCH_CHECKPOINT && oldest <= *until;
        if let Some(until) = self.sketch_stored_until.filter(is_fresh) {
            return Some(until);
        }
        self.put_sketch(&mut batch.writes, next, &self.shared.sketch.cells());
        Some(next)
    }

    /// Stores the sketch with a batch that changes it without an arrival. Returns as
    /// [`Committer::store_sketch_if_due`].
    pub(super) fn store_changed_sketch(
        &self,
        writes: &mut WriteBatch,
        changes: &Changes,
        checkpoint: &Checkpoint,
    ) -> Option<u64> {
        if changes.is_empty() || injected(Bug::RemovalNotStored) {
            return self.sketch_stored_until;
        }
        let cells = changes.applied_to(&self.shared.sketch.cells());
        self.put_sketch(writes, checkpoint.next_arrival, &cells);
        Some(checkpoint.next_arrival)
    }

    fn put_sketch(&self, writes: &mut WriteBatch, sequence: u64, cells: &KeptCells) {
        writes.put(Table::Meta, name::SKETCH, encode(self.shared.sketch.locators.key, sequence, cells));
    }

    /// Stores the sketch before the store is closed, unless a start has few arrivals to read.
    pub(super) async fn store_sketch_at_the_end(&mut self) -> Result<(), StoreError> {
        let state = self.base().await?;
        let next = state.checkpoint.next_arrival;
        if self.sketch_stored_until.is_some_and(|until| next.saturating_sub(until) <= PENDING_LEFT as u64) {
            return Ok(());
        }
        self.correct_sketch(Changes::default()).await
    }

    /// Corrects the kept cells, and stores them.
    pub(super) async fn mend_sketch(&mut self, correction: SketchCorrection) -> Result<(), StoreError> {
        // Cells that were read again since are others than those that were checked.
        let is_current = correction.reloads == self.shared.sketch.reloads();
        let lacking = Some(correction.lacking).filter(|_| is_current);
        self.correct_sketch(Changes { lacking, ..Changes::default() }).await
    }

    async fn correct_sketch(&mut self, changes: Changes) -> Result<(), StoreError> {
        let state = self.ready().await?;
        let mut writes = WriteBatch::new();
        let cells = changes.applied_to(&self.shared.sketch.cells());
        self.put_sketch(&mut writes, state.checkpoint.next_arrival, &cells);
        self.commit(writes, Durability::Immediate).await?;
        self.sketch_stored_until = Some(state.checkpoint.next_arrival);
        self.publish_changed(state.pending.clone(), state.checkpoint, &changes).await;
        Ok(())
    }

    /// Shows a state that was read again, and its sketch.
    pub(super) fn show_reloaded(&mut self, state: ReadState, sketch: Recovered) {
        let publish = || self.shared.published.store(Arc::new(Published::State(Arc::new(state))));
        if injected(Bug::CellsNotReloaded) {
            publish();
        } else {
            self.shared.sketch.reload(sketch.cells, publish);
        }
        self.sketch_stored_until = sketch.stored_until;
    }
}
