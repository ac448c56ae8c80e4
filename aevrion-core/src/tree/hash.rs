//! The three hash rules of the tree.

use crate::{EventId, Hash};

/// The hash of a leaf, fed its ids in ascending order.
#[derive(Default)]
pub(super) struct LeafHasher(blake3::Hasher);

impl LeafHasher {
    pub(super) fn update(&mut self, ids: &[EventId]) {
        for id in ids {
            self.0.update(id.as_bytes());
        }
    }

    pub(super) fn finish(&self) -> Hash {
        self.0.finalize().into()
    }
}

/// The hash of an inner node with `branching` slots for children, with its `children` as (slot, hash).
pub(super) fn inner_hash(branching: u64, children: impl IntoIterator<Item = (u64, Hash)>) -> Hash {
    let mut children = children.into_iter().peekable();
    if children.peek().is_none() {
        return Hash::EMPTY;
    }
    let mut hasher = blake3::Hasher::new();
    for slot in 0..branching {
        let child = children.next_if(|(taken, _)| *taken == slot);
        hasher.update(child.map_or(Hash::EMPTY, |(_, hash)| hash).as_bytes());
    }
    hasher.finalize().into()
}

/// The hash of the whole tree, fed the non-empty nodes of its top level in ascending order.
pub(super) struct RootHasher(blake3::Hasher);

impl RootHasher {
    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    pub(super) fn update(&mut self, index: u64, hash: Hash) {
        self.0.update(&top_entry(index, hash));
    }

    pub(super) fn finish(&self) -> Hash {
        if self.0.count() == 0 { Hash::EMPTY } else { self.0.finalize().into() }
    }
}

/// Length of [`top_entry`].
pub(super) const TOP_ENTRY: usize = 40;

/// The input of the root hash for a top-level node: u64 index ‖ hash.
pub(super) fn top_entry(index: u64, hash: Hash) -> [u8; TOP_ENTRY] {
    let mut entry = [0; TOP_ENTRY];
    entry[..8].copy_from_slice(&index.to_be_bytes());
    entry[8..].copy_from_slice(hash.as_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hashes_to_zero() {
        assert_eq!(inner_hash(32, []), Hash::EMPTY);
        assert_eq!(RootHasher::new().finish(), Hash::EMPTY);
    }

    #[test]
    fn place_matters() {
        let child = Hash::from_bytes([1; 32]);
        assert_ne!(inner_hash(32, [(0, child)]), inner_hash(32, [(1, child)]));
        let root = |index| {
            let mut hasher = RootHasher::new();
            hasher.update(index, child);
            hasher.finish()
        };
        assert_ne!(root(0), root(1));
    }
}
