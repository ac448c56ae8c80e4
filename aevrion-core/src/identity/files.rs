//! Files that hold secrets, or whose loss would be felt: whole or not there, durable, and private where they must be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory {
            fs::create_dir_all(directory)?;
        }
        // Two processes must not write the same draft.
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = create(&draft, readers)?;
        file.write_all(contents)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&draft, path)?;
        sync_directory(directory.unwrap_or(Path::new(".")))
    };
    write().map_err(|source| IdentityError::Io { doing: "cannot write", path: path.to_owned(), source })
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
    fn what_is_not_there_is_missing_and_not_an_error_of_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let missing = read(&directory.path().join("key"), "private key");
        assert!(matches!(missing, Err(IdentityError::Missing { what: "private key", .. })), "{missing:?}");
    }
}
