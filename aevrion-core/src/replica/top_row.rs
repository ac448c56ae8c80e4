//! The top row of the tree in memory, and its nodes that were written to since the last walk. A walk reads those again.
//! Only the writer knows them, so it names them with the leave to walk.

use std::collections::BTreeSet;

use crate::bounds::TOUCHED_TOP_NODES;
use crate::tree::{NodePosition, Shape, TopRow};

/// The top row of the tree, and how far it has followed what was written.
pub(super) struct KeptTop {
    pub(super) row: TopRow,
    /// The number of the last walk whose beginning was heard of.
    pub(super) walk: u64,
}

impl Default for KeptTop {
    fn default() -> Self {
        Self { row: TopRow::unknown(), walk: 0 }
    }
}

/// Indexes in the top row; `None` if any of its nodes may have been written to.
pub(super) type Touched = Option<BTreeSet<u64>>;

/// What was written to since the last walks.
pub(super) struct TouchedTop {
    /// The number of the last walk.
    walk: u64,
    /// What was written to before the last walk and not known to the one before: whoever asked for it may be gone.
    handed: Touched,
    /// What was written to since.
    since: Touched,
}

impl Default for TouchedTop {
    fn default() -> Self {
        Self { walk: 0, handed: Some(BTreeSet::new()), since: Some(BTreeSet::new()) }
    }
}

impl TouchedTop {
    /// The nodes above new events, and others.
    pub(super) fn touch(&mut self, nodes: &BTreeSet<NodePosition>) {
        let top = nodes.range(NodePosition { level: Shape::TOP, index: 0 }..);
        if let Some(since) = &mut self.since {
            since.extend(top.map(|node| node.index));
        }
        bound(&mut self.since);
    }

    /// Anything may have been written.
    pub(super) fn forget(&mut self) {
        self.since = None;
    }

    /// The number of a walk that begins now, and what was written to since the walk `known`, which was the last that
    /// its caller has heard of.
    pub(super) fn begin_walk(&mut self, known: u64) -> (u64, Touched) {
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
