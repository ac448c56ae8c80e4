//! Opens the data directory with the engine it was made with.

use std::path::Path;

#[cfg(any(feature = "redb", feature = "sled"))]
use aevrion_core::store::DirectoryError;
use aevrion_core::store::{Directory, EventStore};
use aevrion_core::{Options, Replica};
#[cfg(feature = "redb")]
use aevrion_store_redb::{OpenError, RedbOptions, RedbStore};

use crate::cli::{Global, StoreKind};
use crate::failure::Failure;

/// The purpose of opening a store. Only writing creates one: otherwise a mistyped path would be an empty, sound store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Works on read-only media too: nothing is written, as far as the engine can avoid it.
    Read,
    /// Derived data may be written.
    Mend,
    Write,
}

/// The data directory that the settings name.
///
/// # Errors
/// That they name none.
pub(crate) fn directory(global: &Global) -> Result<&Path, Failure> {
    let which = || Failure::usage("which node? Give its directory with --data DIR, or set AEVRION_DATA");
    global.data.as_deref().ok_or_else(which)
}

/// Opens the replica that the settings name, or makes it.
pub(crate) async fn open(global: &Global) -> Result<Replica, Failure> {
    open_for(global, Purpose::Write).await
}

/// Opens the configured replica for a purpose.
pub(crate) async fn open_for(global: &Global, purpose: Purpose) -> Result<Replica, Failure> {
    here(try_open(global, Options::default(), purpose).await?)
}

/// The result of opening.
pub(crate) enum Opened {
    Here(Replica),
    /// Another process has the directory open.
    #[cfg_attr(
        not(any(feature = "redb", feature = "sled")),
        expect(dead_code, reason = "without a store on the disk there is no directory")
    )]
    Elsewhere(Failure),
}

/// Opens the configured replica, or creates it, with options. Configured parameters take precedence over theirs.
pub(crate) async fn open_with(global: &Global, options: Options) -> Result<Replica, Failure> {
    here(try_open(global, options, Purpose::Write).await?)
}

fn here(opened: Opened) -> Result<Replica, Failure> {
    match opened {
        Opened::Here(replica) => Ok(replica),
        Opened::Elsewhere(failure) => Err(failure),
    }
}

/// Opens the configured replica, or reports that another process has it open.
pub(crate) async fn try_open(global: &Global, options: Options, purpose: Purpose) -> Result<Opened, Failure> {
    if let (None, Some(StoreKind::Memory)) = (&global.data, global.store) {
        return open_memory(global, options).await.map(Opened::Here);
    }
    let Some(path) = &global.data else {
        return Err(Failure::usage(
            "which store? Give its directory with --data DIR or AEVRION_DATA; --store memory keeps one in memory only",
        ));
    };
    let existing = Directory::engine_of(path).map_err(Failure::error)?;
    let kind = match (existing.as_deref(), global.store) {
        (Some(name), Some(kind)) if kind.name() != name => {
            return Err(Failure::error(format!(
                "{} is a {name} store: leave --store out, or give another directory",
                path.display()
            )));
        }
        (Some(name), _) => StoreKind::named(name).ok_or_else(|| {
            Failure::error(format!("{} is a {name} store, which this program does not know", path.display()))
        })?,
        (None, _) if purpose != Purpose::Write => {
            return Err(Failure::not_found(format!(
                "there is no store in {}: is the path right? Verbs that write make one",
                path.display()
            )));
        }
        (None, kind) => kind.unwrap_or_else(StoreKind::usual),
    };
    match kind {
        StoreKind::Redb => open_redb(path, global, options, purpose).await,
        StoreKind::Sled => open_sled(path, global, options, purpose).await,
        StoreKind::Memory => {
            Err(Failure::usage("a memory store keeps nothing: leave --data out, or choose another --store"))
        }
    }
}

