//! Refuses a commit while the disk is nearly full.
//!
//! If sled 0.34 runs out of room during a flush, the flush waits for ever and the database is of no further use. So the
//! store checks for room first.

use std::io;
use std::path::Path;

use aevrion_core::store::StoreError;

/// The bytes that commits leave free: sled writes whole segments of 512 KiB, moves pages while it writes, and has to
/// write when it opens.
const RESERVE: u64 = 16 << 20;

/// The maximum of bytes written by opening.
const OPENING: u64 = 4 << 20;

/// Bytes reserved for each byte of a batch: sled writes pages, not rows, so a batch may take several times its own
/// size.
const PER_BYTE: u64 = 4;

/// Checks that a batch of `bytes` fits on the disk of `directory` with room to spare.
pub(crate) fn expect_room(directory: &Path, bytes: usize) -> Result<(), StoreError> {
    expect_free(directory, RESERVE + PER_BYTE * bytes as u64)
}

/// Checks that sled can open its files in `directory` without running out of room.
pub(crate) fn expect_room_to_open(directory: &Path) -> Result<(), StoreError> {
    expect_free(directory, OPENING)
}

fn expect_free(directory: &Path, needed: u64) -> Result<(), StoreError> {
    match free(directory)? {
        Some(free) if free < needed => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("sled needs {} MiB free, there are {}", needed >> 20, free >> 20),
        )
        .into()),
        _ => Ok(()),
    }
}

/// The free bytes on the disk, if the system reports them.
#[cfg(unix)]
fn free(directory: &Path) -> io::Result<Option<u64>> {
    let volume = rustix::fs::statvfs(directory)?;
    Ok(Some(volume.f_bavail.saturating_mul(volume.f_frsize)))
}

#[cfg(not(unix))]
fn free(_: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}
