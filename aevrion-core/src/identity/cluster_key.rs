//! The key of a cluster: what its nodes know and its clients do not.

use std::fmt;
use std::path::Path;

use super::IdentityError;
use super::error::unreadable;
use super::files;
use crate::chance::random;

const KEY_FILE: &str = "cluster.key";
const KEY: &str = "cluster's key";

/// A secret that all nodes of a cluster share. The founder draws it, and a node gets it with its certificate. Not
/// printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClusterKey([u8; 16]);

impl ClusterKey {
    /// Draws a key.
    pub fn generate() -> Self {
        Self(random())
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads `cluster.key` in `directory`; `None` if there is none, as in clusters of older releases.
    ///
    /// # Errors
    /// [`IdentityError`] if it cannot be read, or everyone may read it.
    pub fn load(directory: &Path) -> Result<Option<Self>, IdentityError> {
        match files::read_key(&directory.join(KEY_FILE), KEY) {
            Ok(text) => Self::from_hex(text.trim()).map(Some),
            Err(IdentityError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes `cluster.key`, which is secret, to `directory`.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn store(&self, directory: &Path) -> Result<(), IdentityError> {
        files::write(&directory.join(KEY_FILE), self.to_hex().as_bytes())
    }

    /// The key of a text.
    ///
    /// # Errors
    /// [`IdentityError::Unreadable`] unless it has 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, IdentityError> {
        let mut key = [0; 16];
        hex::decode_to_slice(text, &mut key).map_err(unreadable(KEY))?;
        Ok(Self(key))
    }

    /// The key as 32 hexadecimal digits, which are secret.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_by_its_directory_and_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ClusterKey::load(directory.path()).unwrap(), None);
        let key = ClusterKey::generate();
        assert_ne!(key, ClusterKey::generate());
        key.store(directory.path()).unwrap();
        assert_eq!(ClusterKey::load(directory.path()).unwrap(), Some(key));
        assert_eq!(format!("{key:?}"), "ClusterKey(..)");
        std::fs::write(directory.path().join(KEY_FILE), "short").unwrap();
        assert!(matches!(ClusterKey::load(directory.path()), Err(IdentityError::Unreadable { .. })));
    }
}
