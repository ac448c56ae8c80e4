//! The positions of tree nodes: pure arithmetic on time.

use std::fmt;
use std::ops::RangeInclusive;

use crate::{Parameters, TimeSpan, Timestamp};

/// Levels of the tree: leaves are level 0, the open-ended top is level 4.
pub const LEVELS: u8 = 5;

/// The position of a tree node: its level, and its index within the level, counted from the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct NodePosition {
    /// 0 for a leaf, up to [`LEVELS`] - 1.
    pub level: u8,
    /// Counted from the epoch.
    pub index: u64,
}

impl fmt::Display for NodePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {} index {}", self.level, self.index)
    }
}

/// The division of time into tree nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    granularity: u64,
    branching: u64,
}

impl Shape {
    /// The top level, whose number of nodes grows with time.
    pub const TOP: u8 = LEVELS - 1;

    /// The shape for the parameters of a cluster.
    pub fn new(parameters: &Parameters) -> Self {
        Self { granularity: parameters.granularity, branching: u64::from(parameters.branching) }
    }

    /// Children of an inner node (B).
    pub fn branching(self) -> u64 {
        self.branching
    }

    /// Milliseconds covered by a node of `level`.
    pub fn span(self, level: u8) -> u64 {
        // At most 86,400,000 · 256⁴: the ranges of `Parameters` keep it within a u64.
        self.granularity * self.branching.pow(u32::from(level))
    }

    /// The node of `level` that holds events at `timestamp`.
    pub fn node_at(self, level: u8, timestamp: Timestamp) -> NodePosition {
        NodePosition { level, index: timestamp.as_millis() / self.span(level) }
    }

    /// The nodes above an event at `timestamp`, from its leaf to the top.
    pub fn path(self, timestamp: Timestamp) -> impl Iterator<Item = NodePosition> {
        (0..LEVELS).map(move |level| self.node_at(level, timestamp))
    }

    /// The first moment of a node.
    pub fn first(self, node: NodePosition) -> Timestamp {
        Timestamp::from_millis(node.index.saturating_mul(self.span(node.level)))
    }

    /// The last moment of a node (included).
    pub fn last(self, node: NodePosition) -> Timestamp {
        Timestamp::from_millis(self.first(node).as_millis().saturating_add(self.span(node.level) - 1))
    }

    /// The indexes, one level down, of the children of an inner node.
    pub fn children(self, node: NodePosition) -> RangeInclusive<u64> {
        let first = node.index.saturating_mul(self.branching);
        first..=first.saturating_add(self.branching - 1)
    }

    /// The time covered by a node.
    pub fn time_of(self, node: NodePosition) -> TimeSpan {
        TimeSpan::new(self.first(node), self.last(node)).unwrap_or(TimeSpan::ALL)
    }

    /// The node one level up; `None` above the top.
    pub fn parent(self, node: NodePosition) -> Option<NodePosition> {
        let level = node.level + 1;
        (level < LEVELS).then(|| NodePosition { level, index: node.index / self.branching })
    }

    /// The rows of nodes that together cover `span`: as few and as large nodes as possible, runs of siblings from the
    /// edges of the span upwards. Only the leaves at the edges may reach beyond it. The resolution falls with the
    /// distance from the edges, as on a map with near streets and far cities.
    pub fn cover(self, span: TimeSpan) -> Vec<(u8, RangeInclusive<u64>)> {
        let mut rows = Vec::new();
        let mut low = self.node_at(0, span.first()).index;
        let mut high = self.node_at(0, span.last()).index;
        for level in 0..Self::TOP {
            let above = |index: u64| index / self.branching;
            if above(low) == above(high) {
                rows.push((level, low..=high));
                return rows;
            }
            // A block covered to its end, or from its beginning, is one node further up.
            let (mut next_low, mut next_high) = (above(low), above(high));
            if !low.is_multiple_of(self.branching)
                || (level == 0 && self.first(NodePosition { level, index: low }) < span.first())
            {
                rows.push((level, low..=next_low * self.branching + (self.branching - 1)));
                next_low += 1;
            }
            if high % self.branching != self.branching - 1
                || (level == 0 && self.last(NodePosition { level, index: high }) > span.last())
            {
                rows.push((level, next_high * self.branching..=high));
                // The row above ends before this block, and may be empty.
                if next_high == 0 || next_high - 1 < next_low {
                    return rows;
                }
                next_high -= 1;
            }
            if next_low > next_high {
                return rows;
            }
            (low, high) = (next_low, next_high);
        }
        rows.push((Self::TOP, low..=high));
        rows
    }

