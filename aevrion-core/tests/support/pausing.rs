//! A memory store that pauses the reading of the events of a time, on demand.

use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aevrion_core::store::{
    Capabilities, Durability, EventStore, MemoryStore, Page, ScanRequest, StoreError, Table, View, WriteBatch,
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

/// The pausing store; clones are the same store.
#[derive(Clone)]
pub(crate) struct Pausing(Arc<Inner>);

struct Inner {
    store: MemoryStore,
    /// The milliseconds whose events are read in vain while it is paused.
    time: RangeInclusive<u64>,
    is_paused: AtomicBool,
    gate: Semaphore,
    /// The number of scans that wait, or have waited.
    stopped: watch::Sender<usize>,
}

impl Pausing {
    pub(crate) fn new(time: RangeInclusive<u64>) -> Self {
        let (store, stopped) = (MemoryStore::new(), watch::Sender::new(0));
        Self(Arc::new(Inner {
            store,
            time,
            is_paused: AtomicBool::new(false),
            gate: Semaphore::new(0),
            stopped,
        }))
    }

    /// Lets further scans that meet the time wait for [`Pausing::resume`]. Searches for one row go on.
    pub(crate) fn pause(&self) {
        self.0.is_paused.store(true, Ordering::SeqCst);
    }

    pub(crate) fn resume(&self) {
        self.0.is_paused.store(false, Ordering::SeqCst);
        self.0.gate.add_permits(*self.0.stopped.borrow());
    }

    /// Lets one stopped scan go on.
    pub(crate) fn let_one_pass(&self) {
        self.0.gate.add_permits(1);
    }

    /// Waits until so many scans were stopped.
    pub(crate) async fn stopped(&self, scans: usize) {
        self.0.stopped.subscribe().wait_for(|stopped| *stopped >= scans).await.unwrap();
    }

    fn stops(&self, request: &ScanRequest<'_>) -> bool {
        let time = |bound: Bound<&[u8]>, open: u64| match bound {
            Bound::Included(key) | Bound::Excluded(key) => {
                key.first_chunk().map_or(open, |time| u64::from_be_bytes(*time))
            }
            Bound::Unbounded => open,
        };
        let (first, last) = (time(request.range.start, 0), time(request.range.end, u64::MAX));
        self.0.is_paused.load(Ordering::SeqCst)
            && request.table == Table::Events
            && request.limit.rows > 1
            && first <= *self.0.time.end()
            && last >= *self.0.time.start()
    }
}

struct PausingView(Arc<dyn View>, Pausing);

#[async_trait]
impl View for PausingView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(table, key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        if self.1.stops(&request) {
            let inner = &self.1.0;
            inner.stopped.send_modify(|stopped| *stopped += 1);
            inner.gate.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        }
        self.0.scan(request).await
    }
}

#[async_trait]
impl EventStore for Pausing {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.0.store.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        Ok(Arc::new(PausingView(self.0.store.view().await?, self.clone())))
    }

    fn capabilities(&self) -> Capabilities {
        self.0.store.capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
