//! Storage engines: the trait that stores a few tables of ordered byte rows.
//!
//! The logic of Aevrion (table contents, deduplication, group commit, tree, index) is written once, in this crate. An
//! engine only commits batches, gives consistent views, and scans in pages. Each method documents its contract;
//! [`conformance`] checks it, and [`MemoryStore`] is the reference.
//!
//! The core is the only writer of a store and never runs two calls of [`EventStore::commit`] at once.

mod batch;
#[cfg(feature = "testkit")]
pub mod conformance;
mod cooperative;
mod directory;
mod memory;
mod page;
mod pages;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bounds::QUANTUM;

pub use batch::{Table, Write, WriteBatch};
pub(crate) use cooperative::Cooperative;
pub use directory::{Directory, DirectoryError};
pub use memory::MemoryStore;
pub use page::{Direction, KeyRange, Page, PageBuilder, PageLimit, Projection, ScanRequest};
pub use pages::Pages;
pub(crate) use pages::nearest;

/// The durability of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once the call returns, all commits so far survive a power loss.
    #[default]
    Immediate,
    /// The commit survives the end of the process as soon as the engine allows, and a power loss after the next
    /// `Immediate` commit. The core makes one within half a second.
    Buffered,
}

/// The properties of an engine. The core adapts to them, a node shows them, and the conformance suite checks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's name in data directories and in `status`.
    pub name: &'static str,
    /// Whether data outlives the process.
    pub persistent: bool,
    /// Whether an `Immediate` commit survives the loss of power.
    pub power_safe: bool,
    /// Whether a view keeps showing its state while later commits go on.
    pub isolated_views: bool,
    /// The number of rows up to which a commit's memory and time are proportional. The core splits larger commits, but
    /// not a client's batch.
    pub rows_at_once: usize,
}

impl Capabilities {
    /// An engine without guarantees that takes commits of any size.
    pub const fn new(name: &'static str) -> Self {
        Self { name, persistent: false, power_safe: false, isolated_views: false, rows_at_once: usize::MAX }
    }
}

/// An engine that stores the tables of one replica.
///
/// Blocking work (fsync) belongs on a blocking thread. Reads may run in place: the core yields between them.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Applies all writes of the batch, or none. The writes of a table are sorted by key, and each key occurs at most
    /// once. An empty batch is allowed: with [`Durability::Immediate`] it makes earlier buffered commits durable.
    ///
    /// When the call returns `Ok`, the batch is visible to every later view and as durable as requested. Commits become
    /// durable in order, never a later one without an earlier one.
    ///
    /// # Errors
    /// After an error, no part of the batch is visible, now or after reopening, unless the error is
    /// [`StoreError::Unknown`]. The store stays readable if the engine allows, and a later commit may succeed.
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError>;

    /// A consistent view of the latest commit, cheap enough for one per read. Never waits for a commit in progress.
    ///
    /// With [`Capabilities::isolated_views`], the view shows that state for its whole life. Otherwise each call on it
    /// shows some committed state, never half a batch, and never an older state than the call before.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after [`EventStore::close`]; otherwise the engine's error.
    async fn view(&self) -> Result<Arc<dyn View>, StoreError>;

    /// The properties of this engine. Constant.
    fn capabilities(&self) -> Capabilities;

    /// Makes all commits durable, and releases the engine's resources (files, locks) once the last view is dropped.
    /// Every later call fails with [`StoreError::Closed`]. Closing twice is no error.
    ///
    /// # Errors
    /// The engine's error. The store counts as closed all the same.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A consistent state of the tables.
#[async_trait]
pub trait View: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// The engine's error. Damage that the engine detects is [`StoreError::Corrupt`], never a wrong value.
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The rows of a range in the requested order, up to the limit. Keys are ordered as bytes. [`Page::complete`] is
    /// true exactly if no row of the range follows the last one; a caller continues from [`Page::last_key`]. A page of
    /// a non-empty range is never empty.
    ///
    /// # Errors
    /// As [`View::get`].
    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError>;
}

#[async_trait]
impl<S: EventStore + ?Sized> EventStore for Arc<S> {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        (**self).commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        (**self).view().await
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// Storage errors.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. The batch was not written; a later commit may succeed.
    #[error("the disk is full ({0}): free some space, writes resume by themselves")]
    Full(Arc<std::io::Error>),
    /// An error of the operating system. The batch was not written.
    #[error("input/output error: {0}")]
    Io(Arc<std::io::Error>),
    /// A commit failed, and its batch may or may not be there after reopening.
    #[error("{}", describe_unknown(.0))]
    Unknown(Arc<std::io::Error>),
    /// The engine detected damage.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the disk was full, also if the outcome of the commit is unknown.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full(_) => true,
            Self::Unknown(error) => is_no_room(error),
            Self::Io(_) | Self::Corrupt(_) | Self::Closed => false,
        }
    }
}

fn is_no_room(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn describe_unknown(error: &std::io::Error) -> String {
    if is_no_room(error) {
        format!(
            "the disk is full ({error}), and a commit may or may not have been stored: free some space, writes resume by \
             themselves"
        )
    } else {
        format!("a commit failed and may or may not have been stored: {error}")
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if is_no_room(&error) { Self::Full(Arc::new(error)) } else { Self::Io(Arc::new(error)) }
    }
}

/// Runs work that cannot yield and costs as much as reading this many rows: in place if that is at most a quantum,
/// otherwise on a blocking thread.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn in_one_piece<T: Send + 'static>(
    rows: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    if rows > QUANTUM { blocking(move || Ok(work())).await } else { Ok(work()) }
}

/// Runs engine work that may block on a blocking thread.
///
/// # Errors
/// The error of `work`. If it panics, [`StoreError::Corrupt`] with the panic's message, as the engine met a state that
/// it considers impossible.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => Err(StoreError::Corrupt(format!("the storage engine stopped: {join}"))),
    }
}
