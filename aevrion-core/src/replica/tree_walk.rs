//! The tree as the replica offers it: hashes on request, computed where they are missing and stored for the next one.
//!
//! Whoever walks it holds the top row, which stays in memory from walk to walk.

use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::sync::{MutexGuard, mpsc};

use super::handle::Replica;
use super::queue::Request;
use super::read_state::ReadState;
use super::walk::{KeptTop, Nodes, WalkGrant};
use crate::tree::{Node, NodeSink, Root, Shape, TopRow, TreePass};
use crate::{Hash, ReadError, TimeSpan, Timestamp};

/// Leave to walk the tree while nobody else does.
pub(super) struct TreeWalk<'r> {
    walk: WalkGrant,
    shape: Shape,
    top: MutexGuard<'r, KeptTop>,
}

impl TreeWalk<'_> {
    /// What to walk.
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
    /// Hash and count of all events. Cost: a few lookups, and the hashing of what was written since the last call; the
    /// first call reads the top row of the tree, and every call does if that has more than
    /// [`TOP_ROW_NODES`](crate::bounds::TOP_ROW_NODES) nodes.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn root(&self) -> Result<Root, ReadError> {
        self.root_of(TimeSpan::ALL).await
    }

    /// Hash and count of the events before `moment`: what replicas compare, so that what is in flight is not taken
    /// for a difference. Cost: as [`Replica::root`], and one path of the tree.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn root_at(&self, moment: Timestamp) -> Result<Root, ReadError> {
        match TimeSpan::before(moment) {
            Some(span) => self.root_of(span).await,
            None => Ok(Root { count: 0, hash: Hash::EMPTY }),
        }
    }

    async fn root_of(&self, span: TimeSpan) -> Result<Root, ReadError> {
        let mut walk = self.walk(None).await?;
        self.noting(walk.root(span).await)
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
        let mut walk = self.walk(None).await?;
        let (mut pass, _) = walk.pass(TimeSpan::ALL);
        self.noting(pass.nodes(level, indexes).await)
    }

    /// Begins a walk. In a store without isolated views nothing is written until it ends. If a neighbour is to be `told`
    /// what was written up to a time, nothing is stamped at or before it from then on.
    pub(super) async fn walk(&self, told: Option<Timestamp>) -> Result<TreeWalk<'_>, ReadError> {
        let mut top = self.shared.tree_walk.lock().await;
        let known = top.walk;
        let walk = self.queue.ask(|reply| Request::Walk { told, known, reply }).await;
        // A writer that cannot show the latest commit grants no walk.
        let walk = match walk {
            Some(walk) => walk,
            None => return Err(self.shared.state().err().unwrap_or(ReadError::Closed)),
        };
        // Nothing is awaited from here until all is noted: a caller may go away at any moment.
        top.walk = walk.number;
        match &walk.touched {
            Some(indexes) => indexes.iter().for_each(|index| top.row.touch(*index..=*index)),
            None => top.row.forget(),
        }
        Ok(TreeWalk { walk, shape: self.shared.shape, top })
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
}
