//! A disk that can lose power, fill up and fail, on command.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// The unit of atomic writes in bytes: a torn write is torn at multiples of this.
const SECTOR: usize = 512;

/// Deterministic pseudo-random numbers for a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Default)]
struct Platters {
    /// The content that surely survives a loss of power.
    durable: Vec<u8>,
    /// The content visible to reads.
    current: Vec<u8>,
    /// The changes since the last sync, each of which may survive.
    unsynced: Vec<Change>,
    /// The number of operations until the power fails.
    power_for: Option<u64>,
    /// Whether writes fail for lack of room.
    full: bool,
    /// The number of further operations that fail without a reason.
    failures: u64,
}

/// A disk in memory. Clones share its content.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<Platters>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    /// The backends for a store, all on the same bytes.
    pub fn backends(&self) -> impl Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync + 'static {
        let disk = self.clone();
        move || Ok(Box::new(disk.clone()))
    }

    /// Makes the power fail after so many further operations.
    pub fn lose_power_after(&self, operations: u64) {
        self.lock().power_for = Some(operations);
    }

    /// Makes writes fail for lack of room, or succeed again.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Makes the next `operations` writes and syncs fail.
    pub fn fail_next(&self, operations: u64) {
        self.lock().failures = operations;
    }

    /// Flips one bit of the stored content.
    pub fn flip(&self, bit: usize) {
        let mut platters = self.lock();
        platters.current[bit / 8] ^= 1 << (bit % 8);
        let byte = platters.current[bit / 8];
        if let Some(durable) = platters.durable.get_mut(bit / 8) {
            *durable = byte;
        }
    }

    /// The size of the content in bytes.
    pub fn len(&self) -> usize {
        self.lock().current.len()
    }

    /// The disk after a loss of power: the synced content, and of the rest a selection of sectors by the seed.
    pub fn after_power_loss(&self, random: &mut Random) -> Self {
        let platters = self.lock();
        let mut image = platters.durable.clone();
        for change in &platters.unsynced {
            match change {
                Change::Length(length) if random.coin() => image.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => {
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        if random.coin() {
                            put(&mut image, offset + number * SECTOR, sector);
                        }
                    }
                }
            }
        }
        Self(Arc::new(Mutex::new(Platters { durable: image.clone(), current: image, ..Platters::default() })))
    }

    fn operate(&self, writes: bool) -> io::Result<MutexGuard<'_, Platters>> {
        let mut platters = self.lock();
        if let Some(left) = &mut platters.power_for {
            if *left == 0 {
                return Err(io::Error::other("the power is gone"));
            }
            *left -= 1;
        }
        if writes && platters.failures > 0 {
            platters.failures -= 1;
            return Err(io::Error::other("the disk failed"));
        }
        if writes && platters.full {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(platters)
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a small disk")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.operate(false)?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.operate(false)?;
        let stored = platters.current.get(place(offset)..place(offset) + out.len());
        out.copy_from_slice(stored.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platters = self.operate(true)?;
        platters.current.resize(place(len), 0);
        platters.unsynced.push(Change::Length(place(len)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.operate(true)?;
        for change in std::mem::take(&mut platters.unsynced) {
            match change {
                Change::Length(length) => platters.durable.resize(length, 0),
                Change::Write(offset, data) => put(&mut platters.durable, offset, &data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platters = self.operate(true)?;
        put(&mut platters.current, place(offset), data);
        platters.unsynced.push(Change::Write(place(offset), data.to_vec()));
        Ok(())
    }
}
