//! Temporary files: they get their name when complete, and are removed otherwise, also if a signal ends the process
//! before their owner could remove them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempPath};

/// The existing drafts.
static DRAFTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary file, removed on drop.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    /// Its path and its future name; nothing if the target is no regular file, such as a pipe or a device: that keeps
    /// its name.
    place: Option<(TempPath, PathBuf)>,
}

impl Draft {
    /// Creates a draft of `target`, beside it, or beside the file it links to. Its permissions are those of any new
    /// file of this user.
    pub(crate) fn of(target: &Path) -> io::Result<Self> {
        if fs::metadata(target).is_ok_and(|there| !there.is_file()) {
            return Ok(Self { file: File::options().write(true).open(target)?, place: None });
        }
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        // The lock covers the creation: a signal sees the draft either not created, or in the list.
        let mut drafts = lock();
        let draft = builder().tempfile_in(parent.unwrap_or(Path::new(".")))?;
        drafts.push(draft.path().to_owned());
        let (file, place) = NamedTempFile::into_parts(draft);
        Ok(Self { file, place: Some((place, target)) })
    }

    /// The file to write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable, and gives it its name, replacing a file of that name.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Some((place, target)) = self.place else { return Ok(()) };
        self.file.sync_all()?;
        let mut drafts = lock();
        drafts.retain(|draft| draft.as_path() != &*place);
        place.persist(target).map_err(|error| error.error)
    }
}

/// Drafts are private by default; the file should have the permissions of any new file.
fn builder() -> Builder<'static, 'static> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no permissions to give"))]
    let mut builder = Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask is subtracted.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Removes all drafts as the process ends. The lock is never released: creating another draft blocks until the end.
pub(crate) fn remove_all() {
    let drafts = lock();
    for draft in drafts.iter() {
        // It may be gone already, and an error has no reader any more.
        let _ = fs::remove_file(draft);
    }
    std::mem::forget(drafts);
}

fn lock() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    DRAFTS.lock().unwrap_or_else(PoisonError::into_inner)
}
