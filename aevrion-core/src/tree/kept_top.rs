//! The top row that all walks share, and the nodes touched while they are under way.
//!
//! Walks go on side by side, each in its own view. A walk reads and hashes without any lock, and holds the row only to
//! enter what it found and to take its answer out. The row serves a walk of any age: an index touched since the walk
//! began is entered as of the walk, and is stale again for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::top_row::{Found, TopRow};
use super::{NodePosition, Shape};
use crate::bounds::{TOUCHED_DURING_PASS, TOUCHED_TOP_NODES};

/// The shared row. The writer numbers the walks, and tells what its commits touch before it shows them.
pub(crate) struct KeptTop {
    row: tokio::sync::Mutex<TopRow>,
    touched: Mutex<Touched>,
}

#[derive(Default)]
struct Touched {
    /// The number of the last walk.
    walk: u64,
    under_way: bool,
    /// The last walk that does not know what was touched since it began.
    void: u64,
    /// The nodes touched while walks were under way: the number of the last walk that had begun by then.
    after: BTreeMap<NodePosition, u64>,
    /// The indexes of the top row touched since the row was told; `None` if all may be.
    untold: Option<BTreeSet<u64>>,
}

impl Default for KeptTop {
    fn default() -> Self {
        Self { row: tokio::sync::Mutex::new(TopRow::unknown()), touched: Mutex::default() }
    }
}

impl KeptTop {
    /// The number of a walk that begins now.
    pub(crate) fn begin_walk(&self) -> u64 {
        let mut touched = self.touched();
        touched.under_way = true;
        touched.walk += 1;
        touched.walk
    }

    /// Notes that no walk is under way.
    pub(crate) fn rest(&self) {
        let mut touched = self.touched();
        touched.under_way = false;
        let after = std::mem::take(&mut touched.after);
        // Dropping many takes long.
        drop(touched);
        drop(after);
    }

    /// Notes nodes touched by a commit. Returns whether the walks under way still know what was touched; if not, they are
    /// as good as over.
    pub(crate) fn touch(&self, nodes: &BTreeSet<NodePosition>) -> bool {
        let mut touched = self.touched();
        if let Some(untold) = &mut touched.untold {
            untold.extend(nodes.range(top(0)..).map(|node| node.index));
        }
        touched.untold.take_if(|untold| untold.len() > TOUCHED_TOP_NODES);
        let walk = touched.walk;
        if touched.under_way {
            touched.after.extend(nodes.iter().map(|node| (*node, walk)));
        }
        let too_many = touched.after.len() > TOUCHED_DURING_PASS;
        if too_many {
            touched.void = walk;
        }
        !too_many
    }

    /// Forgets all after a change that is not known node by node, and what the walks under way will find.
    pub(crate) fn forget(&self) {
        let mut touched = self.touched();
        touched.void = touched.walk;
        touched.untold = None;
    }

    /// Whether it is known what was touched since a walk began.
    pub(crate) fn knows(&self, walk: u64) -> bool {
        walk > self.touched().void
    }

    /// Whether a node is known to be as it was when a walk began.
    pub(crate) fn is_current(&self, walk: u64, node: NodePosition) -> bool {
        let touched = self.touched();
        walk > touched.void && touched.after.get(&node).is_none_or(|after| *after < walk)
    }

