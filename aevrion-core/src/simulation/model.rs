//! The meaning of a set of events, straight from the definitions and in the plainest way: the reference for replicas.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::sketch::{Cells, Locator, Mapping, SketchKey};
use crate::{Event, EventKey, Hash, Parameters, Root, Timestamp, Value};

/// A set of events.
pub(super) struct Model(BTreeMap<EventKey, Event>);

impl Model {
    pub(super) fn new(events: BTreeMap<EventKey, Event>) -> Self {
        Self(events)
    }

    pub(super) fn events(&self) -> &BTreeMap<EventKey, Event> {
        &self.0
    }

    pub(super) fn keys(&self) -> BTreeSet<Bytes> {
        self.0.values().map(|event| event.key().clone()).collect()
    }

    /// All versions of a key until a moment, the winner last.
    pub(super) fn versions(&self, key: &Bytes, until: Timestamp) -> Vec<Event> {
        self.0.values().filter(|event| event.key() == key && event.timestamp() <= until).cloned().collect()
    }

    /// The event that gives a key its value at a moment.
    pub(super) fn visible(&self, key: &Bytes, at: Timestamp) -> Option<Event> {
        self.versions(key, at).pop().filter(|event| match event.value() {
            Value::Deletion => false,
            Value::Data(_) => true,
            Value::Expiring { expires_at, .. } => at < *expires_at,
        })
    }

    /// The first `len` cells of a sketch of all events.
    pub(super) fn cells(
        &self,
        key: &SketchKey,
        parameters: &Parameters,
        mapping: Mapping,
        len: usize,
    ) -> Cells {
        let mut cells = Cells::new(mapping, len);
        for event_key in self.0.keys() {
            let leaf = event_key.timestamp.as_millis() / parameters.granularity;
            cells.insert(Locator::new(key, leaf, &event_key.id));
        }
        cells
    }

    /// The root of the tree over all events.
    pub(super) fn root(&self, parameters: &Parameters) -> Root {
        let mut leaves: BTreeMap<u64, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for event_key in self.0.keys() {
            let leaf = event_key.timestamp.as_millis() / parameters.granularity;
            leaves.entry(leaf).or_default().insert(*event_key.id.as_bytes());
        }
        let hash = |bytes: Vec<u8>| *blake3::hash(&bytes).as_bytes();
        let leaf_hash = |ids: BTreeSet<[u8; 32]>| hash(ids.into_iter().flatten().collect());
        let mut level: BTreeMap<u64, [u8; 32]> =
            leaves.into_iter().map(|(index, ids)| (index, leaf_hash(ids))).collect();
        let branching = u64::from(parameters.branching);
        for _ in 1..crate::tree::LEVELS {
            let parents: BTreeSet<u64> = level.keys().map(|index| index / branching).collect();
            let inner = |parent: u64| {
                let slots = parent * branching..(parent + 1) * branching;
                hash(slots.flat_map(|slot| level.get(&slot).copied().unwrap_or_default()).collect())
            };
            level = parents.into_iter().map(|parent| (parent, inner(parent))).collect();
        }
        let top = level.into_iter().flat_map(|(index, node)| [&index.to_be_bytes()[..], &node].concat());
        let hash =
            if self.0.is_empty() { Hash::EMPTY } else { blake3::hash(&top.collect::<Vec<_>>()).into() };
        Root { count: self.0.len() as u64, hash }
    }
}
