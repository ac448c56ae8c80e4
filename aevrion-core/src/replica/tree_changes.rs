//! Walks of the tree, seen from the writer: it grants them, stores the hashes that they compute, and names the nodes that
//! commits have touched since.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use super::read_state::ReadState;
use crate::bounds::KNOWN_STALE;
use crate::tree::{KeptTop, Node, NodePosition};

/// Computed nodes, children before their parents.
pub(super) type Nodes = Vec<(NodePosition, Node)>;

/// Messages of computed nodes in flight: two keep both sides busy.
const NODES_IN_FLIGHT: usize = 2;

/// Leave to walk the tree, until dropped.
pub(super) struct WalkGrant {
    /// The state to walk. It stays as it is until the end of the walk, even in a store without isolated views.
    pub(super) state: Arc<ReadState>,
    /// Where computed nodes go.
    pub(super) nodes: mpsc::Sender<Nodes>,
    /// The number of the walk.
    pub(super) number: u64,
}

/// The nodes that commits have touched, and the walks that are under way.
pub(super) struct TreeChanges {
    /// Nodes that certainly have no stored hash: a commit need not remove it once more.
    without_hash: BTreeSet<NodePosition>,
    /// The one whose turn it is comes first.
    walks: Vec<ActiveWalk>,
    top: Arc<KeptTop>,
}

/// A walk under way.
struct ActiveWalk {
    number: u64,
    nodes: mpsc::Receiver<Nodes>,
}

impl TreeChanges {
    pub(super) fn new(top: Arc<KeptTop>) -> Self {
        Self { without_hash: BTreeSet::new(), walks: Vec::new(), top }
    }

    /// Grants a walk beside those under way.
    pub(super) fn grant(&mut self, state: Arc<ReadState>, reply: oneshot::Sender<WalkGrant>) {
        let (sender, nodes) = mpsc::channel(NODES_IN_FLIGHT);
        let number = self.top.begin_walk();
        self.walks.push(ActiveWalk { number, nodes });
        // If nobody takes the grant, its end of the channel says so.
        let _ = reply.send(WalkGrant { state, nodes: sender, number });
    }

    /// Whether a walk is under way.
    pub(super) fn is_walked(&self) -> bool {
        !self.walks.is_empty()
    }

    /// The next nodes that a walk has computed, and its number; `None` at the end of a walk. Waits as long as there is no
    /// walk.
    pub(super) async fn next_nodes(&mut self) -> Option<(u64, Nodes)> {
        poll_fn(|context| self.poll_nodes(context)).await
    }

    fn poll_nodes(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Nodes)>> {
        for place in 0..self.walks.len() {
            let Poll::Ready(nodes) = self.walks[place].nodes.poll_recv(context) else { continue };
            let walk = self.walks.remove(place);
            let Some(nodes) = nodes else {
                self.rest_if_over();
                return Poll::Ready(None);
            };
            let number = walk.number;
            self.walks.push(walk);
            return Poll::Ready(Some((number, nodes)));
        }
        Poll::Pending
    }

    fn rest_if_over(&mut self) {
        if self.walks.is_empty() {
            self.top.rest();
        }
    }

    /// Leaves out the nodes touched since the walk began that computed them; all of them if that is not known.
    pub(super) fn retain_current(&self, walk: u64, nodes: &mut Nodes) {
        nodes.retain(|(node, _)| self.top.is_current(walk, *node));
    }

    /// Notes the nodes that a commit has touched. Their hashes are no longer stored.
    pub(super) fn note_touched(&mut self, touched: BTreeSet<NodePosition>) {
        if !self.top.touch(&touched) {
            self.end_walks();
        }
        if self.without_hash.len() + touched.len() > KNOWN_STALE {
            self.without_hash.clear();
        }
        self.without_hash.extend(touched);
    }

    /// Notes that the hashes of these nodes are stored.
    pub(super) fn note_stored(&mut self, nodes: &[NodePosition]) {
        for position in nodes {
            self.without_hash.remove(position);
        }
    }

    /// Nodes that certainly have no stored hash.
    pub(super) fn without_hash(&self) -> &BTreeSet<NodePosition> {
        &self.without_hash
    }

    /// Forgets all after a change that is not known node by node. What the walks under way compute is not stored, nor kept
    /// by them.
    pub(super) fn forget(&mut self) {
        self.without_hash.clear();
        self.top.forget();
        self.end_walks();
    }

    fn end_walks(&mut self) {
        self.walks.clear();
        self.top.rest();
    }
}
