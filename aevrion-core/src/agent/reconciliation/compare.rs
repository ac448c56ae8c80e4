//! The decisions of a repair, as functions of the two sides' node digests.

use std::collections::{BTreeMap, BTreeSet};

use crate::bounds::DIGEST_NODES;
use crate::message::{Digest, NodeDigest, Parent, Row};
use crate::tree::{NodePosition, Shape};
use crate::{Hash, TimeSpan};

/// The number of events up to which the ids of a node are listed rather than its children named: listing costs 5 B an
/// id, naming about 40 B a child and half a round trip a level.
pub(super) const LIST_INSTEAD: u64 = 128;

/// The step for one node in which the two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Both sides hold many events there: name the children.
    Drill(NodePosition),
    /// Both sides hold events there, this side few: list them.
    List(TimeSpan),
    /// This side holds no events there: request all.
    Ask(TimeSpan),
    /// The neighbour holds no events there: send all.
    Give(TimeSpan),
}

/// Node digests of one side by their position.
type Nodes = BTreeMap<NodePosition, NodeDigest>;

/// The steps for two digests of `span`, latest first.
///
/// A row of maximum length says nothing about the time before its first node. That time is compared by a list, when
/// nothing else differs any more.
pub(super) fn compare_digests(shape: Shape, span: TimeSpan, mine: &Digest, theirs: &Digest) -> Vec<Step> {
    let full = mine.rows.iter().chain(&theirs.rows).filter(|row| row.nodes.len() >= DIGEST_NODES);
    let first =
        |row: &Row| row.nodes.first().map(|node| NodePosition { level: row.level, index: node.index });
    let said_from =
        full.filter_map(first).map(|node| shape.first(node)).max().filter(|from| *from > span.first());
    let Some(from) = said_from else { return compare(shape, span, &nodes_of(mine), &nodes_of(theirs)) };
    let known = TimeSpan::new(from, span.last()).unwrap_or(span);
    let steps = compare(shape, known, &nodes_of(mine), &nodes_of(theirs));
    let before = TimeSpan::new(span.first(), from.previous()).map(Step::List);
    if steps.is_empty() { before.into_iter().collect() } else { steps }
}

/// The comparison of the nodes of two digests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    /// The number of nodes on either side.
    pub(super) all: usize,
    /// The times of the differing nodes.
    pub(super) differing: Vec<TimeSpan>,
    /// The least number of events by which the two sides differ. It is counted block by block, so that events missing
    /// here in one block and there in another do not cancel out.
    pub(super) apart: u64,
}

/// Counts the differing nodes of two digests, and the difference in events.
pub(super) fn differing_blocks(shape: Shape, mine: &Digest, theirs: &Digest) -> Blocks {
    let (mine, theirs) = (nodes_of(mine), nodes_of(theirs));
    let places: BTreeSet<_> = mine.keys().chain(theirs.keys()).copied().collect();
    let mut blocks = Blocks { all: places.len(), ..Blocks::default() };
    for place in places {
        let (here, there) = (mine.get(&place), theirs.get(&place));
        if hash_of(here) != hash_of(there) {
            blocks.apart = blocks.apart.saturating_add(count_of(here).abs_diff(count_of(there)).max(1));
            blocks.differing.push(shape.time_of(place));
        }
    }
    blocks
}

/// The steps for the children of `parents`, latest first. `mine` are this side's, in the same order.
pub(super) fn compare_children(
    shape: Shape,
    span: TimeSpan,
    mine: &[Vec<NodeDigest>],
    parents: &[Parent],
) -> Vec<Step> {
    let placed = |parent: &Parent, children: &[NodeDigest]| -> Vec<(NodePosition, NodeDigest)> {
        let first = *shape.children(parent.node).start();
        let level = parent.node.level - 1;
        let place =
            |node: &NodeDigest| (NodePosition { level, index: first.saturating_add(node.index) }, *node);
        children.iter().map(place).collect()
    };
    let theirs = parents.iter().flat_map(|parent| placed(parent, &parent.children)).collect();
    let mine = parents.iter().zip(mine).flat_map(|(parent, children)| placed(parent, children)).collect();
    compare(shape, span, &mine, &theirs)
}

fn nodes_of(digest: &Digest) -> Nodes {
    let row = |row: &Row| {
        let level = row.level;
        row.nodes
            .iter()
            .map(move |node| (NodePosition { level, index: node.index }, *node))
            .collect::<Vec<_>>()
    };
    digest.rows.iter().flat_map(row).collect()
}

fn compare(shape: Shape, span: TimeSpan, mine: &Nodes, theirs: &Nodes) -> Vec<Step> {
    let mut steps: Vec<(TimeSpan, Step)> = Vec::new();
    let places = mine.keys().chain(theirs.keys().filter(|place| !mine.contains_key(place)));
    for place in places {
        let (here, there) = (mine.get(place), theirs.get(place));
        // A node outside the span has no events that count.
        let Some(time) = shape.time_of(*place).intersection(span) else { continue };
        // Equal hashes with different counts: one side's is wrong, and is searched like a difference.
        if hash_of(here) == hash_of(there) && count_of(here) == count_of(there) {
            continue;
        }
        let step = match (here, there) {
            (None, _) => Step::Ask(time),
            (_, None) => Step::Give(time),
            (Some(here), _) if place.level == 0 || here.count <= LIST_INSTEAD => Step::List(time),
            _ => Step::Drill(*place),
        };
        steps.push((time, step));
    }
    steps.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
    merge(steps)
}

fn hash_of(node: Option<&NodeDigest>) -> Hash {
    node.map_or(Hash::EMPTY, |node| node.hash)
}

