//! The reference store: in memory only, lost with the process.
//!
//! Persistent maps make a view a pointer copy, and a writer never waits for a reader.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use imbl::OrdMap;

use super::{
    Capabilities, Direction, Durability, EventStore, Page, PageBuilder, Projection, ScanRequest, StoreError,
    Table, View, WriteBatch,
};
use crate::coop::charge;

type Tables = [OrdMap<Bytes, Bytes>; Table::ALL.len()];

/// A store without a disk, for tests, caches and simulations. Its commits are atomic like those of any engine.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Option<Arc<MemoryView>>>,
}

/// One state of a [`MemoryStore`].
#[derive(Debug, Clone, Default)]
struct MemoryView {
    tables: Tables,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { tables: Mutex::new(Some(Arc::default())) }
    }

    /// An independent store with the same content. Cost: a few pointers.
    #[cfg(feature = "testkit")]
    pub(crate) fn fork(&self) -> Self {
        Self { tables: Mutex::new(self.lock().clone()) }
    }

    /// The keys of a table, ascending.
    #[cfg(feature = "testkit")]
    pub(crate) fn keys(&self, table: Table) -> Vec<Bytes> {
        let state = self.lock();
        state.iter().flat_map(|state| state.tables[usize::from(table.tag())].keys().cloned()).collect()
    }

    /// Flips a bit of a row, if it exists, as a failing disk does. Earlier views do not show it.
    #[cfg(feature = "testkit")]
    pub(crate) fn flip(&self, table: Table, key: &[u8], byte: u64, bit: u64) {
        let mut state = self.lock();
        let Some(present) = &*state else { return };
        let mut next = MemoryView::clone(present);
        let rows = &mut next.tables[usize::from(table.tag())];
        let Some(mut row) = rows.get(key).map(|row| row.to_vec()).filter(|row| !row.is_empty()) else {
            return;
        };
        let place = usize::try_from(byte % row.len() as u64).unwrap_or_default();
        row[place] ^= 1 << bit;
        rows.insert(Bytes::copy_from_slice(key), row.into());
        *state = Some(Arc::new(next));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<MemoryView>>> {
        // A panic elsewhere cannot leave half a commit: a single assignment installs the new state.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn commit(&self, batch: WriteBatch, _durability: Durability) -> Result<(), StoreError> {
        let mut next = MemoryView::clone(self.lock().as_ref().ok_or(StoreError::Closed)?);
        for (table, writes) in batch.into_tables() {
            let rows = &mut next.tables[usize::from(table.tag())];
            for write in writes {
                charge(1).await;
                match write.value {
                    Some(value) => rows.insert(write.key, value),
                    None => rows.remove(&write.key),
                };
            }
        }
        *self.lock() = Some(Arc::new(next));
        Ok(())
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        let view = self.lock().clone().ok_or(StoreError::Closed)?;
        Ok(view)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { isolated_views: true, ..Capabilities::new("memory") }
    }

    async fn close(&self) -> Result<(), StoreError> {
        *self.lock() = None;
        Ok(())
    }
}

#[async_trait]
impl View for MemoryView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tables[usize::from(table.tag())].get(key).cloned())
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        if request.range.is_empty() {
            return Ok(PageBuilder::new(request.limit).end_of_range());
        }
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (request.range.start, request.range.end);
        let rows = self.tables[usize::from(request.table.tag())].range::<_, [u8]>(bounds);
        Ok(match request.direction {
            Direction::Forward => fill(rows, request),
            Direction::Backward => fill(rows.rev(), request),
        })
    }
}

fn fill<'a>(rows: impl Iterator<Item = (&'a Bytes, &'a Bytes)>, request: ScanRequest<'_>) -> Page {
    let mut page = PageBuilder::new(request.limit);
    for (key, value) in rows {
        if page.is_full() {
            return page.more_follow();
        }
        page.push(key, if request.projection == Projection::Rows { value } else { &[] });
    }
    page.end_of_range()
}
