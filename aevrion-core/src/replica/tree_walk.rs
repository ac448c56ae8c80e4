//! Walks of the tree, seen from their callers: missing hashes are computed, and stored for the next walk. A walk
//! holds the top row, which stays in memory from walk to walk, so there is one at a time.

use std::sync::Arc;

use tokio::sync::{MutexGuard, mpsc};

use super::queue::{Queue, Request};
use super::read_state::ReadState;
use super::state::Shared;
use super::tree_changes::{KeptTop, Nodes, WalkGrant};
use crate::tree::{NodeSink, Root, Shape, TopRow, TreePass};
use crate::{ReadError, TimeSpan, Timestamp};

/// The only walk of the tree, until dropped.
pub(super) struct TreeWalk<'s> {
    walk: WalkGrant,
    shape: Shape,
    top: MutexGuard<'s, KeptTop>,
}

impl<'s> TreeWalk<'s> {
    /// Begins a walk as soon as no other is under way. In a store without isolated views nothing is written until it
    /// ends. If a neighbour will be `told` of the events up to a time, nothing is stamped at or before it from then
    /// on.
    pub(super) async fn begin(
        shared: &'s Shared,
        queue: &Queue,
        told: Option<Timestamp>,
    ) -> Result<Self, ReadError> {
        let mut top = shared.tree_walk.lock().await;
        let known = top.walk;
        // A writer that cannot show the latest commit grants no walk.
        let Some(walk) = queue.ask(|reply| Request::Walk { told, known, reply }).await else {
            return Err(shared.state().err().unwrap_or(ReadError::Closed));
        };
        // No await from here until all is noted: the caller may drop this future at any moment.
        top.walk = walk.number;
        match &walk.touched {
            Some(indexes) => indexes.iter().for_each(|index| top.row.touch(*index..=*index)),
            None => top.row.forget(),
        }
        Ok(Self { walk, shape: shared.shape, top })
    }

    /// The state to walk.
    pub(super) fn state(&self) -> &Arc<ReadState> {
        &self.walk.state
    }

    /// Hash and count of the events of `span`.
    pub(super) async fn root(&mut self, span: TimeSpan) -> Result<Root, ReadError> {
        let (mut pass, top) = self.pass(span);
        pass.root_with(top).await
    }

    /// A pass that counts the events of `span`, and the top row for it.
    pub(super) fn pass(&mut self, span: TimeSpan) -> (TreePass<'_, impl NodeSink>, &mut TopRow) {
        let sink = ToWriter(self.walk.nodes.clone());
        let pass = TreePass::new(&*self.walk.state.view, self.shape, sink);
        (pass.within(span), &mut self.top.row)
    }
}

/// A state to check, and a walk that keeps it as it is in a store without isolated views: writes wait for its end.
pub(super) async fn unchanging<'s>(
    shared: &'s Shared,
    queue: &Queue,
) -> Result<(Arc<ReadState>, Option<TreeWalk<'s>>), ReadError> {
    if shared.capabilities.isolated_views {
        return Ok((shared.state()?, None));
    }
    let walk = TreeWalk::begin(shared, queue, None).await?;
    Ok((Arc::clone(walk.state()), Some(walk)))
}

/// Hands computed nodes to the writer.
struct ToWriter(mpsc::Sender<Nodes>);

impl NodeSink for ToWriter {
    async fn take(&mut self, nodes: Nodes) -> Result<(), ReadError> {
        // A writer that no longer listens stores none of them; the walk goes on.
        let _ = self.0.send(nodes).await;
        Ok(())
    }
}
