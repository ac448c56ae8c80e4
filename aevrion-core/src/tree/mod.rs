//! The temporal Merkle tree: two replicas compare it to learn whether they hold the same events.
//!
//! ```text
//! leaf_id    = timestamp / G                    index at level n = leaf_id / Bⁿ
//! leaf hash  = BLAKE3(ids sorted as bytes, concatenated)
//! inner hash = BLAKE3(the B child hashes in order, an absent child = 32 zero bytes)
//! root       = BLAKE3(u64 index ‖ hash, for every non-empty node of the top level, ascending)
//! ```
//!
//! A node's position follows from time alone and its hash from the events below alone. So the same set of events gives
//! the same tree, in any order of arrival. The top level is open-ended: the tree never has to grow taller.
//!
//! Hashing is lazy. A table holds node hashes; a commit removes the hashes that its events make stale; a `TreePass`
//! computes missing hashes on demand. Invariant: *a stored hash is a valid hash*. Counts of events travel with the
//! hashes; they guide, but never decide equality.

mod hash;
mod kept_top;
mod leaf;
mod pass;
mod root;
mod shape;
mod top_row;

use crate::Hash;

pub(crate) use kept_top::{KeptTop, TopOfWalk};
pub(crate) use pass::{NodeSink, StoredSince, TreePass};
pub use shape::{LEVELS, NodePosition, Shape};

/// Count and hash of the events below a tree node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The number of events.
    pub count: u64,
    /// The hash of the events.
    pub hash: Hash,
}

/// Count and hash of all events of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The number of events.
    pub count: u64,
    /// The hash of the events; [`Hash::EMPTY`] for none.
    pub hash: Hash,
}

/// A node of a row, by its index.
type Indexed = (u64, Node);

/// Adds counts. Damaged counts may have any value.
fn add(count: u64, more: u64) -> u64 {
    count.saturating_add(more)
}
