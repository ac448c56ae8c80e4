//! How a handful of tables of ordered bytes are kept: the trait that a storage engine implements.
//!
//! Everything that is Aevrion (what stands in the tables, deduplication, group commit, tree, index) is written once,
//! in this crate. An engine only commits batches, gives consistent views, and scans in pages. The contract stands at
//! each method; [`conformance`] checks it, and [`MemoryStore`] is the reference.
//!
//! The core is the only writer of a store: it never calls [`EventStore::commit`] twice at once.

mod batch;
#[cfg(feature = "testkit")]
pub mod conformance;
mod cooperative;
mod directory;
mod memory;
mod nearest;
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
pub(crate) use nearest::nearest;
pub use page::{Direction, KeyRange, Page, PageBuilder, PageLimit, Projection, ScanRequest};
pub use pages::Pages;

/// When a commit is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before it returns, everything committed so far survives the loss of power.
    #[default]
    Immediate,
    /// It survives the end of the process as soon as the engine allows, and the loss of power after the next
    /// `Immediate` commit. The core follows up within half a second.
    Buffered,
}

/// What an engine can and cannot do. The core adapts; a node shows it; the conformance suite holds an engine to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's name, as data directories and `status` state it.
    pub name: &'static str,
    /// Whether data outlives the process at all.
    pub persistent: bool,
    /// Whether an `Immediate` commit survives the loss of power.
    pub power_safe: bool,
    /// Whether a view keeps showing the state it was taken from while later commits go on.
    pub isolated_views: bool,
    /// Rows up to which one commit takes memory and time in proportion. The core cuts what it may cut accordingly; a
    /// batch of a client it may not.
    pub rows_at_once: usize,
}

impl Capabilities {
    /// Of an engine that promises nothing, and takes a commit of any size.
    pub const fn new(name: &'static str) -> Self {
        Self { name, persistent: false, power_safe: false, isolated_views: false, rows_at_once: usize::MAX }
    }
}

/// An engine that keeps the tables of one replica.
///
/// Blocking work (fsync) belongs on a blocking thread. Reads may answer in place: the core yields between them.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Applies all writes of the batch, or none. Within a table the writes come sorted by key, each key at most once.
    /// An empty batch is allowed: with [`Durability::Immediate`] it makes earlier buffered commits durable.
    ///
    /// Before it returns `Ok`: the batch is visible to every view taken from now on, and as durable as asked; and
    /// commits are durable in the order in which they were made, never a later one without an earlier one.
    ///
    /// # Errors
    /// After an error nothing of the batch is visible, neither now nor after reopening, unless the error is
    /// [`StoreError::Unknown`]. The store stays usable for reads if the engine allows, and a later commit may succeed.
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError>;

    /// A consistent view of the latest commit, cheap enough for one per read. It never waits for a commit in progress.
    ///
    /// With [`Capabilities::isolated_views`] it shows that state for as long as it is held; otherwise each call on it
    /// shows some committed state, never half a batch, never an older one than the call before.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after [`EventStore::close`]; otherwise what the engine reports.
    async fn view(&self) -> Result<Arc<dyn View>, StoreError>;

    /// What this engine can do. Constant.
    fn capabilities(&self) -> Capabilities;

    /// Makes everything durable and releases what the engine holds (files, locks) as soon as the last view is gone.
    /// Every later call fails with [`StoreError::Closed`]; closing twice is no error.
    ///
    /// # Errors
    /// What the engine reports; it counts as closed all the same.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A consistent state of the tables.
#[async_trait]
pub trait View: Send + Sync {
    /// The value under exactly `key`.
    ///
    /// # Errors
    /// What the engine reports. Damage that the engine notices is [`StoreError::Corrupt`], never a wrong value.
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The rows of a range in the order asked for, up to the limit. Keys are ordered as bytes. [`Page::complete`] is
    /// true exactly if nothing of the range lies behind the last row; a caller continues from [`Page::last_key`]. A
    /// page of a non-empty range is never empty.
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

/// Why an engine could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing of the batch was written; a later commit may succeed.
    #[error("the disk is full ({0}): free some space, writes resume by themselves")]
    Full(Arc<std::io::Error>),
    /// The operating system refused; nothing of the batch was written.
    #[error("input/output error: {0}")]
    Io(Arc<std::io::Error>),
    /// A commit failed in such a way that it may or may not be found after reopening.
    #[error("{}", describe_unknown(.0))]
    Unknown(Arc<std::io::Error>),
    /// The engine noticed damage.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether there was no room, be the outcome known or not.
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

/// Does work that cannot give way to other tasks, and costs as much as reading so many rows: here if that is no more
/// than a quantum, otherwise on a blocking thread.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn in_one_piece<T: Send + 'static>(
    rows: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    if rows > QUANTUM { blocking(move || Ok(work())).await } else { Ok(work()) }
}

/// Runs engine work that may block on a thread made for it.
///
/// # Errors
/// What `work` returns. If it panics, [`StoreError::Corrupt`] with the panic's text: the engine met a state that it
/// holds to be impossible.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => Err(StoreError::Corrupt(format!("the storage engine stopped: {join}"))),
    }
}
