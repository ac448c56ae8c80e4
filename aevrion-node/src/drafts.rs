//! Temporary files: they get their name when complete, and are removed otherwise, also if a signal ends the process
//! before their owner could remove them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempPath};

use crate::cleanup::{Cleanup, Registration, Undo};

/// A temporary file, removed on drop.
pub(crate) struct Draft {
    file: File,
    /// Nothing if the target is no regular file, such as a pipe or a device: that keeps its name.
    place: Option<Place>,
}

/// The paths of a draft.
struct Place {
    temporary: TempPath,
    target: PathBuf,
    registration: Registration,
}

impl Draft {
    /// Creates a draft of `target`, beside it, or beside the file it links to. Its permissions are those of any new
    /// file of this user.
    pub(crate) fn of(target: &Path, cleanup: &Cleanup) -> io::Result<Self> {
        if fs::metadata(target).is_ok_and(|there| !there.is_file()) {
            return Ok(Self { file: File::options().write(true).open(target)?, place: None });
        }
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let (draft, registration) = cleanup.make(|| {
            let draft = builder().tempfile_in(parent.unwrap_or(Path::new(".")))?;
            let path = draft.path().to_owned();
            // It may be gone already, and an error has no reader any more.
            let undo: Undo = Box::new(move || drop(fs::remove_file(&path)));
            Ok::<_, io::Error>((draft, undo))
        })?;
        let (file, temporary) = NamedTempFile::into_parts(draft);
        Ok(Self { file, place: Some(Place { temporary, target, registration }) })
    }

    /// The file to write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable, and gives it its name, replacing a file of that name.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Some(Place { temporary, target, registration }) = self.place else { return Ok(()) };
        self.file.sync_all()?;
        registration.finish(|| temporary.persist(target)).map_err(|error| error.error)
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
