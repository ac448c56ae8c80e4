//! Where things stand in the tree: pure arithmetic on time.

use std::fmt;
use std::ops::RangeInclusive;

use crate::{Parameters, Timestamp};

/// Levels of the tree: leaves are level 0, the open-ended top is level 4.
pub const LEVELS: u8 = 5;

/// The place of a node: its level, and its index within the level counted from the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// 0 for a leaf, up to [`LEVELS`] - 1.
    pub level: u8,
    /// Counted from the epoch.
    pub index: u64,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {} index {}", self.level, self.index)
    }
}

/// How time is divided into nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    granularity: u64,
    branching: u64,
}

impl Shape {
    /// The top level, which has as many nodes as there is time.
    pub const TOP: u8 = LEVELS - 1;

    /// The shape that the parameters of a cluster give.
    pub fn new(parameters: &Parameters) -> Self {
        Self { granularity: parameters.granularity, branching: u64::from(parameters.branching) }
    }

    /// Children of an inner node (B).
    pub fn branching(self) -> u64 {
        self.branching
    }

    /// Milliseconds that a node of `level` covers.
    pub fn span(self, level: u8) -> u64 {
        // At most 86,400,000 · 256⁴: the ranges of `Parameters` keep it within a u64.
        self.granularity * self.branching.pow(u32::from(level))
    }

    /// The node of `level` in which an event at `timestamp` lies.
    pub fn node_at(self, level: u8, timestamp: Timestamp) -> NodeAddress {
        NodeAddress { level, index: timestamp.as_millis() / self.span(level) }
    }

    /// The nodes above an event at `timestamp`, from its leaf to the top.
    pub fn path(self, timestamp: Timestamp) -> impl Iterator<Item = NodeAddress> {
        (0..LEVELS).map(move |level| self.node_at(level, timestamp))
    }

    /// The first moment of a node.
    pub fn first(self, node: NodeAddress) -> Timestamp {
        Timestamp::from_millis(node.index.saturating_mul(self.span(node.level)))
    }

    /// The last moment of a node (included).
    pub fn last(self, node: NodeAddress) -> Timestamp {
        Timestamp::from_millis(self.first(node).as_millis().saturating_add(self.span(node.level) - 1))
    }

    /// The indexes, one level down, of the children of an inner node.
    pub fn children(self, node: NodeAddress) -> RangeInclusive<u64> {
        let first = node.index.saturating_mul(self.branching);
        first..=first.saturating_add(self.branching - 1)
    }

    /// The indexes of a level: up to where time ends.
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
                let next = NodeAddress { index: node.index + 1, ..node };
                prop_assert_eq!(shape.last(node).next(), shape.first(next));
            }
        }
    }

    #[test]
    fn the_levels_of_the_default_shape() {
        let shape = Shape::new(&Parameters::default());
        let hours = |level| shape.span(level) / 60_000;
        assert_eq!([hours(0), hours(1), hours(2), hours(3), hours(4)], [1, 32, 1_024, 32_768, 1_048_576]);
    }
}
