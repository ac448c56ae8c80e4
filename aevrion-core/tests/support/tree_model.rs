//! The tree of a set of events, straight from its definition.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use aevrion_core::{Hash, Root};

/// Events as times in milliseconds and ids.
pub(crate) type Events = BTreeSet<(u64, [u8; 32])>;

/// The root of no event.
pub(crate) const NOTHING: Root = Root { count: 0, hash: Hash::EMPTY };

/// The shape of a tree.
#[derive(Clone, Copy)]
pub(crate) struct TreeModel {
    pub(crate) granularity: u64,
    pub(crate) branching: u64,
}

impl TreeModel {
    /// The hashes of a level of the tree of the events in `span`, by index.
    pub(crate) fn level(
        self,
        events: &Events,
        span: RangeInclusive<u64>,
        level: u32,
    ) -> BTreeMap<u64, [u8; 32]> {
        let hash = |bytes: Vec<u8>| *blake3::hash(&bytes).as_bytes();
        if level == 0 {
            let mut leaves: BTreeMap<u64, BTreeSet<[u8; 32]>> = BTreeMap::new();
            for (ms, id) in within(events, span) {
                leaves.entry(ms / self.granularity).or_default().insert(*id);
            }
            let leaf =
                |(index, ids): (u64, BTreeSet<[u8; 32]>)| (index, hash(ids.into_iter().flatten().collect()));
            return leaves.into_iter().map(leaf).collect();
        }
        let below = self.level(events, span, level - 1);
        let parents: BTreeSet<u64> = below.keys().map(|index| index / self.branching).collect();
        let parent = |parent: u64| {
            let slots = (0..self.branching).map(|slot| parent * self.branching + slot);
            (parent, hash(slots.flat_map(|slot| below.get(&slot).copied().unwrap_or_default()).collect()))
        };
        parents.into_iter().map(parent).collect()
    }

    /// The root of the events in `span`.
    pub(crate) fn root(self, events: &Events, span: RangeInclusive<u64>) -> Root {
        let top = self.level(events, span.clone(), 4);
        if top.is_empty() {
            return NOTHING;
        }
        let row: Vec<u8> =
            top.into_iter().flat_map(|(index, hash)| [&index.to_be_bytes()[..], &hash].concat()).collect();
        Root { count: within(events, span).count() as u64, hash: blake3::hash(&row).into() }
    }
}

fn within(events: &Events, span: RangeInclusive<u64>) -> impl Iterator<Item = &(u64, [u8; 32])> {
    events.range((*span.start(), [0; 32])..=(*span.end(), [0xFF; 32]))
}
