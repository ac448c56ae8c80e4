//! A complete custom storage backend: one log file, to which every batch is appended and which is replayed on opening.
//!
//! ```text
//! record  = payload, framed | BLAKE3 of the payload, framed         framed: length as u64 LE | bytes
//! payload = for each write: table, u8 | 1 put or 0 removed, u8 | key, framed | value, framed
//! ```
//!
//! A record is valid as a whole or not at all, which makes a batch atomic; a torn tail after a crash is cut off. Views
//! are copies of persistent maps: isolated, and almost free. All rows stay in memory and the file never shrinks: a
//! lesson, not an engine. `tests/examples.rs` checks it against the contract in one line.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aevrion_core::store::{
    Capabilities, Direction, Directory, Durability, EventStore, Page, PageBuilder, Projection, ScanRequest,
    StoreError, Table, View, WriteBatch, blocking,
};
use aevrion_core::{Options, Replica};
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use imbl::OrdMap;

/// A store that is one log file.
pub(crate) struct LogStore(Arc<Shared>);

struct Shared {
    /// The log, or the reason for its loss. Locked while waiting for the disk; no reader needs it.
    log: Mutex<Result<Log, StoreError>>,
    latest: Mutex<Option<Snapshot>>,
}

struct Log {
    file: File,
    /// The end of the valid records; bytes behind it belong to a failed one.
    end: u64,
    _locked: Directory,
}

/// The rows of all tables, and thus a view. Copies share all rows with the original.
#[derive(Clone, Default)]
struct Snapshot([OrdMap<Bytes, Bytes>; Table::ALL.len()]);

impl LogStore {
    /// Opens the store in a directory, or makes one there.
    pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let directory = Directory::open(path, "log").map_err(io::Error::other)?;
        let (file, end, rows) = replay(directory.path())?;
        let log = Mutex::new(Ok(Log { file, end, _locked: directory }));
        Ok(Self(Arc::new(Shared { log, latest: Mutex::new(Some(rows)) })))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the whole records, and cuts off the rest.
fn replay(directory: &Path) -> io::Result<(File, u64, Snapshot)> {
    let file = File::options().append(true).create(true).open(directory.join("log"))?;
    let mut log = Bytes::from(fs::read(directory.join("log"))?);
    let (mut rows, mut end) = (Snapshot::default(), 0);
    while let Some(payload) = take_record(&mut log) {
        end += (8 + payload.len() + 8 + blake3::OUT_LEN) as u64;
        rows.apply(payload).ok_or(io::ErrorKind::InvalidData)?;
    }
    file.set_len(end)?;
    file.sync_all()?;
    // The file's name must be durable as well.
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, end, rows))
}

fn frame(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_frame(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    (length <= bytes.len() - 8).then(|| bytes.split_to(8 + length).slice(8..))
}

/// The payload of the next record, if it is complete.
fn take_record(log: &mut Bytes) -> Option<Bytes> {
    let (payload, hash) = (take_frame(log)?, take_frame(log)?);
    (blake3::hash(&payload).as_bytes() == &hash[..]).then_some(payload)
}

fn payload_of(batch: WriteBatch) -> Bytes {
    let mut payload = Vec::new();
    for (table, writes) in batch.into_tables() {
        for write in writes {
            payload.extend([table.tag(), u8::from(write.value.is_some())]);
            frame(&mut payload, &write.key);
            frame(&mut payload, &write.value.unwrap_or_default());
        }
    }
    payload.into()
}

impl Snapshot {
    fn apply(&mut self, mut payload: Bytes) -> Option<()> {
        while let [table, put, ..] = payload[..] {
            payload.advance(2);
            let (key, value) = (take_frame(&mut payload)?, take_frame(&mut payload)?);
            let rows = self.0.get_mut(usize::from(table))?;
            let _before = if put == 1 { rows.insert(key, value) } else { rows.remove(&key) };
        }
        Some(())
    }
}

impl Shared {
    fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let mut state = lock(&self.log);
        let log = state.as_mut().map_err(|error| error.clone())?;
        let (payload, mut record) = (payload_of(batch), Vec::new());
        frame(&mut record, &payload);
        frame(&mut record, blake3::hash(&payload).as_bytes());
        log.file.set_len(log.end)?;
        log.file.write_all(&record)?;
        let synced = if durability == Durability::Immediate { log.file.sync_data() } else { Ok(()) };
        if let Err(error) = synced {
            // The state of the disk is unknown now: only reopening the file tells it.
            *state = Err(StoreError::Unknown(Arc::new(error)));
            return state.as_ref().map(|_| ()).map_err(Clone::clone);
        }
        log.end += record.len() as u64;
        let mut next = lock(&self.latest).clone().ok_or(StoreError::Closed)?;
        next.apply(payload);
        *lock(&self.latest) = Some(next);
        Ok(())
    }
}

#[async_trait]
impl EventStore for LogStore {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.0);
        blocking(move || shared.commit(batch, durability)).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        Ok(Arc::new(lock(&self.0.latest).clone().ok_or(StoreError::Closed)?))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { persistent: true, power_safe: true, isolated_views: true, ..Capabilities::new("log") }
    }

    async fn close(&self) -> Result<(), StoreError> {
        *lock(&self.0.latest) = None;
        let log = std::mem::replace(&mut *lock(&self.0.log), Err(StoreError::Closed));
        blocking(move || Ok(log.map_or(Ok(()), |log| log.file.sync_data())?)).await
    }
}

#[async_trait]
impl View for Snapshot {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0[usize::from(table.tag())].get(key).cloned())
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        let (mut page, range) = (PageBuilder::new(request.limit), request.range);
        if range.is_empty() {
            return Ok(page.end_of_range());
        }
        let table = &self.0[usize::from(request.table.tag())];
        let mut rows = table.range::<(Bound<&[u8]>, Bound<&[u8]>), [u8]>((range.start, range.end));
        let forward = request.direction == Direction::Forward;
        while let Some((key, value)) = if forward { rows.next() } else { rows.next_back() } {
            if page.is_full() {
                return Ok(page.more_follow());
            }
            page.push(key, if request.projection == Projection::Rows { value } else { &[] });
        }
        Ok(page.end_of_range())
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let replica = Replica::open(LogStore::open(directory.path())?, Options::default()).await?;
    replica.put("plane:N14228", "departed").await?;
    replica.put("plane:N14228", "arrived").await?;
    println!("now: {:?}", replica.get("plane:N14228").await?);
    for event in replica.history("plane:N14228", &Default::default()).await?.events {
        println!("{} ms: {:?}", event.timestamp().as_millis(), event.value().data());
    }
    Ok(replica.close().await?)
}
