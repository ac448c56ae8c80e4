//! Where the tree nodes of two sides differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::TimeSpan;
use crate::bounds::DIGEST_NODES;
use crate::message::{Digest, NodeDigest, Parent, Row, ShortHash};
use crate::tree::{NodePosition, Shape};

/// The tree nodes of one side.
pub(super) type Digests = BTreeMap<NodePosition, NodeDigest>;

/// A tree node in which the two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    /// The node.
    pub(super) node: NodePosition,
    /// The part of its time that is compared.
    pub(super) span: TimeSpan,
    /// The number of this side's events.
    pub(super) ours: u64,
    /// The number of the other side's events.
    pub(super) theirs: u64,
}

impl Difference {
    /// Whether both sides hold events there.
    pub(super) fn is_shared(&self) -> bool {
        self.ours > 0 && self.theirs > 0
    }
}

/// The nodes of a digest.
pub(super) fn of_digest(digest: &Digest) -> Digests {
    let placed = |row: &Row| {
        let level = row.level;
        let place = move |node: &NodeDigest| (NodePosition { level, index: node.index }, *node);
        row.nodes.iter().map(place).collect::<Vec<_>>()
    };
    digest.rows.iter().flat_map(placed).collect()
}

/// The `children` of `parent`.
pub(super) fn below(shape: Shape, parent: NodePosition, children: &[NodeDigest]) -> Digests {
    let first = *shape.children(parent).start();
    let level = parent.level.saturating_sub(1);
    let place = |node: &NodeDigest| (NodePosition { level, index: first.saturating_add(node.index) }, *node);
    children.iter().map(place).collect()
}

/// The nodes that differ within `span`, latest first. Equal hashes with different counts differ: the stored data of one
/// side is wrong.
pub(super) fn differences(shape: Shape, span: TimeSpan, ours: &Digests, theirs: &Digests) -> Vec<Difference> {
    let places: BTreeSet<_> = ours.keys().chain(theirs.keys()).copied().collect();
    let mut differences: Vec<_> = places
        .into_iter()
        .filter_map(|node| {
            let (here, there) = (state(ours.get(&node)), state(theirs.get(&node)));
            // A node outside the span has no events that count.
            let span = shape.time_of(node).intersection(span)?;
            (here != there).then_some(Difference { node, span, ours: here.0, theirs: there.0 })
        })
        .collect();
    differences.sort_unstable_by_key(|difference| std::cmp::Reverse(difference.span));
    differences
}

fn state(node: Option<&NodeDigest>) -> (u64, ShortHash) {
    node.map_or((0, ShortHash::EMPTY), |node| (node.count, node.hash))
}

/// The part of `span` about which both digests say all, and the part before it. A row of the greatest length says
/// nothing of the time before its first node.
pub(super) fn known(
    shape: Shape,
    span: TimeSpan,
    ours: &Digest,
    theirs: &Digest,
) -> (TimeSpan, Option<TimeSpan>) {
    let full = ours.rows.iter().chain(&theirs.rows).filter(|row| row.nodes.len() >= DIGEST_NODES);
    let first =
        |row: &Row| row.nodes.first().map(|node| NodePosition { level: row.level, index: node.index });
    let from = full.filter_map(first).map(|node| shape.first(node)).max();
    let Some(from) = from.filter(|from| span.first() < *from) else { return (span, None) };
    let known = TimeSpan::new(from, span.last()).unwrap_or(span);
    (known, TimeSpan::new(span.first(), from.previous()))
}

/// Joins adjacent spans, given latest first.
pub(super) fn joined(spans: impl IntoIterator<Item = TimeSpan>) -> Vec<TimeSpan> {
    let mut joined: Vec<TimeSpan> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(later) if span.last().next() == later.first() => *later = span.hull(*later),
            _ => joined.push(span),
        }
    }
    joined
}

/// The parents of a question, with the nodes that the asker holds below them.
pub(super) fn below_all<'p>(shape: Shape, parents: impl IntoIterator<Item = &'p Parent>) -> Digests {
    parents.into_iter().flat_map(|parent| below(shape, parent.node, &parent.children)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, Timestamp};

    fn shape() -> Shape {
        Shape::new(&Parameters { granularity: 10, branching: 2, ..Parameters::default() })
    }

    fn node(index: u64, count: u64, hash: u8) -> NodeDigest {
        NodeDigest { index, count, hash: ShortHash([hash; 8]) }
    }

    fn digest(level: u8, nodes: &[NodeDigest]) -> Digest {
        Digest { rows: vec![Row { level, nodes: nodes.to_vec() }] }
    }

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn differences(within: TimeSpan, ours: &Digest, theirs: &Digest) -> Vec<(TimeSpan, u64, u64)> {
        let differences = super::differences(shape(), within, &of_digest(ours), &of_digest(theirs));
        differences.into_iter().map(|it| (it.span, it.ours, it.theirs)).collect()
    }

    #[test]
    fn what_is_equal_does_not_differ() {
        let both = digest(0, &[node(1, 5, 1), node(2, 6, 2)]);
        assert_eq!(differences(TimeSpan::ALL, &both, &both), []);
    }

    #[test]
    fn what_differs_is_found_latest_first_wherever_it_is_missing() {
        let ours = digest(0, &[node(1, 5, 1), node(2, 6, 2), node(9, 1, 3)]);
        let theirs = digest(0, &[node(2, 6, 3), node(4, 8, 1), node(9, 1, 3)]);
        let expected = [(span(40, 49), 0, 8), (span(20, 29), 6, 6), (span(10, 19), 5, 0)];
        assert_eq!(differences(TimeSpan::ALL, &ours, &theirs), expected);
    }

    #[test]
    fn equal_hashes_with_other_counts_differ() {
        let with = |count| digest(0, &[node(3, count, 1)]);
        assert_eq!(differences(TimeSpan::ALL, &with(7), &with(8)), [(span(30, 39), 7, 8)]);
    }

    #[test]
    fn what_lies_outside_the_span_does_not_count() {
        let (ours, theirs) = (digest(0, &[node(3, 7, 1)]), digest(0, &[node(4, 7, 1)]));
        assert_eq!(differences(span(0, 34), &ours, &theirs), [(span(30, 34), 7, 0)]);
    }

    #[test]
    fn a_row_that_is_full_says_nothing_of_what_lies_before_it() {
        let nodes =
            |first: u64| (first..).take(DIGEST_NODES).map(|index| node(index, 1, 1)).collect::<Vec<_>>();
        let (ours, theirs) = (digest(4, &nodes(0)), digest(4, &nodes(5)));
        let (known_to_both, before) = known(shape(), TimeSpan::ALL, &ours, &theirs);
        let wide = shape().span(4);
        assert_eq!(known_to_both.first().as_millis(), 5 * wide);
        assert_eq!(before, Some(span(0, 5 * wide - 1)));
        assert_eq!(known(shape(), TimeSpan::ALL, &ours, &ours), (TimeSpan::ALL, None), "all from the first");
    }

    #[test]
    fn children_are_placed_below_their_parents() {
        let nodes = below(shape(), NodePosition { level: 1, index: 5 }, &[node(1, 1, 9)]);
        assert_eq!(nodes.keys().collect::<Vec<_>>(), [&NodePosition { level: 0, index: 11 }]);
    }

    #[test]
    fn adjacent_spans_are_one() {
        let spans = joined([span(40, 49), span(20, 29), span(10, 19)]);
        assert_eq!(spans, [span(40, 49), span(10, 29)]);
    }
}
