//! The directory of a store. It records the engine and the layout, and one process at a time holds it.
//!
//! ```text
//! DIR/STORE     two lines: the engine's name, the layout's version
//! DIR/LOCK      locked by the process that has the store open; holds its process id for the error message
//! DIR/cluster   the keys of a node, if the store belongs to one
//! DIR/…         the engine's own files
//! ```
//!
//! The lock is the operating system's, so it ends with its process in any case.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files;

/// Version of the layout above. It must be raised when older binaries cannot read a newer store.
const LAYOUT: u32 = 1;
const STORE_FILE: &str = "STORE";
const LOCK_FILE: &str = "LOCK";
const CLUSTER: &str = "cluster";
/// The certificate file, which together with the keys beside it makes the machine a node.
const CERTIFICATE: &str = "node.crt";

/// A store directory, locked for this process until dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// `None` for a read-only directory without a lock file.
    lock: Option<File>,
}

impl Drop for Directory {
    /// A child process just forked from this one shares the open file until it executes another program. Closing
    /// releases the file for this process only, and the next open would briefly find the store in use. Unlocking
    /// releases it for both.
    fn drop(&mut self) {
        // If unlocking fails, the lock ends with the last descriptor.
        let _ = self.lock.as_ref().map(File::unlock);
    }
}

