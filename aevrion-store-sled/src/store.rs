//! Opening, committing, closing.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use aevrion_core::files::{make_directory, sync_directory};
use aevrion_core::store::{
    Capabilities, Directory, Durability, EventStore, StoreError, View, WriteBatch, blocking,
};
use async_trait::async_trait;
use sled::Db;

use crate::OpenError;
use crate::blobs::Blobs;
use crate::error::{into_store_error, into_unknown, unknown};
use crate::layout::batch_of;
use crate::room::{expect_room, expect_room_to_open};
use crate::view::SledView;

const ENGINE: &str = "sled";

/// sled frees nothing that a batch replaces before the whole batch is in: a node that takes in a year of events was
/// measured at 500 MB and more with 65,536 scattered rows, and half as much with these, at nearly the same speed.
const ROWS_AT_ONCE: usize = 2048;

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct SledOptions {
    /// Memory for pages of the file, in bytes (16 MiB). sled takes several times as much while it writes.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20 }
    }
}

/// A store in a sled database.
///
/// # What is promised
/// A batch is there whole or not at all, also to readers and also after `kill -9`. sled itself shows half a batch to a
/// scan, so a commit here waits for the reads at work, a page at most each, and reads wait while sled takes a batch
/// in: milliseconds as a rule, up to a second was once measured for 4,096 scattered rows. They never wait for the
/// sync that follows. There are no isolated views.
///
/// An `Immediate` commit returns after sled has written its log and after that, the files of large pages and their
/// directory were synced, which sled itself leaves out. Still it is not declared power-safe, for two reasons in sled
/// that cannot be mended from outside. Between two syncs it puts new pages where superseded ones were, and trusts
/// that the replacements are on the disk when they are only in the drive's cache. And it writes the log's reference to
/// a large page before the page is synced; if the power fails between, it skips the reference in silence when it
/// opens again, so that half of an unacknowledged batch may be left.
///
/// sled does not survive a full disk: a flush that finds no room never returns. So a commit is refused, and nothing
/// of it begun, while less than 16 MiB and four times the batch are free; it is taken again when there is room.
///
/// After any other error in a commit, the store takes no further ones until it is opened again: sled refuses them, and what a
/// failed sync has lost no later one brings back.
pub struct SledStore {
    state: Mutex<Option<Arc<Open>>>,
}

/// A database in use. The fields are dropped in this order: sled first, then the lock on its directory.
pub(crate) struct Open {
    pub(crate) db: Db,
    /// Held for reading by every read, and for writing while a batch is put into memory. Keeps the error of a batch
    /// that failed half-way, for then nothing can be read any more without showing half a batch.
    batches: RwLock<Result<(), StoreError>>,
    disk: Mutex<Disk>,
    directory: Directory,
}

/// What has to be synced, and whether that ever failed.
struct Disk {
    log: File,
    blobs: Blobs,
    state: Result<(), StoreError>,
}

impl SledStore {
    /// Opens the store in the directory `path`, or makes one there.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
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
        // sled makes its files for everyone: nobody else is to come near them.
        make_directory(&files).map_err(StoreError::from)?;
        forget_half_made(&files).map_err(StoreError::from)?;
        let db = open_sled(&files, options)?;
        let log = File::options().read(true).write(true).open(files.join("db")).map_err(StoreError::from)?;
        let disk = Disk { log, blobs: Blobs::new(files.join("blobs")), state: Ok(()) };
        let open = Open { db, batches: RwLock::new(Ok(())), disk: Mutex::new(disk), directory };
        open.sync_new_names(&files).map_err(StoreError::from)?;
        Ok(Self { state: Mutex::new(Some(Arc::new(open))) })
    }

    fn state(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> Result<Arc<Open>, StoreError> {
        self.state().clone().ok_or(StoreError::Closed)
    }
}

/// sled writes the file with its settings first, in two pieces, and cannot read it when it was killed between them. As
/// long as there is no log there is nothing that the settings could be about.
fn forget_half_made(files: &Path) -> io::Result<()> {
    if files.join("db").try_exists()? {
        return Ok(());
    }
    match std::fs::remove_file(files.join("conf")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens sled. A background thread of a store that was just closed may hold sled's own lock for a moment longer;
/// whether another process has the store was settled by the lock on our directory.
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

impl Open {
    /// Keeps batches out for as long as the guard lives.
    pub(crate) fn reading(&self) -> Result<RwLockReadGuard<'_, Result<(), StoreError>>, StoreError> {
        let batches = self.batches.read().map_err(|_| half_applied())?;
        batches.clone()?;
        Ok(batches)
    }

    fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.state.clone()?;
        if !batch.is_empty() {
            expect_room(self.directory.path(), batch.bytes())?;
            let rows = batch_of(batch);
            let mut batches = self.batches.write().map_err(|_| half_applied())?;
            batches.clone()?;
            *batches = self.db.apply_batch(rows).map_err(into_unknown);
            batches.clone()?;
        }
        match durability {
            Durability::Immediate => self.sync(&mut disk),
            Durability::Buffered => Ok(()),
        }
    }

    fn sync(&self, disk: &mut Disk) -> Result<(), StoreError> {
        disk.state.clone()?;
        let Disk { log, blobs, state } = disk;
        *state = blobs
            .sync_around(|| self.db.flush().map(drop).map_err(io::Error::from))
            .and_then(|()| log.sync_data())
            .map_err(unknown);
        state.clone()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the names of sled's files durable, which it leaves out.
    fn sync_new_names(&self, files: &Path) -> io::Result<()> {
        self.disk().log.sync_all()?;
        [Some(files), files.parent()].into_iter().flatten().try_for_each(sync_directory)
    }
}

fn half_applied() -> StoreError {
    StoreError::Corrupt("sled stopped in the midst of a batch: open the store again".to_owned())
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
