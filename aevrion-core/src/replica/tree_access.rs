//! The tree as the replica offers it: hashes on request, computed where they are missing and stored for the next one.

use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::sync::{MutexGuard, mpsc};

use super::queue::{Nodes, Request, Walk};
use super::{ReadState, Replica};
use crate::tree::{Node, NodeSink, Root, TreePass};
use crate::{Hash, ReadError, TimeSpan, Timestamp};

/// Leave to walk the tree while nobody else does.
pub(super) struct TreeWalk<'r> {
    walk: Walk,
    _alone: MutexGuard<'r, ()>,
}

impl TreeWalk<'_> {
    /// What to walk.
    pub(super) fn state(&self) -> &Arc<ReadState> {
        &self.walk.state
    }
}

/// Hands computed nodes to the writer.
struct ToWriter(mpsc::Sender<Nodes>);

impl NodeSink for ToWriter {
    async fn take(&mut self, nodes: Nodes) -> Result<(), ReadError> {
        // A writer that no longer listens has reasons not to store them; the walk goes on.
        let _ = self.0.send(nodes).await;
        Ok(())
    }
}

impl Replica {
    /// Hash and count of all events. Cost: a few lookups, and the hashing of what was written since the last call.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn root(&self) -> Result<Root, ReadError> {
        let walk = self.walk(None).await?;
        self.noting(self.pass(&walk).root().await)
    }

    /// Hash and count of the events before `moment`: what replicas compare, so that what is in flight is not taken
    /// for a difference. Cost: as [`Replica::root`], and one path of the tree.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn root_at(&self, moment: Timestamp) -> Result<Root, ReadError> {
        let Some(span) = TimeSpan::before(moment) else { return Ok(Root { count: 0, hash: Hash::EMPTY }) };
        let walk = self.walk(None).await?;
        self.noting(self.pass(&walk).within(span).root().await)
    }

    /// The non-empty nodes of a level with these indexes, ascending.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn nodes(
        &self,
        level: u8,
        indexes: RangeInclusive<u64>,
    ) -> Result<Vec<(u64, Node)>, ReadError> {
        let walk = self.walk(None).await?;
        self.noting(self.pass(&walk).nodes(level, indexes).await)
    }

    /// Begins a walk. In a store without isolated views nothing is written until it ends. If a neighbour is to be `told`
    /// what was written up to a time, nothing is stamped at or before it from then on.
    pub(super) async fn walk(&self, told: Option<Timestamp>) -> Result<TreeWalk<'_>, ReadError> {
        let alone = self.shared.tree_walk.lock().await;
        let walk = self.queue.ask(|reply| Request::Walk(told, reply)).await;
        // A writer that cannot show the latest commit grants no walk.
        let walk = match walk {
            Some(walk) => walk,
            None => return Err(self.shared.state().err().unwrap_or(ReadError::Closed)),
        };
        Ok(TreeWalk { walk, _alone: alone })
    }

    /// A state to check, and what keeps it as it is for as long as it is held: in a store without isolated views nothing
    /// is written meanwhile.
    pub(super) async fn unchanging(&self) -> Result<(Arc<ReadState>, Option<TreeWalk<'_>>), ReadError> {
        if self.shared.capabilities.isolated_views {
            return Ok((self.shared.state()?, None));
        }
        let walk = self.walk(None).await?;
        Ok((Arc::clone(walk.state()), Some(walk)))
    }

    pub(super) fn pass<'w>(&self, walk: &'w TreeWalk<'_>) -> TreePass<'w, impl NodeSink> {
        TreePass::new(&*walk.state().view, self.shared.shape, ToWriter(walk.walk.nodes.clone()))
    }
}
