//! Aevrion's default storage: [redb](https://docs.rs/redb), a copy-on-write B-tree in one file.
//!
//! Power-safe, with isolated views that never wait for the writer. Every table of the core is a redb table of bytes.
//!
//! Two properties are particular to this store. After any I/O error redb refuses all further work on a database,
//! including reads; so the store reopens it at once, from the last commit, and the replica continues to read while its
//! writes are refused. And quick repair is on: it costs a second fsync per commit, and reopens a large file after a
//! crash in milliseconds instead of seconds.

mod backend;
mod error;
mod overlay;
mod view;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aevrion_core::files;
use aevrion_core::store::{
    Capabilities, Directory, DirectoryError, Durability, EventStore, StoreError, Table, View, Write,
    WriteBatch, blocking,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use redb::{Builder, Database, ReadableDatabase, StorageBackend};

use backend::{Fence, FileBackend};
use error::{into_open_error, into_store_error};
use overlay::Overlay;
use view::{RedbView, definition};

/// The file in the store's directory.
const FILE: &str = "events.redb";
/// The file's name until it is complete.
const DRAFT: &str = "events.redb.new";

/// Options for opening a store.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RedbOptions {
    /// Memory for pages of the file, in bytes (64 MiB).
    pub cache_bytes: usize,
    /// Whether a commit records the allocator state, which reopening after a crash would otherwise compute from the
    /// whole file (yes). Costs a second fsync a commit.
    pub quick_repair: bool,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, quick_repair: true }
    }
}

impl RedbOptions {
    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// Sets [`quick_repair`](Self::quick_repair).
    #[must_use]
    pub fn quick_repair(mut self, quick_repair: bool) -> Self {
        self.quick_repair = quick_repair;
        self
    }
}

/// The reason why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file cannot be used.
    #[error("the database file: {0}")]
    Store(#[from] StoreError),
    /// The file was written by an older redb.
    #[error(
        "the database file has format {0} of redb, too old for this version: export with the old, import here"
    )]
    TooOld(u8),
}

impl OpenError {
    /// Whether the files are read-only, so that [`RedbStore::open_to_read`] may open them.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Directory(DirectoryError::Io { source, .. }) => files::is_read_only(source),
            Self::Store(StoreError::Io(error)) => files::is_read_only(error),
            _ => false,
        }
    }
}

/// A store in a redb file.
pub struct RedbStore {
    core: Arc<Core>,
}

/// Makes a new backend for every (re)opening.
type Backends = Box<dyn Fn() -> std::io::Result<Box<dyn StorageBackend>> + Send + Sync>;

struct Core {
    backends: Backends,
    options: RedbOptions,
    state: ArcSwap<State>,
    /// Held during a commit, a reopening or a close.
    changing: Mutex<()>,
    /// Whether writes are dropped on close.
    reads_only: bool,
}

enum State {
    Open(Open),
    /// The database could not be reopened after a failure; the next call tries again.
    Failed(Home),
    Closed,
}

/// The locked directory of the store, if any. The lock ends with the last view that holds it.
type Home = Option<Arc<Directory>>;

/// A database in use, and the view of its latest commit.
#[derive(Clone)]
struct Open {
    database: Arc<Database>,
    fence: Arc<Fence>,
    view: Arc<RedbView>,
    home: Home,
}

