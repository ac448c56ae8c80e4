//! Walks of the tree, seen from their callers: missing hashes are computed, and stored for the next walk.
//!
//! Walks go on side by side. Two that need the same missing hashes at once both compute them, if they are few. A walk that
//! has many to compute, as after an import, waits for another such walk, and goes on from what that one has stored.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::queue::{Queue, Request};
use super::read_state::ReadState;
use super::state::Shared;
use super::tree_changes::{Nodes, WalkGrant};
use crate::tree::{NodeSink, Root, StoredSince, TopOfWalk, TreePass};
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
        let sink = ToWriter { walk: self, turn: None };
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
struct ToWriter<'s> {
    walk: &'s TreeWalk<'s>,
    turn: Option<MutexGuard<'s, ()>>,
}

impl NodeSink for ToWriter<'_> {
    async fn take(&mut self, nodes: Nodes) -> Result<(), ReadError> {
        // A writer that no longer listens stores none of them; the walk goes on.
        let _ = self.walk.grant.nodes.send(nodes).await;
        Ok(())
    }

    async fn compute_many(&mut self) -> Option<StoredSince> {
        if self.turn.is_some() {
            return None;
        }
        let TreeWalk { grant, shared } = self.walk;
        self.turn = shared.computes_many.try_lock().ok();
        if self.turn.is_some() {
            return None;
        }
        self.turn = Some(shared.computes_many.lock().await);
        let state = shared.state().ok()?;
        Some(StoredSince {
            view: Arc::clone(&state.view),
            top: Arc::clone(&shared.tree_top),
            walk: grant.number,
        })
    }
}
