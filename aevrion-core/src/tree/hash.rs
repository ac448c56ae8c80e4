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

/// The hash of an inner node with `branching` places for children, of which `children` are taken: (slot, hash).
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

/// The hash of the whole tree, from the non-empty nodes of its top level in ascending order: (index, hash).
pub(crate) fn root_hash(top: impl IntoIterator<Item = (u64, Hash)>) -> Hash {
    let mut top = top.into_iter().peekable();
    if top.peek().is_none() {
        return Hash::EMPTY;
    }
    let mut hasher = blake3::Hasher::new();
    for (index, hash) in top {
        hasher.update(&index.to_be_bytes());
        hasher.update(hash.as_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hashes_to_zero() {
        assert_eq!(inner_hash(32, []), Hash::EMPTY);
        assert_eq!(root_hash([]), Hash::EMPTY);
    }

    #[test]
    fn place_matters() {
        let child = Hash::from_bytes([1; 32]);
        assert_ne!(inner_hash(32, [(0, child)]), inner_hash(32, [(1, child)]));
        assert_ne!(root_hash([(0, child)]), root_hash([(1, child)]));
    }
}
