//! Errors, per operation, and whose fault each is.
//!
//! A [`WriteError`] about a key or a value is the caller's fault; [`StoreError`] is the machine's; [`Damage`] is the
//! disk's (or a bug's); [`OpenError`] is a wrong path or wrong parameters.

use bytes::Bytes;

use crate::clock_fault::ClockFault;
use crate::parameters::{Difference, OutOfRange, TreeTooFine};
use crate::store::{StoreError, Table};

/// A damaged stored row. It is reported, never served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The table of the row.
    pub table: Table,
    /// The key of the row.
    pub key: Bytes,
    /// A description of the damage.
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
#[non_exhaustive]
pub enum ReadError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that the read needs is damaged.
    #[error("damaged: {0}. Run `verify` to see all damage, `rebuild` to mend what is derived")]
    Damaged(Damage),
    /// The replica was closed.
    #[error("the replica is closed")]
    Closed,
}

impl ReadError {
    /// The row of `table` at `key` is damaged.
    pub fn damaged(table: Table, key: &[u8], what: impl Into<String>) -> Self {
        Self::Damaged(Damage { table, key: Bytes::copy_from_slice(key), what: what.into() })
    }
}

/// Why a write was not taken. It stored nothing, unless the error says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The key is empty: a key has at least one byte.
    #[error("the key is empty: a key has at least one byte")]
    EmptyKey,
    /// The key is longer than the cluster allows.
    #[error("the key has {len} bytes, at most {most} are allowed in this store")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        most: u32,
    },
    /// The value is longer than the cluster allows.
    #[error("the value has {len} bytes, at most {most} are allowed in this store")]
    ValueTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        most: u32,
    },
    /// The key has the [reserved prefix](crate::RESERVED_PREFIX).
    #[error("keys that begin with `__aevrion/` are the system's own: choose another")]
    ReservedKey,
    /// Key or value is longer than any encoding can hold.
    #[error(transparent)]
    TooLong(#[from] crate::TooLong),
    /// The batch exceeds the limits of one transaction.
    #[error(
        "the batch has {operations} operations and {bytes} bytes: split it, at most {} and {} are one atomic write",
        crate::bounds::BATCH_OPERATIONS,
        crate::bounds::BATCH_BYTES
    )]
    BatchTooLarge {
        /// Its number of operations.
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
    /// A row that the write needs is damaged.
    #[error("not written: {0}")]
    Read(ReadError),
    /// This node's clock cannot be trusted with a write.
    #[error("not written: {0}")]
    Clock(ClockFault),
    /// The key is written more often than once a millisecond, and has used up the drift. Writes of other keys proceed.
    #[error(
        "not written: this key is written more than a thousand times a second, and its writes wait. Try again"
    )]
    BusyKey,
    /// The batch writes one key more often than there are milliseconds within the allowed drift.
    #[error("the batch writes one key {writes} times, at most {most} are one atomic write: split it")]
    BatchTooDense {
        /// The number of writes of the key.
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
#[non_exhaustive]
pub enum OpenError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that opening needs is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write during opening failed.
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
    /// No store can be made with these parameters.
    #[error(transparent)]
    BadParameters(#[from] OutOfRange),
    /// No new cluster may have these parameters.
    #[error(transparent)]
    TreeTooFine(#[from] TreeTooFine),
    /// The store holds rows, but the rows that describe it are missing or damaged.
    #[error("the store holds data but its `{0}` row is missing or damaged: restore it from a backup")]
    Damaged(&'static str),
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why a watch ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The events after the cursor are no longer kept in the order of their arrival.
    #[error("arrivals before {oldest} are no longer kept: read the present state, then watch from now")]
    Compacted {
        /// The oldest sequence that is kept.
        oldest: u64,
    },
    /// The cursor comes from another node, whose events arrived in another order.
    #[error("the cursor is of another node: a cursor is good on the node that gave it")]
    OtherNode,
    /// The events before the cursor arrived in another history than that of this store, or in a forgotten one.
    #[error(
        "the cursor is of another history than that of this store: its directory was put back from a copy, or the \
         cursor is an old one. Read the present state, then watch from now"
    )]
    OtherHistory,
}
