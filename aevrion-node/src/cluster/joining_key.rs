//! The key of a machine that asks to join: kept in its directory before it asks, and there for the next attempt.
//!
//! A token is good for one key. If the answer to a join is lost, the cluster takes the machine for a node and the machine
//! knows nothing of it; it may ask again, but only as the same one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aevrion_core::files;
use aevrion_core::identity::NodeKey;

use super::Home;
use crate::failure::Failure;

/// Where [`aevrion_core::identity::Identity`] expects it. It is no identity as long as there is no certificate.
const KEY_FILE: &str = "node.key";

/// The key to ask with.
pub(super) struct Kept {
    pub(super) key: NodeKey,
    /// The directories that were made for it, the innermost first; nothing if it is that of an earlier attempt.
    new_in: Option<Vec<PathBuf>>,
}

/// The key that an earlier attempt left in a directory without identity, or else a new one, durable there.
pub(super) fn keep(home: &Home) -> Result<Kept, Failure> {
    let path = home.path().join(KEY_FILE);
    let failed = |error: io::Error| Failure::error(format!("cannot keep {}: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(text) => {
            let key = NodeKey::from_pem(&text).map_err(|error| {
                Failure::error(format!("{}: {error}. Remove it to begin anew", path.display()))
            })?;
            Ok(Kept { key, new_in: None })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = NodeKey::generate().map_err(Failure::error)?;
            let missing = missing(home.path());
            files::write(&path, key.to_pem().as_bytes()).map_err(failed)?;
            Ok(Kept { key, new_in: Some(missing) })
        }
        Err(error) => Err(failed(error)),
    }
}

impl Kept {
    /// Nobody has taken it for a node: removes it, with the directories that were made for it. That of an earlier attempt
    /// stays, for about that one nothing is known.
    pub(super) fn forget(self, home: &Home) {
        let Some(made) = self.new_in else { return };
        // What cannot be removed does no harm: the next attempt takes it.
        let _ = fs::remove_file(home.path().join(KEY_FILE));
        for directory in made {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The directories that are missing, the innermost first.
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
        let home = Home::of(&place.path().join("above/data"));
        let first = keep(&home).unwrap();
        let again = keep(&home).unwrap();
        assert_eq!(first.key.node(), again.key.node());
        assert!(home.identity().unwrap().is_none(), "a key is no identity");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = fs::metadata(home.path().join(KEY_FILE)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
        again.forget(&home);
        assert!(home.path().join(KEY_FILE).exists(), "the earlier attempt may have been heard");
        first.forget(&home);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_was_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::of(place.path());
        keep(&home).unwrap().forget(&home);
        assert!(place.path().exists() && !home.path().exists());
    }
}
