//! Files in the making: they get their name when they are whole, and are gone when they never will be, also if a signal
//! ends the process before their owner could remove them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempPath};

/// Those that are there now.
static DRAFTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file in the making. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    /// Where it is, and what it will be called; nothing if what is written to is no file, such as a pipe or a device: that
    /// keeps its name.
    place: Option<(TempPath, PathBuf)>,
}

impl Draft {
    /// Begins a file that will be `target`, beside it, or beside what it links to. Whoever may read what this user makes may
    /// read it.
    pub(crate) fn of(target: &Path) -> io::Result<Self> {
        if fs::metadata(target).is_ok_and(|there| !there.is_file()) {
            return Ok(Self { file: File::options().write(true).open(target)?, place: None });
        }
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Locked meanwhile: a signal sees it either not made yet, or in the list.
        let mut drafts = lock();
        let draft = builder().tempfile_in(parent.unwrap_or(Path::new(".")))?;
        drafts.push(draft.path().to_owned());
        let (file, place) = NamedTempFile::into_parts(draft);
        Ok(Self { file, place: Some((place, target)) })
    }

    /// What is written to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable, and gives it its name, of which a file that had it before is no more.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Some((place, target)) = self.place else { return Ok(()) };
        self.file.sync_all()?;
        let mut drafts = lock();
        drafts.retain(|draft| draft.as_path() != &*place);
        place.persist(target).map_err(|error| error.error)
    }
}

/// A draft that nothing is said about is private; the file is to be like any other that this user makes.
fn builder() -> Builder<'static, 'static> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no permissions to give"))]
    let mut builder = Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the umask takes away.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Removes all of them: the process ends. Whoever is about to make another waits until it has.
pub(crate) fn remove_all() {
    let drafts = lock();
    for draft in drafts.iter() {
        // It may be gone already, and there is nobody left to tell.
        let _ = fs::remove_file(draft);
    }
    std::mem::forget(drafts);
}

fn lock() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    DRAFTS.lock().unwrap_or_else(PoisonError::into_inner)
}