/// Why a directory cannot be used as a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The path is not a directory.
    #[error("{0} is a file: a store lives in a directory of its own")]
    NotADirectory(PathBuf),
    /// The directory holds other files.
    #[error("{0} holds files but no Aevrion store: give a new or an empty directory")]
    NotAStore(PathBuf),
    /// The store belongs to another engine.
    #[error(
        "{path} is a {found} store, not {wanted}: open it with --store {found}, or give another directory"
    )]
    OtherEngine {
        /// The directory.
        path: PathBuf,
        /// The engine of the store.
        found: String,
        /// The engine that should open it.
        wanted: &'static str,
    },
    /// The store has another layout version.
    #[error(
        "{path} has layout {found}, this program knows layout {LAYOUT}: use the version of aevrion that made \
         it, export there and import here"
    )]
    OtherLayout {
        /// The directory.
        path: PathBuf,
        /// The version of its layout.
        found: String,
    },
    /// Another process has the store open.
    #[error("{path} is open in another process{}: end that one, or talk to it", holder(.process))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, if known.
        process: Option<u32>,
    },
    /// An error of the operating system.
    #[error("{doing} {path}: {source}")]
    Io {
        /// The attempted action.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

fn holder(process: &Option<u32>) -> String {
    process.map(|id| format!(" (process {id})")).unwrap_or_default()
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    move |source| DirectoryError::Io { doing, path: path.to_owned(), source }
}

impl Directory {
    /// Opens `path` for `engine` and locks it. Creates the store if the directory is missing or empty, accessible to
    /// its owner only. Logs a warning if an existing directory is open to others.
    ///
    /// # Errors
    /// Every variant of [`DirectoryError`]. In a rejected directory nothing is created, except the lock file if it
    /// already is a store.
    pub fn open(path: impl AsRef<Path>, engine: &'static str) -> Result<Self, DirectoryError> {
        let path = path.as_ref();
        if path.exists() && !path.is_dir() {
            return Err(DirectoryError::NotADirectory(path.to_owned()));
        }
        match Self::engine_of(path)? {
            Some(found) if found != engine => {
                return Err(DirectoryError::OtherEngine { path: path.to_owned(), found, wanted: engine });
            }
            Some(_) => {}
            None => files::make_directory(path).map_err(io("cannot make the directory", path))?,
        }
        let lock = lock(path)?;
        // Another process may have created a store since the check above. Under the lock, no other one will.
        match Self::engine_of(path)? {
            None => write_descriptor(path, engine)?,
            Some(found) if found != engine => {
                return Err(DirectoryError::OtherEngine { path: path.to_owned(), found, wanted: engine });
            }
            Some(_) => {}
        }
        warn_if_open(path);
        Ok(Self { path: path.to_owned(), lock: Some(lock) })
    }

    /// Opens the store of `engine` at `path` without changing anything, for a read-only file system or another user.
    /// Several processes may read at once, and none may write meanwhile.
    ///
    /// # Errors
    /// Every variant of [`DirectoryError`]; [`DirectoryError::NotAStore`] also if the directory is empty.
    pub fn open_to_read(path: impl AsRef<Path>, engine: &'static str) -> Result<Self, DirectoryError> {
        let path = path.as_ref().to_owned();
        match Self::engine_of(&path)? {
            Some(found) if found == engine => Ok(Self { lock: lock_to_read(&path)?, path }),
            Some(found) => Err(DirectoryError::OtherEngine { path, found, wanted: engine }),
            None => Err(DirectoryError::NotAStore(path)),
        }
    }

    /// The engine of the store at `path`; `None` if a new store may be created there.
    ///
    /// # Errors
    /// As [`Directory::open`], except those of the lock.
    pub fn engine_of(path: impl AsRef<Path>) -> Result<Option<String>, DirectoryError> {
        let path = path.as_ref();
        let descriptor = path.join(STORE_FILE);
        let text = match fs::read_to_string(&descriptor) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return expect_empty(path).map(|()| None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(DirectoryError::NotADirectory(path.to_owned()));
            }
            Err(error) => return Err(io("cannot read", &descriptor)(error)),
        };
        let mut lines = text.lines();
        match (lines.next(), lines.next().and_then(|line| line.strip_prefix("layout "))) {
            (Some(engine), Some(layout)) if layout == LAYOUT.to_string() => Ok(Some(engine.to_owned())),
            (_, layout) => Err(DirectoryError::OtherLayout {
                path: path.to_owned(),
                found: layout.unwrap_or("unknown").to_owned(),
            }),
        }
    }

    /// The directory for the engine's files.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An empty or missing directory may become a store. A lone lock file is left from an unfinished creation. A machine
/// that asks to join a cluster stores its key before it has a store. A certificate, however, shows that there was a
/// store: a node must not come back with an empty one by accident.
fn expect_empty(path: &Path) -> Result<(), DirectoryError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("cannot read", path)(error)),
    };
    for entry in entries {
        let name = entry.map_err(io("cannot read", path))?.file_name();
        let joins = name == CLUSTER && !path.join(CLUSTER).join(CERTIFICATE).exists();
        if name != LOCK_FILE && !files::is_draft(&name, STORE_FILE) && !joins {
            return Err(DirectoryError::NotAStore(path.to_owned()));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let lock_path = path.join(LOCK_FILE);
    let mut file = files::open_or_make(&lock_path).map_err(io("cannot open for writing", &lock_path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, file)),
        Err(TryLockError::Error(error)) => return Err(io("cannot lock", &lock_path)(error)),
    }
    // The process id only serves the error message: on a full disk the store must still open.
    let _ =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

fn lock_to_read(path: &Path) -> Result<Option<File>, DirectoryError> {
    let lock_path = path.join(LOCK_FILE);
    let file = match File::open(&lock_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io("cannot open", &lock_path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(in_use(path, file)),
        Err(TryLockError::Error(error)) => Err(io("cannot lock", &lock_path)(error)),
    }
}

/// The error for a lock held by another process. A writer has left its process id, readers have not.
fn in_use(path: &Path, mut lock: File) -> DirectoryError {
    let mut text = String::new();
    let writes = lock.try_lock_shared().is_err();
    let process =
        lock.read_to_string(&mut text).ok().filter(|_| writes).and_then(|_| text.trim().parse().ok());
    DirectoryError::InUse { path: path.to_owned(), process }
}

fn write_descriptor(path: &Path, engine: &str) -> Result<(), DirectoryError> {
    let target = path.join(STORE_FILE);
    let text = format!("{engine}\nlayout {LAYOUT}\n");
    files::write(&target, text.as_bytes()).map_err(io("cannot write", &target))
}

/// The directory may be readable by everyone if an older version or the user created it.
fn warn_if_open(path: &Path) {
    // An error here shows up again when the directory is used.
    if let Ok(Some(mode)) = files::open_to_others(path) {
        let path = path.display();
        tracing::warn!(
            "{path} is open to others on this machine (mode {mode:o}), and so may be what is in it: \
             `chmod -R go= {path}` keeps them out"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_its_engine() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/store");
        assert_eq!(Directory::engine_of(&path).unwrap(), None);
        drop(Directory::open(&path, "redb").unwrap());
        assert_eq!(Directory::engine_of(&path).unwrap().as_deref(), Some("redb"));
        let refusal = Directory::open(&path, "sled").unwrap_err();
        assert!(refusal.to_string().contains("is a redb store, not sled: open it with --store redb"));
    }

    #[test]
    fn may_hold_the_key_of_a_machine_that_joins_but_not_a_node_without_its_store() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join(CLUSTER)).unwrap();
        fs::write(parent.path().join("cluster/node.key"), "").unwrap();
        assert_eq!(Directory::engine_of(parent.path()).unwrap(), None);
        fs::write(parent.path().join("cluster/node.crt"), "").unwrap();
        let refusal = Directory::engine_of(parent.path());
        assert!(matches!(refusal, Err(DirectoryError::NotAStore(_))), "{refusal:?}");
        fs::remove_file(parent.path().join("cluster/node.crt")).unwrap();
        drop(Directory::open(parent.path(), "redb").unwrap());
        assert!(parent.path().join("cluster/node.key").exists());
    }

    #[test]
    fn a_descriptor_that_was_never_finished_is_no_obstacle() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("STORE.new-1-0"), "re").unwrap();
        drop(Directory::open(parent.path(), "redb").unwrap());
        assert_eq!(Directory::engine_of(parent.path()).unwrap().as_deref(), Some("redb"));
    }

    #[test]
    fn is_free_once_it_is_let_go_also_while_a_forked_process_has_it_open() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(parent.path(), "redb").unwrap();
        let inherited = directory.lock.as_ref().unwrap().try_clone().unwrap();
        drop(directory);
        drop(Directory::open(parent.path(), "redb").unwrap());
        drop(inherited);
    }

    #[test]
    fn held_by_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let held = Directory::open(parent.path(), "redb").unwrap();
        let refusal = Directory::open(parent.path(), "redb").unwrap_err().to_string();
        assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
        drop(held);
        Directory::open(parent.path(), "redb").unwrap();
    }

    #[test]
    fn is_read_by_several_while_nobody_writes() {
        let parent = tempfile::tempdir().unwrap();
        let read = || Directory::open_to_read(parent.path(), "redb");
        assert!(matches!(read(), Err(DirectoryError::NotAStore(_))));
        let written = Directory::open(parent.path(), "redb").unwrap();
        assert!(matches!(read(), Err(DirectoryError::InUse { .. })));
        drop(written);
        let readers = [read().unwrap(), read().unwrap()];
        assert!(matches!(Directory::open(parent.path(), "redb"), Err(DirectoryError::InUse { .. })));
        let refusal = Directory::open(parent.path(), "redb").unwrap_err().to_string();
        assert!(!refusal.contains("(process"), "{refusal}");
        drop(readers);
        // A copy on a read-only medium may lack the lock file.
        fs::remove_file(parent.path().join(LOCK_FILE)).unwrap();
        drop([read().unwrap(), read().unwrap()]);
        assert!(!parent.path().join(LOCK_FILE).exists());
    }

    #[test]
    fn refuses_what_is_not_a_store() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("thesis.doc"), "…").unwrap();
        assert!(matches!(Directory::open(parent.path(), "redb"), Err(DirectoryError::NotAStore(_))));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing was created");
        let file = parent.path().join("thesis.doc");
        assert!(matches!(Directory::open(&file, "redb"), Err(DirectoryError::NotADirectory(_))));
    }

    #[test]
    fn refuses_another_layout() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(STORE_FILE), "redb\nlayout 7\n").unwrap();
        let refusal = Directory::open(parent.path(), "redb").unwrap_err().to_string();
        assert!(refusal.contains("has layout 7, this program knows layout 1"), "{refusal}");
    }
}
