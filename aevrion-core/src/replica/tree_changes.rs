//! Walks of the tree, seen from the writer: it grants a walk, stores the hashes that the walk computes, and names the
//! nodes that commits have touched since the walk before. The rest of the top row stays in memory from walk to walk.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::read_state::ReadState;
use crate::bounds::{KNOWN_STALE, TOUCHED_DURING_PASS, TOUCHED_TOP_NODES};
use crate::tree::{Node, NodePosition, Shape, TopRow};

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
    /// The nodes of the top row touched since the last walk that the caller knows.
    pub(super) touched: Touched,
}

/// The top row of the tree in memory, and the walk at which it was current.
pub(super) struct KeptTop {
    pub(super) row: TopRow,
    /// The number of the last walk whose grant arrived.
    pub(super) walk: u64,
}

impl Default for KeptTop {
    fn default() -> Self {
        Self { row: TopRow::unknown(), walk: 0 }
    }
}

/// Indexes in the top row; `None` if any of its nodes may have been touched.
pub(super) type Touched = Option<BTreeSet<u64>>;

/// The nodes that commits have touched, and the walk that is under way.
#[derive(Default)]
pub(super) struct TreeChanges {
    /// Nodes that certainly have no stored hash: a commit need not remove it once more.
    without_hash: BTreeSet<NodePosition>,
    walk: Option<ActiveWalk>,
    top: TouchedTop,
}

/// A walk under way.
struct ActiveWalk {
    nodes: mpsc::Receiver<Nodes>,
    /// Nodes touched since the walk began: the walk may have computed them from older events.
    touched: BTreeSet<NodePosition>,
}

impl TreeChanges {
    /// Grants a walk, which replaces the one before. `known` is the number of the last walk whose grant the caller
    /// got.
    pub(super) fn grant(&mut self, state: Arc<ReadState>, known: u64, reply: oneshot::Sender<WalkGrant>) {
        let (sender, nodes) = mpsc::channel(NODES_IN_FLIGHT);
        let (number, touched) = self.top.begin_walk(known);
        if reply.send(WalkGrant { state, nodes: sender, number, touched }).is_ok() {
            self.walk = Some(ActiveWalk { nodes, touched: BTreeSet::new() });
        }
    }

    /// Whether a walk is under way.
    pub(super) fn is_walked(&self) -> bool {
        self.walk.is_some()
    }

    pub(super) fn end_walk(&mut self) {
        self.walk = None;
    }

    /// The next nodes that the walk has computed; `None` at its end. Waits as long as there is no walk.
    pub(super) async fn next_nodes(&mut self) -> Option<Nodes> {
        match &mut self.walk {
            Some(walk) => walk.nodes.recv().await,
            None => pending().await,
        }
    }

    /// Leaves out the nodes touched since they were computed. Without a walk none is left.
    pub(super) fn retain_current(&self, nodes: &mut Nodes) {
        match &self.walk {
            Some(ActiveWalk { touched, .. }) => nodes.retain(|(position, _)| !touched.contains(position)),
            None => nodes.clear(),
        }
    }

    /// Notes the nodes that a commit has touched. Their hashes are no longer stored.
    pub(super) fn note_touched(&mut self, touched: BTreeSet<NodePosition>) {
        self.top.touch(&touched);
        if let Some(walk) = &mut self.walk {
            walk.touched.extend(&touched);
            if walk.touched.len() > TOUCHED_DURING_PASS {
                self.walk = None;
            }
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

    /// Forgets all after a change that is not known node by node. A walk under way is not stored, nor kept by its
    /// caller.
    pub(super) fn forget(&mut self) {
        self.without_hash.clear();
        self.walk = None;
        self.top.forget();
    }
}

/// The nodes of the top row touched since the last walks.
struct TouchedTop {
    /// The number of the last walk.
    walk: u64,
    /// Those touched before the last walk and not known to the walk before: the grant may not have arrived.
    handed: Touched,
    /// Those touched since.
    since: Touched,
}

impl Default for TouchedTop {
    fn default() -> Self {
        Self { walk: 0, handed: Some(BTreeSet::new()), since: Some(BTreeSet::new()) }
    }
}

impl TouchedTop {
    fn touch(&mut self, nodes: &BTreeSet<NodePosition>) {
        let top = nodes.range(NodePosition { level: Shape::TOP, index: 0 }..);
        if let Some(since) = &mut self.since {
            since.extend(top.map(|node| node.index));
        }
        bound(&mut self.since);
    }

    fn forget(&mut self) {
        self.since = None;
    }

    /// The number of a walk that begins now, and the nodes touched since the walk `known`, the last one whose grant
    /// reached its caller.
    fn begin_walk(&mut self, known: u64) -> (u64, Touched) {
        if known == self.walk {
            self.handed = Some(BTreeSet::new());
        }
        self.walk += 1;
        let since = self.since.replace(BTreeSet::new());
        self.handed = self.handed.take().zip(since).map(|(mut handed, since)| {
            handed.extend(since);
            handed
        });
        bound(&mut self.handed);
        (self.walk, self.handed.clone())
    }
}

fn bound(touched: &mut Touched) {
    touched.take_if(|nodes| nodes.len() > TOUCHED_TOP_NODES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(indexes: &[u64]) -> BTreeSet<NodePosition> {
        let top = indexes.iter().map(|index| NodePosition { level: Shape::TOP, index: *index });
        top.chain([NodePosition { level: 0, index: 99 }]).collect()
    }

    fn some(indexes: &[u64]) -> Touched {
        Some(indexes.iter().copied().collect())
    }

    #[test]
    fn each_walk_learns_what_was_written_to_since_the_one_before() {
        let mut top = TouchedTop::default();
        top.touch(&touched(&[3, 5]));
        assert_eq!(top.begin_walk(0), (1, some(&[3, 5])));
        assert_eq!(top.begin_walk(1), (2, some(&[])));
        top.touch(&touched(&[7]));
        assert_eq!(top.begin_walk(2), (3, some(&[7])));
    }

    #[test]
    fn what_a_walk_did_not_hear_of_the_next_one_does() {
        let mut top = TouchedTop::default();
        top.touch(&touched(&[3]));
        assert_eq!(top.begin_walk(0), (1, some(&[3])));
        top.touch(&touched(&[5]));
        assert_eq!(top.begin_walk(0), (2, some(&[3, 5])), "the answer got lost");
        top.touch(&touched(&[7]));
        assert_eq!(top.begin_walk(0), (3, some(&[3, 5, 7])), "and once more");
        assert_eq!(top.begin_walk(3), (4, some(&[])));
    }

    #[test]
    fn what_is_not_known_is_handed_on_until_it_was_heard() {
        let mut top = TouchedTop::default();
        top.forget();
        top.touch(&touched(&[3]));
        assert_eq!(top.begin_walk(0), (1, None));
        top.touch(&touched(&[5]));
        assert_eq!(top.begin_walk(0), (2, None), "the answer got lost");
        assert_eq!(top.begin_walk(2), (3, some(&[])));
    }

    #[test]
    fn too_many_are_all() {
        let mut top = TouchedTop::default();
        let many: Vec<u64> = (0..=TOUCHED_TOP_NODES as u64).collect();
        top.touch(&touched(&many[1..]));
        top.touch(&touched(&many[1..]));
        assert!(top.begin_walk(0).1.is_some_and(|nodes| nodes.len() == TOUCHED_TOP_NODES));
        top.touch(&touched(&many[..1]));
        assert_eq!(top.begin_walk(0).1, None, "together with what was not heard of");
        top.touch(&touched(&many));
        assert_eq!(top.begin_walk(2).1, None);
    }
}
