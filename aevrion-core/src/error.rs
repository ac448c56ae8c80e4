//! What can go wrong, per operation, and whose fault it is.
//!
//! A [`WriteError`] about a key or a value is the caller's; [`StoreError`] is the machine's; [`Damage`] is the
//! disk's (or a bug's), and an [`OpenError`] that of whoever gave the path or the parameters.

use bytes::Bytes;

use crate::clock_fault::ClockFault;
use crate::parameters::{Difference, OutOfRange, TreeTooFine};
use crate::store::{StoreError, Table};

/// A stored row that is not what it must be. It is reported, never served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The table it stands in.
    pub table: Table,
    /// Its key.
    pub key: Bytes,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.table.name(),
            crate::tables::describe_key(self.table, &self.key),
            self.what
        )
    }
}

/// Why a read has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was found cannot be trusted.
    #[error("damaged: {0}. Run `verify` to see all damage, `rebuild` to mend what is derived")]
    Damaged(Damage),
    /// The replica was closed.
    #[error("the replica is closed")]
    Closed,
}

impl ReadError {
    pub(crate) fn damaged(table: Table, key: &[u8], what: impl Into<String>) -> Self {
        Self::Damaged(Damage { table, key: Bytes::copy_from_slice(key), what: what.into() })
    }
}

/// Why a write was not taken. Nothing of it was stored, unless the error says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// A key has at least one byte.
    #[error("the key is empty: a key has at least one byte")]
    EmptyKey,
    /// The key is longer than the cluster allows.
    #[error("the key has {len} bytes, at most {most} are allowed in this store")]
    KeyTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        most: u32,
    },
    /// The value is longer than the cluster allows.
    #[error("the value has {len} bytes, at most {most} are allowed in this store")]
    ValueTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        most: u32,
    },
    /// The key is one of the system's own.
    #[error("keys that begin with `__aevrion/` are the system's own: choose another")]
    ReservedKey,
    /// Longer than any encoding can hold.
    #[error(transparent)]
    TooLong(#[from] crate::TooLong),
    /// The batch is larger than one transaction may be.
    #[error(
        "the batch has {operations} operations and {bytes} bytes: split it, at most {} and {} are one atomic write",
        crate::bounds::BATCH_OPERATIONS,
        crate::bounds::BATCH_BYTES
    )]
    BatchTooLarge {
        /// How many operations it has.
        operations: usize,
        /// Bytes of keys and values.
        bytes: usize,
    },
    /// The replica takes no writes at the moment, because of this error. It tries again by itself.
    #[error("the replica is read-only: {0}")]
    ReadOnly(StoreError),
    /// The store failed on this very write.
    #[error("not written: {0}")]
    Store(StoreError),
    /// What was read to place the write could not be trusted.
    #[error("not written: {0}")]
    Read(ReadError),
    /// This node's clock cannot be trusted with a write.
    #[error("not written: {0}")]
    Clock(ClockFault),
    /// The key is written more often than once a millisecond, and has used up the drift. Others are not held up.
    #[error(
        "not written: this key is written more than a thousand times a second, and its writes wait. Try again"
    )]
    BusyKey,
    /// More writes of one key than have their own millisecond within the drift allowed.
    #[error("the batch writes one key {writes} times, at most {most} are one atomic write: split it")]
    BatchTooDense {
        /// How often it writes the key.
        writes: usize,
        /// The limit.
        most: usize,
    },
    /// The replica was closed.
    #[error("the replica is closed")]
    Closed,
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            ReadError::Closed => Self::Closed,
            ReadError::Damaged(_) => Self::Read(error),
        }
    }
}

/// Why a replica does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that opening needs cannot be trusted.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing could be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store was written by another version.
    #[error(
        "the store has format {found}, this program knows format {known}: use the version of aevrion that made it, \
         export there and import here"
    )]
    OtherFormat {
        /// The format found.
        found: u32,
        /// The format of this version.
        known: u32,
    },
    /// The store was made with other parameters, which cannot be changed.
    #[error("the store was made with other parameters: {}. Leave them out, or make a new store", list(.0))]
    OtherParameters(Vec<Difference>),
    /// Parameters with which no store can be made.
    #[error(transparent)]
    BadParameters(#[from] OutOfRange),
    /// Parameters with which no cluster should begin.
    #[error(transparent)]
    TreeTooFine(#[from] TreeTooFine),
    /// The store holds rows, but not those that say what they are.
    #[error("the store holds data but its `{0}` row is missing or damaged: restore it from a backup")]
    Damaged(&'static str),
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why a watch ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The events after the cursor are no longer kept in the order of their arrival.
    #[error("arrivals before {oldest} are no longer kept: read the present state, then watch from now")]
    Compacted {
        /// The oldest sequence that is.
        oldest: u64,
    },
    /// The cursor comes from another node, whose events arrived in another order.
    #[error("the cursor is of another node: a cursor is good on the node that gave it")]
    OtherNode,
    /// The events before the cursor arrived in a history that is not that of this store, or of which it knows nothing any
    /// more.
    #[error(
        "the cursor is of another history than that of this store: its directory was put back from a copy, or the \
         cursor is an old one. Read the present state, then watch from now"
    )]
    OtherHistory,
}
