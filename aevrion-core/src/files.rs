//! Files and directories of a node: private to their owner, written atomically, and durable.
//!
//! They are created with their permissions, so there is no moment at which others on the machine could open them.
//! Permissions are Unix modes; elsewhere a file inherits those of its directory.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The suffix of a draft behind the file's own name.
const DRAFT: &str = ".new";

/// Whether the failed operation needed write access that this user, or everybody, lacks.
pub fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Makes a directory and its missing parents, durably (they survive a power cut). Only the owner may enter the new
/// directories (mode 0700).
///
/// # Errors
/// The system's error.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_directory(parent(path))?;
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_directory(parent(path))
}

/// Opens a file for reading and writing. A missing file is created for its owner alone (mode 0600).
///
/// # Errors
/// The system's error.
pub fn open_or_make(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().read(true).create(true).truncate(false)).open(path)
}

/// Writes a file atomically: its name always stands for the whole old or the whole new contents. Only its owner may
/// read it. The owner is that of the directory, if this user may set it: a service must be able to read a file that
/// root wrote for it.
///
/// # Errors
/// The system's error; the old contents remain.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = parent(path);
    make_directory(directory)?;
    let draft = draft_of(path);
    // A draft left behind by a crash may have other permissions.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(OpenOptions::new().create_new(true)).open(&draft)?;
    give_to_owner_of(directory, &file)?;
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&draft, path)?;
    sync_directory(directory)
}

/// Gives a file to the owner of a directory, if this user may.
///
/// # Errors
/// The system's error for either. A refusal to change the owner is no error.
pub fn give_to_owner_of(directory: &Path, file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let (owner, now) = (fs::metadata(directory)?, file.metadata()?);
        if owner.uid() != now.uid() {
            match fchown(file, Some(owner.uid()), Some(owner.gid())) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
    }
    #[cfg(not(unix))]
    let _ = (directory, file);
    Ok(())
}

/// The permissions of a file or directory, if others than its owner have access.
///
/// # Errors
/// The system's error.
pub fn open_to_others(path: &Path) -> io::Result<Option<u32>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        Ok(Some(mode).filter(|mode| mode & 0o077 != 0))
    }
    #[cfg(not(unix))]
    fs::metadata(path).map(|_| None)
}

/// Makes the names in a directory durable, where the system supports it.
///
/// # Errors
/// The system's error.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Whether this is the name of a draft of the file `of`, current or left behind by a crash.
pub(crate) fn is_draft(name: &std::ffi::OsStr, of: &str) -> bool {
    name.to_string_lossy().strip_prefix(of).is_some_and(|rest| rest.starts_with(DRAFT))
}

/// Creates a file, if it must, for its owner alone.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.write(true)
}

/// The directory of a name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path of the draft: beside the file, and unique, as no two files and no two writers of one file, in any process,
/// may share a draft.
fn draft_of(path: &Path) -> PathBuf {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!("{DRAFT}-{}-{number}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_its_owners_alone_whatever_lay_there_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("above/new/secret");
        write(&path, b"old").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(open_to_others(&path).unwrap(), Some(0o644));
        write(&path, b"secret").unwrap();
        drop(open_or_make(&path.with_file_name("other")).unwrap());
        let made = ["above", "above/new", "above/new/secret", "above/new/other"];
        for path in made.map(|name| directory.path().join(name)) {
            assert_eq!(open_to_others(&path).unwrap(), None, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "no draft is left");
    }

    #[cfg(unix)]
    #[test]
    fn what_root_writes_for_a_service_is_the_services() {
        use std::os::unix::fs::{MetadataExt, chown};
        let directory = tempfile::tempdir().unwrap();
        if chown(directory.path(), Some(12_345), Some(12_345)).is_err() {
            // Only root can give files away.
            return;
        }
        let path = directory.path().join("tokens");
        write(&path, b"").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 12_345);
    }

    #[test]
    fn no_two_drafts_are_one_file() {
        let drafts = ["node.key", "node.crt", "node.crt"].map(|name| draft_of(&Path::new("dir").join(name)));
        assert!(drafts[0] != drafts[1] && drafts[1] != drafts[2], "{drafts:?}");
        assert!(drafts.iter().all(|draft| draft.parent() == Some(Path::new("dir"))), "{drafts:?}");
        assert!(is_draft(drafts[0].file_name().unwrap(), "node.key"));
        assert!(!is_draft("node.key".as_ref(), "node.key"));
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
}