    /// The row for a walk.
    pub(crate) fn of_walk(&self, walk: u64) -> TopOfWalk<'_> {
        TopOfWalk { top: self, walk }
    }

    /// A row of at most so many nodes.
    #[cfg(test)]
    pub(super) fn of_at_most(nodes: usize) -> Self {
        Self { row: tokio::sync::Mutex::new(TopRow::of_at_most(nodes)), ..Self::default() }
    }

    #[cfg(test)]
    pub(super) async fn is_kept(&self) -> bool {
        self.row.lock().await.is_kept()
    }

    fn touched(&self) -> MutexGuard<'_, Touched> {
        // A panic leaves no entry half written.
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Touched {
    /// The indexes of the top row touched since a walk began; `None` if they are not known.
    fn since(&self, walk: u64, indexes: &RangeInclusive<u64>) -> Option<BTreeSet<u64>> {
        if walk <= self.void {
            return None;
        }
        let mut since = BTreeSet::new();
        let nodes = self.after.range(top(*indexes.start())..=top(*indexes.end()));
        for (seen, (node, after)) in nodes.enumerate() {
            if seen == TOUCHED_TOP_NODES {
                return None;
            }
            if *after >= walk {
                since.insert(node.index);
            }
        }
        Some(since)
    }
}

fn top(index: u64) -> NodePosition {
    NodePosition { level: Shape::TOP, index }
}

/// The shared row, as one walk uses it.
#[derive(Clone, Copy)]
pub(crate) struct TopOfWalk<'t> {
    top: &'t KeptTop,
    walk: u64,
}

impl TopOfWalk<'_> {
    /// The answer of `read` about `indexes`, once the row has all of their nodes: those that it keeps, and those that
    /// the walk has `found`, ascending. They are entered.
    pub(super) async fn read<T>(
        self,
        indexes: &RangeInclusive<u64>,
        found: &[Found],
        read: impl FnOnce(&mut TopRow) -> T,
    ) -> Reading<T> {
        let mut row = self.top.row.lock().await;
        // No await from here on: the row is as others expect it whenever it is not locked.
        let Some(since) = self.tell(&mut row, indexes) else { return Reading::Alone };
        let lacking = row.lacking(indexes, &since, found);
        if !lacking.is_empty() {
            return Reading::Lacks(lacking);
        }
        row.take(found);
        let answer = row.is_kept().then(|| read(&mut row));
        since.into_iter().for_each(|index| row.touch(index..=index));
        answer.map_or(Reading::Alone, Reading::Done)
    }

    /// Enters nodes `found` by the walk, ascending.
    pub(super) async fn enter(self, found: &[Found]) {
        let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) else { return };
        let mut row = self.top.row.lock().await;
        let Some(since) = self.tell(&mut row, &(*first.start()..=*last.end())) else { return };
        row.take(found);
        since.into_iter().for_each(|index| row.touch(index..=index));
    }

    /// Tells the row what was touched. Returns the `indexes` touched since the walk began; `None` if the walk has no use
    /// for the row.
    fn tell(self, row: &mut TopRow, indexes: &RangeInclusive<u64>) -> Option<BTreeSet<u64>> {
        let (untold, since) = {
            let mut touched = self.top.touched();
            (touched.untold.replace(BTreeSet::new()), touched.since(self.walk, indexes))
        };
        match untold {
            Some(untold) => untold.into_iter().for_each(|index| row.touch(index..=index)),
            None => row.forget(),
        }
        since.filter(|_| row.is_kept())
    }
}

/// The outcome of [`TopOfWalk::read`].
pub(super) enum Reading<T> {
    Done(T),
    /// The walk has to find the nodes of these indexes first.
    Lacks(Vec<RangeInclusive<u64>>),
    /// The row is not kept, or too much was touched: the walk reads the store instead.
    Alone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;
    use crate::tree::Node;

    fn nodes(indexes: &[u64]) -> BTreeSet<NodePosition> {
        indexes.iter().map(|index| top(*index)).chain([NodePosition { level: 0, index: 99 }]).collect()
    }

    const ALL: RangeInclusive<u64> = 0..=9;

    fn node(count: u64) -> Node {
        Node { count, hash: Hash::from_bytes([7; 32]) }
    }

