//! A small separate file system, for tests of disk behaviour.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

const MIB: usize = 1 << 20;

/// A file system of a few MiB. It is unmounted with its directory, also after a panic.
pub(crate) struct SmallDisk {
    mounted: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with a message, if mounting is not allowed.
    pub(crate) fn new(mib: usize) -> Option<Self> {
        let mounted = tempfile::tempdir().expect("a directory");
        let size = std::ffi::CString::new(format!("size={mib}m")).expect("it has no zeros");
        match rustix::mount::mount("tmpfs", mounted.path(), "tmpfs", MountFlags::empty(), Some(&*size)) {
            Ok(()) => Some(Self { mounted }),
            Err(error) => {
                eprintln!("SKIPPED: no small file system can be mounted here ({error}): it takes root");
                None
            }
        }
    }

    /// Makes the file system read-only.
    pub(crate) fn forbid_writing(&self) {
        let flags = MountFlags::RDONLY;
        rustix::mount::mount_remount(self.path(), flags, "").expect("nobody has a file open for writing");
    }

    /// Makes the file system writable again.
    pub(crate) fn allow_writing(&self) {
        rustix::mount::mount_remount(self.path(), MountFlags::empty(), "").expect("it is mounted");
    }

    pub(crate) fn path(&self) -> &Path {
        self.mounted.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Fills room that a test frees later.
    pub(crate) fn put_ballast(&self, mib: usize) {
        fs::write(self.path().join("ballast"), vec![0; mib * MIB]).expect("there is room for the ballast");
    }

    pub(crate) fn remove_ballast(&self) {
        fs::remove_file(self.path().join("ballast")).expect("the ballast is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached, because a panic may leave a store open.
        if let Err(error) = rustix::mount::unmount(self.path(), UnmountFlags::DETACH) {
            eprintln!("{} could not be unmounted: {error}", self.path().display());
        }
    }
}