    /// The indexes of a level, up to the end of time.
    pub fn indexes(self, level: u8) -> RangeInclusive<u64> {
        0..=self.node_at(level, Timestamp::MAX).index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_shape() -> impl Strategy<Value = Shape> {
        (1..=86_400_000_u64, 2..=256_u32).prop_map(|(granularity, branching)| {
            Shape::new(&Parameters { granularity, branching, ..Parameters::default() })
        })
    }

    proptest! {
        #[test]
        fn a_moment_lies_in_every_node_of_its_path(shape in any_shape(), ms: u64) {
            let moment = Timestamp::from_millis(ms);
            let path: Vec<_> = shape.path(moment).collect();
            for node in &path {
                prop_assert!(shape.first(*node) <= moment && moment <= shape.last(*node));
                prop_assert!(shape.indexes(node.level).contains(&node.index));
            }
            for pair in path.windows(2) {
                prop_assert!(shape.children(pair[1]).contains(&pair[0].index));
            }
        }

        #[test]
        fn neighbours_meet_without_gap_or_overlap(shape in any_shape(), level in 0..LEVELS, ms: u64) {
            let node = shape.node_at(level, Timestamp::from_millis(ms));
            if shape.last(node) < Timestamp::MAX {
                let next = NodePosition { index: node.index + 1, ..node };
                prop_assert_eq!(shape.last(node).next(), shape.first(next));
            }
        }
    }

    fn cover_of(shape: Shape, first: u64, last: u64) -> Vec<(u8, RangeInclusive<u64>)> {
        let span = TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last));
        shape.cover(span.unwrap())
    }

    proptest! {
        #[test]
        fn a_cover_is_the_span_without_gap_or_overlap(
            shape in (1..=1_000_u64, 2..=64_u32).prop_map(|(granularity, branching)| {
                Shape::new(&Parameters { granularity, branching, ..Parameters::default() })
            }),
            ends in (any::<u64>(), any::<u64>()), shift in 0..64_u32,
        ) {
            let (first, last) = (ends.0.min(ends.1) >> shift, ends.0.max(ends.1) >> shift);
            let mut parts: Vec<_> = cover_of(shape, first, last)
                .into_iter()
                .map(|(level, row)| {
                    let edge = |index| NodePosition { level, index };
                    prop_assert!(row.start() <= row.end());
                    let most = if level == Shape::TOP { u64::MAX } else { shape.branching() };
                    prop_assert!(row.end() - row.start() < most);
                    Ok((shape.first(edge(*row.start())), shape.last(edge(*row.end())), level))
                })
                .collect::<Result<_, _>>()?;
            parts.sort_unstable();
            let (covered_first, covered_last) = (parts[0].0, parts[parts.len() - 1].1);
            prop_assert_eq!(covered_first, shape.first(shape.node_at(0, Timestamp::from_millis(first))).min(covered_first));
            prop_assert!(covered_first <= Timestamp::from_millis(first));
            prop_assert!(covered_last >= Timestamp::from_millis(last));
            prop_assert!(parts[0].2 == 0 || covered_first == Timestamp::from_millis(first));
            prop_assert!(parts[parts.len() - 1].2 == 0 || covered_last == Timestamp::from_millis(last));
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].1.next(), pair[1].0);
            }
        }
    }

    #[test]
    fn the_past_is_covered_by_a_map_of_at_most_a_hundred_and_sixty_nodes() {
        let shape = Shape::new(&Parameters::default());
        let nodes = |ms: u64| -> u64 {
            cover_of(shape, 0, ms - 1).into_iter().map(|(_, row)| row.end() - row.start() + 1).sum()
        };
        let level_spans = 62_914_560_000_u64; // one node of the top level, 1.99 years
        // The last moment before a top node begins has the longest cover of those two years.
        for top in 1..=65 {
            let fullest = nodes(top * level_spans - 1);
            assert!(fullest <= 4 * 31 + 1 + top, "{fullest} nodes in the top node {top}");
            assert!(fullest <= 160 || top > 32, "before 2033 there are at most 160 nodes, not {fullest}");
        }
    }

    #[test]
    fn the_levels_of_the_default_shape() {
        let shape = Shape::new(&Parameters::default());
        let hours = |level| shape.span(level) / 60_000;
        assert_eq!([hours(0), hours(1), hours(2), hours(3), hours(4)], [1, 32, 1_024, 32_768, 1_048_576]);
    }
}