    /// Asks for all, finds what is lacking in `present`, and returns the indexes found and the count of the root.
    async fn count(top: &KeptTop, walk: u64, present: &[(u64, Node)]) -> Option<(Vec<u64>, u64)> {
        let top = top.of_walk(walk);
        let mut found: Vec<Found> = Vec::new();
        loop {
            match top.read(&ALL, &found, |row| row.root(None, Some(ALL), None).count).await {
                Reading::Done(count) => {
                    let found = found.iter().flat_map(|(_, nodes)| nodes.iter().map(|(index, _)| *index));
                    return Some((found.collect(), count));
                }
                Reading::Alone => return None,
                Reading::Lacks(lacking) => found.extend(lacking.into_iter().map(|indexes| {
                    let inside = present.iter().filter(|(index, _)| indexes.contains(index));
                    let inside = inside.copied().collect();
                    (indexes, inside)
                })),
            }
        }
    }

    #[tokio::test]
    async fn each_walk_finds_what_was_touched_since_the_one_before() {
        let top = KeptTop::default();
        let (first, later) = ([(3, node(1)), (5, node(1))], [(3, node(1)), (5, node(10))]);
        let walk = top.begin_walk();
        assert_eq!(count(&top, walk, &first).await, Some((vec![3, 5], 2)));
        assert!(top.touch(&nodes(&[5])));
        assert_eq!(count(&top, top.begin_walk(), &later).await, Some((vec![5], 11)));
        assert_eq!(count(&top, top.begin_walk(), &later).await, Some((vec![], 11)));
    }

    #[tokio::test]
    async fn an_overtaken_walk_sees_its_own_state_and_leaves_none_of_it() {
        let top = KeptTop::default();
        let (old, new) = ([(3, node(1)), (5, node(1))], [(3, node(1)), (5, node(10))]);
        let slow = top.begin_walk();
        assert!(top.touch(&nodes(&[5])));
        assert_eq!(count(&top, top.begin_walk(), &new).await, Some((vec![3, 5], 11)));
        assert_eq!(count(&top, slow, &old).await, Some((vec![5], 2)));
        assert_eq!(count(&top, top.begin_walk(), &new).await, Some((vec![5], 11)));
        let found = [(5..=5, vec![(5, node(1))])];
        top.of_walk(slow).enter(&found).await;
        assert_eq!(count(&top, top.begin_walk(), &new).await, Some((vec![5], 11)));
    }

    #[test]
    fn what_was_touched_since_is_not_current() {
        let top = KeptTop::default();
        let slow = top.begin_walk();
        assert!(top.touch(&nodes(&[5])));
        let quick = top.begin_walk();
        let current = |walk| [3, 5].map(|index| top.is_current(walk, super::top(index)));
        assert_eq!([current(slow), current(quick)], [[true, false], [true, true]]);
        top.forget();
        assert_eq!([slow, quick, top.begin_walk()].map(current), [[false; 2], [false; 2], [true; 2]]);
    }

    #[tokio::test]
    async fn after_a_change_that_is_not_known_walks_under_way_are_alone_and_all_is_read_again() {
        let top = KeptTop::default();
        let present = [(3, node(1))];
        let walk = top.begin_walk();
        assert_eq!(count(&top, walk, &present).await, Some((vec![3], 1)));
        top.forget();
        assert_eq!(count(&top, walk, &present).await, None);
        assert_eq!(count(&top, top.begin_walk(), &present).await, Some((vec![3], 1)));
    }

    #[tokio::test]
    async fn too_many_are_all() {
        let top = KeptTop::default();
        let present = [(3, node(1))];
        let walk = top.begin_walk();
        assert_eq!(count(&top, walk, &present).await, Some((vec![3], 1)));
        let many: Vec<u64> = (10..=TOUCHED_TOP_NODES as u64 + 10).collect();
        assert!(top.touch(&nodes(&many)));
        assert_eq!(count(&top, walk, &present).await, Some((vec![3], 1)), "they lie elsewhere");
        let everything = top.of_walk(walk).read(&(0..=u64::MAX), &[], |_| ()).await;
        assert!(matches!(everything, Reading::Alone));
    }
}
