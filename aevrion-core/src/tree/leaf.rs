//! Sorting the ids of a leaf in bounded memory.
//!
//! Events are stored in order of time, a leaf is hashed in order of ids. A leaf that fits in memory is collected and
//! sorted; a fuller one is walked several times, each time for the smallest ids not hashed yet. Sorting cannot yield to
//! other tasks: a long one runs on a blocking thread.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::hash::LeafHasher;
use crate::bounds::{LARGE_LEAF, LARGE_LEAVES_AT_ONCE};
use crate::store::{StoreError, in_one_piece};
use crate::{EventId, Hash};

/// Ids that cost as much to sort and hash as one row to read.
const SORTED_TO_A_ROW: usize = 16;

/// Room for the ids of large leaves, for all walks of the process. Only a walk of another large leaf waits for it.
static ROOM: Semaphore = Semaphore::const_new(LARGE_LEAVES_AT_ONCE);

/// The ids of one leaf, collected for its hash.
pub(super) struct LeafIds {
    /// Ids up to this one are hashed already.
    hashed_to: Option<EventId>,
    ids: Vec<EventId>,
    /// Whether ids greater than all in `ids` were dropped and need another walk.
    dropped: bool,
    hasher: LeafHasher,
    at_once: usize,
    /// Taken by a large leaf.
    room: Option<SemaphorePermit<'static>>,
}

impl LeafIds {
    /// The ids of a leaf not walked yet, with up to twice `at_once` ids in memory.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            hashed_to: None,
            ids: Vec::new(),
            dropped: false,
            hasher: LeafHasher::default(),
            at_once,
            room: None,
        }
    }

    /// Takes an id of the walk.
    ///
    /// # Errors
    /// [`StoreError`] if the runtime gives no thread to sort on.
    pub(super) async fn push(&mut self, id: EventId) -> Result<(), StoreError> {
        if self.hashed_to.is_some_and(|hashed| id <= hashed) {
            return Ok(());
        }
        if self.ids.len() == LARGE_LEAF {
            if self.room.is_none() {
                self.room = ROOM.acquire().await.ok();
            }
            // At once: to grow step by step would move millions of bytes in one go.
            self.ids.reserve_exact((self.at_once * 2).saturating_sub(self.ids.len()));
        }
        self.ids.push(id);
        if self.ids.len() >= self.at_once * 2 { self.keep_smallest().await } else { Ok(()) }
    }

    /// The hash, at the end of a walk over the whole leaf; `None` if a further walk is needed.
    ///
    /// # Errors
    /// As [`LeafIds::push`].
    pub(super) async fn end_of_walk(&mut self) -> Result<Option<Hash>, StoreError> {
        if self.dropped && self.ids.len() > self.at_once {
            self.keep_smallest().await?;
        }
        let mut ids = std::mem::take(&mut self.ids);
        let mut hasher = std::mem::take(&mut self.hasher);
        let last;
        (last, self.hasher) = in_one_piece(ids.len() / SORTED_TO_A_ROW, move || {
            ids.sort_unstable();
            hasher.update(&ids);
            // To free so many takes milliseconds, too.
            (ids.last().copied(), hasher)
        })
        .await?;
        self.hashed_to = last.or(self.hashed_to);
        let again = std::mem::take(&mut self.dropped);
        Ok((!again).then(|| self.hasher.finish()))
    }

    async fn keep_smallest(&mut self) -> Result<(), StoreError> {
        let mut ids = std::mem::take(&mut self.ids);
        let at_once = self.at_once;
        self.ids = in_one_piece(ids.len() / SORTED_TO_A_ROW, move || {
            ids.select_nth_unstable(at_once);
            ids.truncate(at_once);
            ids
        })
        .await?;
        self.dropped = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::QUANTUM;

    async fn hash_in_walks(ids: &[EventId], at_once: usize) -> (Hash, usize) {
        let mut leaf = LeafIds::new(at_once);
        for walk in 1.. {
            for id in ids {
                leaf.push(*id).await.unwrap();
            }
            assert!(leaf.ids.len() <= at_once * 2);
            if let Some(hash) = leaf.end_of_walk().await.unwrap() {
                return (hash, walk);
            }
        }
        unreachable!("the walks end")
    }

    fn id(number: u32) -> EventId {
        blake3::hash(&number.to_be_bytes()).into()
    }

    fn hash_of_sorted(mut ids: Vec<EventId>) -> Hash {
        ids.sort_unstable();
        blake3::hash(&ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<_>>()).into()
    }

    #[tokio::test]
    async fn a_leaf_sorted_elsewhere_has_the_same_hash() {
        let in_place = QUANTUM * SORTED_TO_A_ROW;
        let ids: Vec<_> = (0..u32::try_from(in_place * 3).unwrap()).map(id).collect();
        let expected = hash_of_sorted(ids.clone());
        assert_eq!(hash_in_walks(&ids, in_place * 3).await, (expected, 1));
        assert_eq!(hash_in_walks(&ids, in_place).await, (expected, 3));
    }

    proptest! {
        #[test]
        fn any_number_of_walks_gives_the_same_hash(
            numbers in prop::collection::btree_set(any::<u32>(), 1..200), at_once in 1..100_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let ids: Vec<EventId> = numbers.into_iter().map(id).collect();
            let (whole, walks) = runtime.block_on(hash_in_walks(&ids, 1_000));
            prop_assert_eq!(walks, 1);
            prop_assert_eq!(runtime.block_on(hash_in_walks(&ids, at_once)).0, whole);
            prop_assert_eq!(whole, hash_of_sorted(ids));
        }
    }
}
