//! Sorting the ids of a leaf in bounded memory.
//!
//! Events stand in the order of their time, a leaf is hashed in the order of its ids. A leaf that fits in memory is
//! collected and sorted; a fuller one is walked several times, each time for the smallest ids not hashed yet.

use super::hash::LeafHasher;
use crate::{EventId, Hash};

/// The ids of one leaf, on their way to its hash.
pub(super) struct LeafIds {
    /// Ids up to this one are hashed already.
    hashed_to: Option<EventId>,
    ids: Vec<EventId>,
    /// Whether ids greater than all in `ids` were dropped, to be found by a further walk.
    dropped: bool,
    hasher: LeafHasher,
    at_once: usize,
}

impl LeafIds {
    /// Of a leaf not walked yet, keeping up to twice `at_once` ids in memory.
    pub(super) fn new(at_once: usize) -> Self {
        Self { hashed_to: None, ids: Vec::new(), dropped: false, hasher: LeafHasher::new(), at_once }
    }

    /// Takes an id that the walk came by.
    pub(super) fn push(&mut self, id: EventId) {
        if self.hashed_to.is_some_and(|hashed| id <= hashed) {
            return;
        }
        self.ids.push(id);
        if self.ids.len() >= self.at_once * 2 {
            self.keep_smallest();
        }
    }

    /// The hash, at the end of a walk over the whole leaf; `None` if a further walk is needed.
    pub(super) fn end_of_walk(&mut self) -> Option<Hash> {
        if self.dropped && self.ids.len() > self.at_once {
            self.keep_smallest();
        }
        self.ids.sort_unstable();
        self.hasher.update(&self.ids);
        self.hashed_to = self.ids.last().copied().or(self.hashed_to);
        self.ids.clear();
        let again = std::mem::take(&mut self.dropped);
        (!again).then(|| self.hasher.finish())
    }

    fn keep_smallest(&mut self) {
        self.ids.select_nth_unstable(self.at_once);
        self.ids.truncate(self.at_once);
        self.dropped = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash_in_walks(ids: &[EventId], at_once: usize) -> (Hash, usize) {
        let mut leaf = LeafIds::new(at_once);
        for walk in 1.. {
            ids.iter().for_each(|id| leaf.push(*id));
            assert!(leaf.ids.len() <= at_once * 2);
            if let Some(hash) = leaf.end_of_walk() {
                return (hash, walk);
            }
        }
        unreachable!("the walks end")
    }

    proptest! {
        #[test]
        fn any_number_of_walks_gives_the_same_hash(
            numbers in prop::collection::btree_set(any::<u32>(), 1..200), at_once in 1..100_usize,
        ) {
            let id = |number: u32| blake3::hash(&number.to_be_bytes()).into();
            let ids: Vec<EventId> = numbers.into_iter().map(id).collect();
            let (whole, walks) = hash_in_walks(&ids, 1_000);
            prop_assert_eq!(walks, 1);
            prop_assert_eq!(hash_in_walks(&ids, at_once).0, whole);
            let mut sorted = ids;
            sorted.sort_unstable();
            let plain = sorted.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<_>>();
            prop_assert_eq!(whole, blake3::hash(&plain).into());
        }
    }
}
