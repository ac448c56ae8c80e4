//! A database in use: reads beside batches, commits and syncs, and the refusals after a failure.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use aevrion_core::files::sync_directory;
use aevrion_core::store::{Directory, Durability, StoreError, WriteBatch};
use sled::Db;

use crate::blobs::Blobs;
use crate::error::{into_unknown, unknown};
use crate::layout::batch_of;
use crate::room::expect_room;

/// A database in use. The fields are dropped in this order: sled first, then the lock on its directory.
pub(crate) struct Open {
    pub(crate) db: Db,
    /// Read-locked by every read, and write-locked while a batch is applied in memory. Keeps the error of a batch that
    /// failed half-way: any later read would show half a batch.
    batches: RwLock<Result<(), StoreError>>,
    disk: Mutex<Disk>,
    directory: Directory,
}

/// The state to sync, and whether a sync ever failed.
pub(crate) struct Disk {
    log: File,
    blobs: Blobs,
    state: Result<(), StoreError>,
}

impl Open {
    /// Takes the database in `files`, whose log and names are made durable.
    pub(crate) fn new(db: Db, files: &Path, directory: Directory) -> io::Result<Self> {
        let log = File::options().read(true).write(true).open(files.join("db"))?;
        let disk = Disk { log, blobs: Blobs::new(files.join("blobs")), state: Ok(()) };
        let open = Self { db, batches: RwLock::new(Ok(())), disk: Mutex::new(disk), directory };
        open.sync_new_names(files)?;
        Ok(open)
    }

    /// Blocks batches while the guard lives.
    pub(crate) fn reading(&self) -> Result<RwLockReadGuard<'_, Result<(), StoreError>>, StoreError> {
        let batches = self.batches.read().map_err(|_| half_applied())?;
        batches.clone()?;
        Ok(batches)
    }

    pub(crate) fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
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

    pub(crate) fn sync(&self, disk: &mut Disk) -> Result<(), StoreError> {
        disk.state.clone()?;
        let Disk { log, blobs, state } = disk;
        *state = blobs
            .sync_around(|| self.db.flush().map(drop).map_err(io::Error::from))
            .and_then(|()| log.sync_data())
            .map_err(unknown);
        state.clone()
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the names of sled's files durable, which sled omits.
    fn sync_new_names(&self, files: &Path) -> io::Result<()> {
        self.disk().log.sync_all()?;
        [Some(files), files.parent()].into_iter().flatten().try_for_each(sync_directory)
    }
}

fn half_applied() -> StoreError {
    StoreError::Corrupt("sled stopped in the midst of a batch: open the store again".to_owned())
}
