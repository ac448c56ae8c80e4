//! The file under redb, and the fence between a failed database and its successor.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aevrion_core::files;
use redb::StorageBackend;

/// A file, read and written at offsets. It takes no lock: the store's directory is locked already, and the lock must
/// not keep a reopened database out.
#[derive(Debug)]
pub(crate) struct FileBackend(pub(crate) File);

impl FileBackend {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        files::open_or_make(path).map(Self)
    }
}

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    #[cfg(unix)]
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }

    #[cfg(unix)]
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, data, offset)
    }

    #[cfg(windows)]
    fn read(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(&self.0, out, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out = &mut out[read..];
            offset += read as u64;
        }
        Ok(())
    }

    #[cfg(windows)]
    fn write(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.0, data, offset)?;
            data = &data[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Raised when a database has failed. From then on it cannot touch its file, which its successor may have opened.
#[derive(Debug, Default)]
pub(crate) struct Fence(AtomicBool);

impl Fence {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A backend behind a fence.
pub(crate) struct Fenced {
    backend: Box<dyn StorageBackend>,
    fence: Arc<Fence>,
}

impl Fenced {
    pub(crate) fn new(backend: Box<dyn StorageBackend>, fence: Arc<Fence>) -> Self {
        Self { backend, fence }
    }

    fn behind_fence(&self) -> io::Result<&dyn StorageBackend> {
        if self.fence.is_raised() {
            return Err(io::Error::other("the database was reopened after a failure"));
        }
        Ok(&*self.backend)
    }
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend.fmt(f)
    }
}

impl StorageBackend for Fenced {
    fn len(&self) -> io::Result<u64> {
        self.behind_fence()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.behind_fence()?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.behind_fence()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.behind_fence()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.behind_fence()?.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}
