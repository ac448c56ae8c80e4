//! A memory store that counts the rows read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aevrion_core::store::{
    Capabilities, Durability, EventStore, MemoryStore, Page, ScanRequest, StoreError, Table, View, WriteBatch,
};
use async_trait::async_trait;
use bytes::Bytes;

/// The counting store; clones are the same store.
#[derive(Clone)]
pub(crate) struct Counted {
    store: Arc<MemoryStore>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    rows: AtomicU64,
    node_scans: AtomicU64,
    gets: AtomicU64,
}

struct CountedView(Arc<dyn View>, Arc<Counts>);

impl Default for Counted {
    fn default() -> Self {
        Self { store: Arc::new(MemoryStore::new()), counts: Arc::default() }
    }
}

impl Counted {
    /// Rows of scans so far, of all tables.
    pub(crate) fn rows(&self) -> u64 {
        self.counts.rows.load(Ordering::Relaxed)
    }

    /// Scans of stored nodes so far.
    pub(crate) fn node_scans(&self) -> u64 {
        self.counts.node_scans.load(Ordering::Relaxed)
    }

    /// Rows looked up one by one so far.
    pub(crate) fn gets(&self) -> u64 {
        self.counts.gets.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl View for CountedView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.1.gets.fetch_add(1, Ordering::Relaxed);
        self.0.get(table, key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        self.1.node_scans.fetch_add(u64::from(request.table == Table::Nodes), Ordering::Relaxed);
        let page = self.0.scan(request).await?;
        self.1.rows.fetch_add(page.len() as u64, Ordering::Relaxed);
        Ok(page)
    }
}

#[async_trait]
impl EventStore for Counted {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.store.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        Ok(Arc::new(CountedView(self.store.view().await?, Arc::clone(&self.counts))))
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
