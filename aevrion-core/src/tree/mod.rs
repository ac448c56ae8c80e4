//! The temporal Merkle tree: what two replicas compare to know whether they hold the same events.
//!
//! ```text
//! leaf_id    = timestamp / G                    index at level n = leaf_id / Bⁿ
//! leaf hash  = BLAKE3(ids sorted as bytes, concatenated)
//! inner hash = BLAKE3(the B child hashes in order, an absent child = 32 zero bytes)
//! root       = BLAKE3(u64 index ‖ hash, for every non-empty node of the top level, ascending)
//! ```
//!
//! A node's place follows from time alone and its hash from the events below alone, so the same set of events gives
//! the same tree, whatever the order in which they came. The top level is open-ended: the tree never has to be made
//! taller.
//!
//! Hashing is lazy. Node hashes stand in a table; a commit removes, with the events it brings, the hashes that they
//! make stale; a `TreePass` computes what is missing when someone asks. Always true: *a stored hash is a valid hash*.
//! Counts of events travel with the hashes; they guide, but never decide equality.

mod hash;
mod leaf;
mod pass;
mod root;
mod shape;
mod top_row;

use crate::Hash;

pub(crate) use pass::{NodeSink, TreePass};
pub use shape::{LEVELS, NodeAddress, Shape};
pub(crate) use top_row::TopRow;

/// What a node says of the events below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// How many there are.
    pub count: u64,
    /// Which they are.
    pub hash: Hash,
}

/// What a whole tree says of all its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// How many events there are.
    pub count: u64,
    /// Which they are; [`Hash::EMPTY`] for none.
    pub hash: Hash,
}