impl RedbStore {
    /// Opens the store in the directory `path`, or creates one there.
    ///
    /// # Errors
    /// [`OpenError`], with advice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, RedbOptions::default())
    }

    /// As [`RedbStore::open`], with options.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, OpenError> {
        let directory = Directory::open(path, "redb")?;
        let file = directory.path().join(FILE);
        if !file.exists() {
            make_file(directory.path(), &file, options)?;
        }
        let backends = Box::new(move || Ok(Box::new(FileBackend::open(&file)?) as Box<dyn StorageBackend>));
        Self::assemble(backends, options, Some(Arc::new(directory)), false)
    }

    /// Opens the store in the directory `path` without changing anything there, for example on a read-only file system.
    /// Works after a crash, too: repairs, and all other writes, stay in memory and are dropped at the end. Cost: memory
    /// for each written page of the file, 4 KiB.
    ///
    /// # Errors
    /// [`OpenError`]; also if there is no store.
    pub fn open_to_read(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, OpenError> {
        let directory = Directory::open_to_read(path, "redb")?;
        let file = directory.path().join(FILE);
        let backends = Box::new(move || Ok(Box::new(Overlay::open(&file)?) as Box<dyn StorageBackend>));
        Self::assemble(backends, options, Some(Arc::new(directory)), true)
    }

    /// Opens a store on a custom backend, such as one that injects faults. `backends` is called for every (re)opening
    /// of the database, and must give access to the same bytes each time.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_on(
        backends: impl Fn() -> std::io::Result<Box<dyn StorageBackend>> + Send + Sync + 'static,
        options: RedbOptions,
    ) -> Result<Self, OpenError> {
        Self::assemble(Box::new(backends), options, None, false)
    }

    fn assemble(
        backends: Backends,
        options: RedbOptions,
        home: Home,
        reads_only: bool,
    ) -> Result<Self, OpenError> {
        let state = ArcSwap::from_pointee(State::Open(Open::new(&backends, options, home)?));
        let core = Core { backends, options, state, changing: Mutex::new(()), reads_only };
        Ok(Self { core: Arc::new(core) })
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("options", &self.core.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for RedbStore {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let core = Arc::clone(&self.core);
        blocking(move || core.commit(batch, durability)).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        if let State::Open(open) = &**self.core.state.load()
            && !open.fence.is_raised()
        {
            let view: Arc<dyn View> = Arc::<RedbView>::clone(&open.view);
            return Ok(view);
        }
        let core = Arc::clone(&self.core);
        blocking(move || {
            let _changing = core.lock();
            let view: Arc<dyn View> = core.open()?.view;
            Ok(view)
        })
        .await
    }

    fn capabilities(&self) -> Capabilities {
        let kept = !self.core.reads_only;
        Capabilities { persistent: kept, power_safe: kept, isolated_views: true, ..Capabilities::new("redb") }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let core = Arc::clone(&self.core);
        blocking(move || {
            let _changing = core.lock();
            // Dropping the database makes buffered commits durable and marks the file as cleanly closed.
            core.state.store(Arc::new(State::Closed));
            Ok(())
        })
        .await
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, ()> {
        // A panic in redb aborts the transaction, and the fence decides how to continue.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database, reopened if it has failed. Call it with the lock held.
    fn open(&self) -> Result<Open, StoreError> {
        let home = match &**self.state.load() {
            State::Open(open) if !open.fence.is_raised() => return Ok(open.clone()),
            State::Open(Open { home, .. }) | State::Failed(home) => home.clone(),
            State::Closed => return Err(StoreError::Closed),
        };
        // The old database is dropped before the new one opens; its views return errors from here on.
        self.state.store(Arc::new(State::Failed(home.clone())));
        tracing::warn!("reopening the database after a failure");
        let open = Open::new(&self.backends, self.options, home).map_err(|error| match error {
            OpenError::Store(error) => error,
            other => StoreError::Corrupt(other.to_string()),
        })?;
        self.state.store(Arc::new(State::Open(open.clone())));
        Ok(open)
    }

    fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let _changing = self.lock();
        let failed = !matches!(&**self.state.load(), State::Open(open) if !open.fence.is_raised());
        let open = self.open()?;
        if failed {
            // Reopening lost buffered commits: the core must read the present state before it continues.
            let reopened = std::io::Error::other("the database had failed and was reopened");
            return Err(StoreError::Io(Arc::new(reopened)));
        }
        let written = write(&open.database, batch, durability, self.options.quick_repair)
            .and_then(|()| open.at_latest_commit());
        match written {
            Ok(open) => {
                self.state.store(Arc::new(State::Open(open)));
                Ok(())
            }
            Err(error) => {
                open.fence.raise();
                drop(open);
                if let Err(reopening) = self.open() {
                    tracing::error!(%reopening, "the database does not reopen after a failure");
                }
                Err(error)
            }
        }
    }
}

impl Open {
    fn new(backends: &Backends, options: RedbOptions, home: Home) -> Result<Self, OpenError> {
        let fence = Arc::new(Fence::default());
        let backend = backend::Fenced::new(backends().map_err(StoreError::from)?, Arc::clone(&fence));
        let database = Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_repair_callback(|repair| {
                tracing::info!(progress = repair.progress(), "repairing after a crash");
            })
            .create_with_backend(backend)
            .map_err(into_open_error)?;
        make_tables(&database)?;
        let view = Arc::new(RedbView::new(&database, Arc::clone(&fence), home.clone())?);
        Ok(Self { database: Arc::new(database), fence, view, home })
    }

    fn at_latest_commit(&self) -> Result<Self, StoreError> {
        let view = Arc::new(RedbView::new(&self.database, Arc::clone(&self.fence), self.home.clone())?);
        Ok(Self { view, ..self.clone() })
    }
}

/// Creates the file under another name first: a process that dies meanwhile leaves no partial file behind.
fn make_file(directory: &Path, file: &Path, options: RedbOptions) -> Result<(), OpenError> {
    let draft = directory.join(DRAFT);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::from(error).into());
        }
        _ => {}
    }
    let path = draft.clone();
    let backends: Backends = Box::new(move || Ok(Box::new(FileBackend::open(&path)?)));
    drop(Open::new(&backends, options, None)?);
    std::fs::rename(&draft, file).map_err(StoreError::from)?;
    Ok(files::sync_directory(directory).map_err(StoreError::from)?)
}

/// Creates the tables of a new database: a view could not open them otherwise.
fn make_tables(database: &Database) -> Result<(), StoreError> {
    let existing =
        database.begin_read().map_err(into_store_error)?.list_tables().map_err(into_store_error)?.count();
    if existing == Table::ALL.len() {
        return Ok(());
    }
    let transaction = database.begin_write().map_err(into_store_error)?;
    for table in Table::ALL {
        transaction.open_table(definition(table)).map_err(into_store_error)?;
    }
    transaction.commit().map_err(into_store_error)
}

fn write(
    database: &Database,
    batch: WriteBatch,
    durability: Durability,
    quick_repair: bool,
) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(into_store_error)?;
    transaction.set_quick_repair(quick_repair);
    transaction
        .set_durability(match durability {
            Durability::Immediate => redb::Durability::Immediate,
            Durability::Buffered => redb::Durability::None,
        })
        .map_err(into_store_error)?;
    for (table, writes) in batch.into_tables() {
        let mut rows = transaction.open_table(definition(table)).map_err(into_store_error)?;
        for Write { key, value } in writes {
            match value {
                Some(value) => rows.insert(&key[..], &value[..]).map_err(into_store_error)?,
                None => rows.remove(&key[..]).map_err(into_store_error)?,
            };
        }
    }
    // If the disk was full at the last sync, the commit may still have been stored.
    transaction.commit().map_err(|error| match into_store_error(error) {
        StoreError::Io(error) | StoreError::Full(error) => StoreError::Unknown(error),
        error => error,
    })
}
