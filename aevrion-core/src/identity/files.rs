//! The files of an identity. Every error names the path.

use std::fs;
use std::io;
use std::path::Path;

use super::IdentityError;
use crate::files;

/// The authority's certificate, which every node stores beside its own.
pub(super) const AUTHORITY_FILE: &str = "authority.crt";

/// Writes a file atomically and durably, accessible to its owner only.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::Io { doing: "cannot write", path: path.to_owned(), source };
    files::write(path, contents).map_err(failed)
}

/// Reads a file. `what` names it in the error if it is missing.
pub(super) fn read(path: &Path, what: &'static str) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing { what, path: path.to_owned() },
        _ => IdentityError::Io { doing: "cannot read", path: path.to_owned(), source },
    })
}

/// Reads a private key. A key that every user of the machine may read is refused, as any reader could act as this node,
/// or create nodes. A key that its group may read only causes a warning: some systems give a service's volumes to its
/// group at every start, and the node could not run there.
pub(super) fn read_key(path: &Path, what: &'static str) -> Result<String, IdentityError> {
    let key = read(path, what)?;
    let failed = |source| IdentityError::Io { doing: "cannot read", path: path.to_owned(), source };
    match files::open_to_others(path).map_err(failed)? {
        Some(mode) if mode & 0o007 != 0 => Err(IdentityError::Exposed { what, path: path.to_owned(), mode }),
        Some(mode) => {
            let path = path.display();
            tracing::warn!(
                "the {what} {path} is open to a group (mode {mode:o}): `chmod 600 {path}` closes it"
            );
            Ok(key)
        }
        None => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_missing_and_not_an_error_of_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let missing = read_key(&directory.path().join("key"), "private key");
        assert!(matches!(missing, Err(IdentityError::Missing { what: "private key", .. })), "{missing:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_everyone_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write(&path, b"secret").unwrap();
        assert_eq!(read_key(&path, "private key").unwrap(), "secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_key(&path, "private key").unwrap(), "secret");
        for mode in [0o604, 0o602, 0o644, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refusal = read_key(&path, "private key").unwrap_err().to_string();
            assert!(refusal.contains("chmod 600"), "{refusal}");
        }
    }
}
