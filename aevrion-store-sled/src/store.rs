//! Opens, commits to and closes a sled store.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aevrion_core::files::make_directory;
use aevrion_core::store::{
    Capabilities, Directory, Durability, EventStore, StoreError, View, WriteBatch, blocking,
};
use async_trait::async_trait;
use sled::Db;

use crate::OpenError;
use crate::error::into_store_error;
use crate::open::Open;
use crate::room::expect_room_to_open;
use crate::view::SledView;

const ENGINE: &str = "sled";

/// sled frees the rows that a batch replaces only after the whole batch is in: a node that received a year of events
/// was measured at 500 MB and more with 65,536 scattered rows, and half as much with these, at nearly the same speed.
const ROWS_AT_ONCE: usize = 2048;

/// Options for opening a store.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SledOptions {
    /// Memory for pages of the file, in bytes (16 MiB). sled takes several times as much while it writes.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20 }
    }
}

impl SledOptions {
    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }
}

/// A store in a sled database.
///
/// # Guarantees
/// A batch is atomic, also for readers and after `kill -9`. sled itself shows half a batch to a scan, so a commit here
/// waits for running reads, a page at most each, and reads wait while sled applies a batch: usually milliseconds, once
/// measured at up to a second for 4,096 scattered rows. Reads never wait for the following sync. There are no isolated
/// views.
///
/// An `Immediate` commit returns after sled has written its log and after the files of large pages and their directory
/// were synced, which sled itself omits. Still it is not declared power-safe, for two reasons in sled that cannot be
/// fixed from outside. Between two syncs it overwrites superseded pages with new ones, and trusts that the replacements
/// are on disk when they are only in the drive's cache. And it writes the log's reference to a large page before the
/// page is synced; if the power fails between, it silently skips the reference on reopening, so that half of an
/// unacknowledged batch may be left.
///
/// sled does not survive a full disk: a flush without room never returns. So a commit is refused before it begins while
/// less than 16 MiB and four times the batch are free; commits succeed again once there is room.
///
/// After any other error in a commit, the store refuses all further commits until it is reopened: sled refuses them,
/// and no later sync recovers the losses of a failed one.
pub struct SledStore {
    state: Mutex<Option<Arc<Open>>>,
}

impl SledStore {
    /// Opens the store in the directory `path`, or creates one there.
    ///
    /// # Errors
    /// [`OpenError`], with advice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, SledOptions::default())
    }

    /// As [`SledStore::open`], with options.
    ///
    /// # Errors
    /// As [`SledStore::open`].
    pub fn open_with(path: impl AsRef<Path>, options: SledOptions) -> Result<Self, OpenError> {
        let directory = Directory::open(path, ENGINE)?;
        expect_room_to_open(directory.path())?;
        let files = directory.path().join(ENGINE);
        // sled makes its files accessible to everyone: their directory must keep others out.
        make_directory(&files).map_err(StoreError::from)?;
        forget_half_made(&files).map_err(StoreError::from)?;
        let db = open_sled(&files, options)?;
        let open = Open::new(db, &files, directory).map_err(StoreError::from)?;
        Ok(Self { state: Mutex::new(Some(Arc::new(open))) })
    }

    fn state(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        // No code under this lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> Result<Arc<Open>, StoreError> {
        self.state().clone().ok_or(StoreError::Closed)
    }
}

/// sled writes its settings file first, in two pieces, and cannot read it after a kill between them. Without a log, the
/// settings describe nothing.
fn forget_half_made(files: &Path) -> io::Result<()> {
    if files.join("db").try_exists()? {
        return Ok(());
    }
    match std::fs::remove_file(files.join("conf")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens sled. A background thread of a just-closed store may hold sled's own lock for a moment longer; the lock on our
/// directory already excludes other processes.
fn open_sled(files: &Path, options: SledOptions) -> Result<Db, StoreError> {
    const ATTEMPTS: u32 = 500;
    let config = sled::Config::new()
        .path(files)
        .cache_capacity(options.cache_bytes)
        // The core decides when to sync.
        .flush_every_ms(None);
    for _ in 1..ATTEMPTS {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other.map_err(into_store_error),
        }
    }
    config.open().map_err(into_store_error)
}

#[async_trait]
impl EventStore for SledStore {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let open = self.opened()?;
        blocking(move || open.commit(batch, durability)).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        Ok(Arc::new(SledView(self.opened()?)))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { persistent: true, rows_at_once: ROWS_AT_ONCE, ..Capabilities::new(ENGINE) }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(open) = self.state().take() else { return Ok(()) };
        blocking(move || {
            let mut disk = open.disk();
            open.sync(&mut disk)
        })
        .await
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").finish_non_exhaustive()
    }
}
