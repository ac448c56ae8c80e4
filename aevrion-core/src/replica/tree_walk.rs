//! Walks of the tree, seen from their callers: missing hashes are computed, and stored for the next walk. Walks go on
//! side by side: none waits for another one. Two that need the same missing hash at once both compute it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::queue::{Queue, Request};
use super::read_state::ReadState;
use super::state::Shared;
use super::tree_changes::{Nodes, WalkGrant};
use crate::tree::{NodeSink, Root, TopOfWalk, TreePass};
use crate::{ReadError, TimeSpan, Timestamp};

/// A walk of the tree, until dropped.
pub(super) struct TreeWalk<'s> {
    grant: WalkGrant,
    shared: &'s Shared,
}

impl<'s> TreeWalk<'s> {
    /// Begins a walk. In a store without isolated views nothing is written until it ends, and it begins when no other one
    /// is under way. If a neighbour will be `told` of the events up to a time, nothing is stamped at or before it from
    /// then on.
    pub(super) async fn begin(
        shared: &'s Shared,
        queue: &Queue,
        told: Option<Timestamp>,
    ) -> Result<Self, ReadError> {
        // A writer that cannot show the latest commit grants no walk.
        let Some(grant) = queue.ask(|reply| Request::Walk { told, reply }).await else {
            return Err(shared.state().err().unwrap_or(ReadError::Closed));
        };
        Ok(Self { grant, shared })
    }

    /// The state to walk.
    pub(super) fn state(&self) -> &Arc<ReadState> {
        &self.grant.state
    }

    /// Hash and count of the events of `span`.
    pub(super) async fn root(&self, span: TimeSpan) -> Result<Root, ReadError> {
        let (mut pass, top) = self.pass(span);
        pass.root_with(top).await
    }

    /// A pass that counts the events of `span`, and the top row for it.
    pub(super) fn pass(&self, span: TimeSpan) -> (TreePass<'_, impl NodeSink>, TopOfWalk<'_>) {
        let sink = ToWriter(self.grant.nodes.clone());
        let pass = TreePass::new(&*self.grant.state.view, self.shared.shape, sink);
        (pass.within(span), self.shared.tree_top.of_walk(self.grant.number))
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
