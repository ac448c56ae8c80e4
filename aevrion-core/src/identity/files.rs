//! Files that hold secrets, or whose loss would be felt: whole or not there, durable, and private where they must be.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::IdentityError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner alone.
    Owner,
    /// Everyone.
    All,
}

/// Writes a file so that its name always stands for the old or for the new contents, whole, whatever happens.
pub(super) fn write(path: &Path, contents: &[u8], readers: Readers) -> Result<(), IdentityError> {
    let write = || {
        let directory = parent(path);
        make_directory(directory)?;
        let draft = draft_of(path);
        let mut file = create(&draft, readers)?;
        file.write_all(contents)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&draft, path)?;
        sync_directory(directory)
    };
    write().map_err(|source| IdentityError::Io { doing: "cannot write", path: path.to_owned(), source })
}

/// Makes a directory, and those above it that are missing, so that they outlast a power cut.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_directory(parent(path))?;
    match fs::create_dir(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_directory(parent(path))
}

/// The directory that a name stands in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a file is written before it gets its name: beside it, and where nothing else is, for neither two files nor two
/// who write the same one, in whatever process, may share a draft.
fn draft_of(path: &Path) -> PathBuf {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".new-{}-{number}", std::process::id()));
    path.with_file_name(name)
}

/// Reads a file that is called `what` where it is missing.
pub(super) fn read(path: &Path, what: &'static str) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing { what, path: path.to_owned() },
        _ => IdentityError::Io { doing: "cannot read", path: path.to_owned(), source },
    })
}

/// Made with its permissions, not given them afterwards: there is no moment at which others can open it.
fn create(path: &Path, readers: Readers) -> io::Result<File> {
    // What a crash left behind may have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if readers == Readers::Owner { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = readers;
    options.open(path)
}

/// Makes the names in a directory durable, where the system has such a thing.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_secret_is_its_owners_alone_whatever_lay_there_before() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/secret");
        write(&path, b"public", Readers::All).unwrap();
        write(&path, b"secret", Readers::Owner).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path, "secret").unwrap(), "secret");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn no_two_drafts_are_one_file() {
        let drafts = ["node.key", "node.crt", "node.crt"].map(|name| draft_of(&Path::new("dir").join(name)));
        assert!(drafts[0] != drafts[1] && drafts[1] != drafts[2], "{drafts:?}");
        assert!(drafts.iter().all(|draft| draft.parent() == Some(Path::new("dir"))), "{drafts:?}");
    }

    #[test]
    fn directories_are_made_down_to_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b/c");
        make_directory(&deep).unwrap();
        make_directory(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(make_directory(&directory.path().join("file/below")).is_err());
    }

    #[test]
    fn what_is_not_there_is_missing_and_not_an_error_of_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let missing = read(&directory.path().join("key"), "private key");
        assert!(matches!(missing, Err(IdentityError::Missing { what: "private key", .. })), "{missing:?}");
    }
}