fn count_of(node: Option<&NodeDigest>) -> u64 {
    node.map_or(0, |node| node.count)
}

/// Joins adjacent spans with the same step.
fn merge(steps: Vec<(TimeSpan, Step)>) -> Vec<Step> {
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for (time, step) in steps {
        let joined = match (merged.last(), step) {
            (Some(Step::Ask(later)), Step::Ask(_)) => join(time, *later).map(Step::Ask),
            (Some(Step::Give(later)), Step::Give(_)) => join(time, *later).map(Step::Give),
            _ => None,
        };
        match (joined, merged.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => merged.push(step),
        }
    }
    merged
}

/// Joins two spans if they are adjacent.
fn join(earlier: TimeSpan, later: TimeSpan) -> Option<TimeSpan> {
    (earlier.last().next() == later.first()).then(|| earlier.hull(later))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, Timestamp};

    fn shape() -> Shape {
        Shape::new(&Parameters { granularity: 10, branching: 2, ..Parameters::default() })
    }

    fn node(index: u64, count: u64, hash: u8) -> NodeDigest {
        NodeDigest { index, count, hash: Hash::from_bytes([hash; 32]) }
    }

    fn digest(level: u8, nodes: &[NodeDigest]) -> Digest {
        Digest { rows: vec![Row { level, nodes: nodes.to_vec() }] }
    }

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn steps(mine: &Digest, theirs: &Digest) -> Vec<Step> {
        compare_digests(shape(), TimeSpan::ALL, mine, theirs)
    }

    #[test]
    fn what_is_equal_needs_nothing() {
        let both = digest(0, &[node(1, 5, 1), node(2, 6, 2)]);
        assert_eq!(steps(&both, &both), []);
    }

    #[test]
    fn what_one_side_lacks_moves_whole_and_neighbours_move_together() {
        let mine = digest(0, &[node(1, 5, 1), node(2, 6, 2), node(9, 1, 3)]);
        let nothing = Digest::default();
        assert_eq!(steps(&mine, &nothing), [Step::Give(span(90, 99)), Step::Give(span(10, 29))]);
        assert_eq!(steps(&nothing, &mine), [Step::Ask(span(90, 99)), Step::Ask(span(10, 29))]);
    }

    #[test]
    fn leaves_and_small_nodes_are_listed_and_large_ones_drilled() {
        let mine = |count| digest(2, &[node(3, count, 1)]);
        let theirs = digest(2, &[node(3, 1_000, 2)]);
        assert_eq!(steps(&mine(LIST_INSTEAD), &theirs), [Step::List(span(120, 159))]);
        assert_eq!(
            steps(&mine(LIST_INSTEAD + 1), &theirs),
            [Step::Drill(NodePosition { level: 2, index: 3 })]
        );
        let leaf = |hash| digest(0, &[node(3, 1_000_000, hash)]);
        assert_eq!(steps(&leaf(1), &leaf(2)), [Step::List(span(30, 39))]);
    }

    #[test]
    fn an_equal_count_is_no_equality() {
        let with = |hash| digest(0, &[node(3, 7, hash)]);
        assert_eq!(steps(&with(1), &with(2)), [Step::List(span(30, 39))]);
    }

    #[test]
    fn nothing_is_done_about_what_lies_outside_the_span() {
        let (mine, theirs) = (digest(0, &[node(3, 7, 1)]), digest(0, &[node(4, 7, 1)]));
        let until = span(0, 34);
        assert_eq!(compare_digests(shape(), until, &mine, &theirs), [Step::Give(span(30, 34))]);
    }

    #[test]
    fn a_row_that_is_full_says_nothing_of_what_lies_before_it() {
        let nodes =
            |first: u64| (first..).take(DIGEST_NODES).map(|index| node(index, 1, 1)).collect::<Vec<_>>();
        let (mine, theirs) = (digest(4, &nodes(0)), digest(4, &nodes(5)));
        let wide = shape().span(4);
        // Nodes that only one side shows above the common part differ; below it the other side is unknown.
        assert_eq!(steps(&mine, &theirs), [Step::Ask(span(1_024 * wide, 1_029 * wide - 1))]);
        // If all known nodes are equal, and the roots are not, the rest is listed.
        assert_eq!(steps(&theirs, &theirs), [Step::List(span(0, 5 * wide - 1))]);
    }

    #[test]
    fn children_are_placed_below_their_parents() {
        let parents = [Parent { node: NodePosition { level: 1, index: 5 }, children: vec![node(1, 1, 9)] }];
        let steps = compare_children(shape(), TimeSpan::ALL, &[vec![node(0, 1, 8)]], &parents);
        assert_eq!(steps, [Step::Ask(span(110, 119)), Step::Give(span(100, 109))]);
    }

    #[test]
    fn blocks_that_differ_are_counted_wherever_they_are_missing() {
        let digest = |nodes: &[(u64, u8)]| {
            let nodes = nodes.iter().map(|(index, hash)| node(*index, 1, *hash)).collect();
            Digest { rows: vec![Row { level: 0, nodes }] }
        };
        let (mine, theirs) = (digest(&[(1, 1), (2, 2), (3, 3)]), digest(&[(2, 2), (3, 9), (5, 5)]));
        let blocks = differing_blocks(shape(), &mine, &theirs);
        let begins: Vec<_> = blocks.differing.iter().map(|span| span.first().as_millis()).collect();
        assert_eq!((blocks.all, begins, blocks.apart), (4, vec![10, 30, 50], 1 + 1 + 1));
        assert_eq!(differing_blocks(shape(), &mine, &mine), Blocks { all: 3, ..Blocks::default() });
    }
}