/// Checks that the store at `path` can be opened, or created for a joining node, and leaves nothing behind.
pub(crate) async fn try_out(path: &Path, global: &Global) -> Result<(), Failure> {
    let cannot_write = |place: &Path, error: std::io::Error| {
        Failure::error(format!("cannot write in {}: {error}", place.display()))
    };
    if Directory::engine_of(path).map_err(Failure::error)?.is_some() {
        tempfile::tempfile_in(path).map_err(|error| cannot_write(path, error))?;
        return Ok(open(global).await?.close().await?);
    }
    // Creating the directory creates its missing parents too.
    let path = std::path::absolute(path).map_err(Failure::error)?;
    let place = path.ancestors().find(|place| place.is_dir()).unwrap_or(&path);
    let stand_in = tempfile::tempdir_in(place).map_err(|error| cannot_write(place, error))?;
    let settings = Global {
        data: Some(stand_in.path().join("store")),
        store: global.store,
        granularity: global.granularity,
        branching: global.branching,
        ..Global::default()
    };
    let options = Options::default().joins();
    Ok(open_with(&settings, options).await?.close().await?)
}

impl StoreKind {
    fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
            Self::Memory => "memory",
        }
    }

    /// The default engine: redb, if it is built in.
    fn usual() -> Self {
        if cfg!(all(feature = "sled", not(feature = "redb"))) { Self::Sled } else { Self::Redb }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Redb, Self::Sled].into_iter().find(|kind| kind.name() == name)
    }
}

/// The result for a directory that cannot be opened. If it is in use, the failure advises to ask the server.
#[cfg(any(feature = "redb", feature = "sled"))]
fn refused(error: DirectoryError) -> Result<Opened, Failure> {
    let in_use = matches!(error, DirectoryError::InUse { .. });
    let failure = Failure::error(error);
    if !in_use {
        return Err(failure);
    }
    let advice =
        "if that is `aevrion serve`, leave --data out: the verb then asks the server (see --endpoint)";
    Ok(Opened::Elsewhere(failure.and(advice)))
}

#[cfg_attr(
    not(any(feature = "redb", feature = "sled", feature = "memory")),
    expect(dead_code, reason = "without a store this program asks others")
)]
async fn open_on(store: impl EventStore, global: &Global, options: Options) -> Result<Replica, Failure> {
    let given = options.parameters;
    let parameters = given
        .granularity(global.granularity.or(given.granularity))
        .branching(global.branching.or(given.branching));
    Ok(Replica::open(store, options.parameters(parameters)).await?)
}

#[cfg(feature = "redb")]
async fn open_redb(
    path: &Path,
    global: &Global,
    options: Options,
    purpose: Purpose,
) -> Result<Opened, Failure> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || match RedbStore::open(&path) {
        Err(error) if purpose == Purpose::Read && error.is_read_only() => {
            RedbStore::open_to_read(&path, RedbOptions::default())
        }
        opened => opened,
    })
    .await;
    match opened.map_err(Failure::error)? {
        Ok(store) => open_on(store, global, options).await.map(Opened::Here),
        Err(OpenError::Directory(error)) => refused(error),
        Err(error) => Err(Failure::error(error)),
    }
}

#[cfg(not(feature = "redb"))]
async fn open_redb(_: &Path, _: &Global, _: Options, _: Purpose) -> Result<Opened, Failure> {
    Err(not_built_in("redb"))
}

#[cfg(feature = "sled")]
async fn open_sled(
    path: &Path,
    global: &Global,
    options: Options,
    purpose: Purpose,
) -> Result<Opened, Failure> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || aevrion_store_sled::SledStore::open(path)).await;
    match opened.map_err(Failure::error)? {
        Ok(store) => open_on(store, global, options).await.map(Opened::Here),
        Err(error) if purpose == Purpose::Read && error.is_read_only() => Err(Failure::error(error)
            .and("sled reads only where it can write: copy the directory, and read the copy")),
        Err(aevrion_store_sled::OpenError::Directory(error)) => refused(error),
        Err(error) => Err(Failure::error(error)),
    }
}

#[cfg(not(feature = "sled"))]
async fn open_sled(_: &Path, _: &Global, _: Options, _: Purpose) -> Result<Opened, Failure> {
    Err(not_built_in("sled"))
}

#[cfg(feature = "memory")]
async fn open_memory(global: &Global, options: Options) -> Result<Replica, Failure> {
    open_on(aevrion_core::store::MemoryStore::new(), global, options).await
}

#[cfg(not(feature = "memory"))]
async fn open_memory(_: &Global, _: Options) -> Result<Replica, Failure> {
    Err(not_built_in("memory"))
}

#[cfg(not(all(feature = "redb", feature = "sled", feature = "memory")))]
fn not_built_in(name: &str) -> Failure {
    Failure::error(format!("this program was built without {name}: build it with `--features {name}`"))
}
