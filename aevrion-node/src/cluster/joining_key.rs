//! The key of a machine that asks to join: stored in its directory before the request, and reused by the next attempt.
//!
//! A token admits one key. If the answer to a join is lost, the cluster has admitted the machine and the machine does not
//! know; it may ask again, but only with the same key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aevrion_core::files;
use aevrion_core::identity::{IdentityError, NodeKey};

use super::ClusterDir;

/// The file in which [`aevrion_core::identity::Identity`] looks for the key. Without a certificate there is no identity.
const KEY_FILE: &str = "node.key";

/// There is no key to ask with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoiningKeyError {
    #[error("cannot keep {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}. Remove it to begin anew", path.display())]
    Unreadable { path: PathBuf, source: IdentityError },
    #[error(transparent)]
    NotMade(IdentityError),
}

/// The stored key.
pub(super) struct Kept {
    pub(super) key: NodeKey,
    /// The directories created for it, the innermost first; nothing for the key of an earlier attempt.
    new_in: Option<Vec<PathBuf>>,
}

/// The key of an earlier attempt, from a directory without an identity, or else a new one, stored there durably.
pub(super) fn load_or_create(cluster_dir: &ClusterDir) -> Result<Kept, JoiningKeyError> {
    let path = cluster_dir.path().join(KEY_FILE);
    let failed = |source| JoiningKeyError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let unreadable = |source| JoiningKeyError::Unreadable { path: path.clone(), source };
            let key = NodeKey::from_pem(&text).map_err(unreadable)?;
            Ok(Kept { key, new_in: None })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = NodeKey::generate().map_err(JoiningKeyError::NotMade)?;
            let missing = missing(cluster_dir.path());
            files::write(&path, key.to_pem().as_bytes()).map_err(failed)?;
            Ok(Kept { key, new_in: Some(missing) })
        }
        Err(error) => Err(failed(error)),
    }
}

impl Kept {
    /// Removes a key that was not admitted, with the directories created for it. The key of an earlier attempt stays: it
    /// may have been admitted.
    pub(super) fn forget(self, cluster_dir: &ClusterDir) {
        let Some(made) = self.new_in else { return };
        // A key that cannot be removed does no harm: the next attempt reuses it.
        let _ = fs::remove_file(cluster_dir.path().join(KEY_FILE));
        for directory in made {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The missing directories of a path, the innermost first.
fn missing(directory: &Path) -> Vec<PathBuf> {
    let missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    directory.ancestors().take_while(missing).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_attempt_is_that_of_the_next() {
        let place = tempfile::tempdir().unwrap();
        let cluster_dir = ClusterDir::of(&place.path().join("above/data"));
        let first = load_or_create(&cluster_dir).unwrap();
        let again = load_or_create(&cluster_dir).unwrap();
        assert_eq!(first.key.node(), again.key.node());
        assert!(cluster_dir.identity().unwrap().is_none(), "a key is no identity");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = fs::metadata(cluster_dir.path().join(KEY_FILE)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
        again.forget(&cluster_dir);
        assert!(cluster_dir.path().join(KEY_FILE).exists(), "the earlier attempt may have been heard");
        first.forget(&cluster_dir);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_was_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let cluster_dir = ClusterDir::of(place.path());
        load_or_create(&cluster_dir).unwrap().forget(&cluster_dir);
        assert!(place.path().exists() && !cluster_dir.path().exists());
    }
}
