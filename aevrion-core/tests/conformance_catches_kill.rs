//! The suite's `kill -9` can fail as well: these stores are correct unless they are killed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::support::custom_backend::LogStore;
use aevrion_core::store::{
    Capabilities, Durability, EventStore, KeyRange, MemoryStore, Pages, Projection, StoreError, Table, View,
    WriteBatch, conformance,
};
use async_trait::async_trait;

/// The part of a batch that stays in memory until the next one, or until the store is closed or dropped.
#[derive(Clone, Copy)]
enum Late {
    All,
    Half,
}

/// A store that acknowledges writes before they are on disk. Readers do not notice, since they read from memory.
struct Laggard {
    late: Late,
    memory: MemoryStore,
    disk: Arc<LogStore>,
    pending: Mutex<WriteBatch>,
}

impl Laggard {
    async fn open(directory: PathBuf, late: Late) -> io::Result<Self> {
        let (memory, disk) = (MemoryStore::new(), LogStore::open(directory)?);
        let view = disk.view().await.map_err(io::Error::other)?;
        let mut batch = WriteBatch::new();
        for table in Table::ALL {
            let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
            while let Some(page) = pages.next().await.map_err(io::Error::other)? {
                page.into_rows().for_each(|(key, value)| batch.put(table, key, value));
            }
        }
        memory.commit(batch, Durability::Buffered).await.map_err(io::Error::other)?;
        Ok(Self { late, memory, disk: Arc::new(disk), pending: Mutex::default() })
    }

    /// The rows to store now: the late ones of the last batch, and those of `batch` that are not late.
    fn due(&self, batch: WriteBatch) -> WriteBatch {
        let mut pending = self.pending.lock().expect("no panic under this lock");
        let mut due = std::mem::take(&mut *pending);
        for (table, writes) in batch.into_tables() {
            let in_time = match self.late {
                Late::All => 0,
                Late::Half => writes.len() / 2,
            };
            for (position, write) in writes.into_iter().enumerate() {
                let part = if position < in_time { &mut due } else { &mut *pending };
                match write.value {
                    Some(value) => part.put(table, write.key, value),
                    None => part.remove(table, write.key),
                }
            }
        }
        due
    }
}

#[async_trait]
impl EventStore for Laggard {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.memory.commit(batch.clone(), durability).await?;
        self.disk.commit(self.due(batch), durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        self.memory.view().await
    }

    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.memory.close().await?;
        let pending = self.due(WriteBatch::new());
        if !pending.is_empty() {
            self.disk.commit(pending, Durability::Immediate).await?;
        }
        self.disk.close().await
    }
}

impl Drop for Laggard {
    fn drop(&mut self) {
        let (disk, pending) = (self.disk.clone(), self.due(WriteBatch::new()));
        let write = move || runtime().block_on(disk.commit(pending, Durability::Immediate));
        // A closed store refuses this write, and then there is nothing left to write.
        let _ = std::thread::spawn(write).join();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn expect_a_complaint(late: Late) {
    let suite = conformance::run(move |directory| Laggard::open(directory, late));
    let panic =
        catch_unwind(AssertUnwindSafe(|| runtime().block_on(suite))).expect_err("the suite finds the bug");
    let complaint = panic.downcast_ref::<String>().expect("a panic with a text");
    assert!(
        complaint.contains("a killed store opens again"),
        "the suite names the promise, instead: {complaint}"
    );
}

#[test]
fn a_commit_acknowledged_too_early() {
    expect_a_complaint(Late::All);
}

#[test]
fn a_batch_half_of_which_is_late() {
    expect_a_complaint(Late::Half);
}
