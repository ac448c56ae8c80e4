//! A memory store that outlives its replicas, with failures on demand.

#![allow(unreachable_pub, reason = "what all tests of a crate share")]

pub mod counted;
#[path = "../../examples/custom_backend.rs"]
pub mod custom_backend;
pub mod dressed;
pub mod held;
pub mod histories;
pub mod line;
pub mod node;
pub mod pair;
pub mod pausing;
pub mod running;
pub mod scripted;
pub mod tree_model;
pub mod waiting;
pub mod yielding;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aevrion_core::store::{
    Capabilities, Durability, EventStore, KeyRange, MemoryStore, Page, Pages, Projection, ScanRequest,
    StoreError, Table, View, WriteBatch,
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

/// A memory store that can be closed and opened again; clones are the same store.
#[derive(Clone)]
pub struct Kept(Arc<Inner>);

struct Inner {
    store: MemoryStore,
    commits: AtomicU64,
    syncs: AtomicU64,
    /// Each commit takes a permit; without permits commits wait.
    limiter: Semaphore,
    /// The next commit is stored, but reports an error.
    lies: AtomicBool,
    /// The number of further reads that fail.
    failing_reads: AtomicU64,
    /// The number of further views that are refused.
    failing_views: AtomicU64,
    /// The number of further commits that are refused.
    failing_commits: AtomicU64,
    /// The next commit panics.
    panics: AtomicBool,
    reads: AtomicU64,
    /// The number of reads of the table `bodies` among the reads.
    body_reads: AtomicU64,
}

/// Fails if `failing` has failures left, and uses one up.
fn fail_if_told(failing: &AtomicU64) -> Result<(), StoreError> {
    let failed = failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if failed.is_ok() { Err(std::io::Error::other("the disk failed").into()) } else { Ok(()) }
}

/// A view whose reads fail on demand.
struct Flaky(Arc<dyn View>, Kept);

impl Flaky {
    fn read(&self, table: Table) -> Result<(), StoreError> {
        self.1.0.reads.fetch_add(1, Ordering::SeqCst);
        self.1.0.body_reads.fetch_add(u64::from(table == Table::Bodies), Ordering::SeqCst);
        fail_if_told(&self.1.0.failing_reads)
    }
}

#[async_trait]
impl View for Flaky {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(table)?;
        self.0.get(table, key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        self.read(request.table)?;
        self.0.scan(request).await
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self(Arc::new(Inner {
            store: MemoryStore::new(),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            limiter: Semaphore::new(Semaphore::MAX_PERMITS),
            lies: AtomicBool::new(false),
            failing_reads: AtomicU64::new(0),
            failing_views: AtomicU64::new(0),
            failing_commits: AtomicU64::new(0),
            panics: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            body_reads: AtomicU64::new(0),
        }))
    }
}

impl Kept {
    /// A copy of all rows, like a copied data directory.
    pub async fn copied(&self) -> Result<Self, StoreError> {
        let (copy, view) = (Self::default(), self.0.store.view().await?);
        let mut batch = WriteBatch::new();
        for table in Table::ALL {
            let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
            while let Some(page) = pages.next().await? {
                page.into_rows().for_each(|(key, value)| batch.put(table, key, value));
            }
        }
        copy.0.store.commit(batch, Durability::Immediate).await?;
        Ok(copy)
    }

    /// A store whose commits wait for [`Kept::let_commit`].
    pub fn gated() -> Self {
        let kept = Self::default();
        kept.close_gate();
        kept
    }

    /// Makes further commits wait for [`Kept::let_commit`].
    pub fn close_gate(&self) {
        self.0.limiter.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets so many further commits pass.
    pub fn let_commit(&self, commits: usize) {
        self.0.limiter.add_permits(commits);
    }

    /// Stores the next commit, but reports a failure.
    pub fn lie_once(&self) {
        self.0.lies.store(true, Ordering::SeqCst);
    }

    /// Lets so many further reads fail.
    pub fn fail_reads(&self, reads: u64) {
        self.0.failing_reads.store(reads, Ordering::SeqCst);
    }

    /// Refuses so many further views.
    pub fn fail_views(&self, views: u64) {
        self.0.failing_views.store(views, Ordering::SeqCst);
    }

    /// Refuses so many further commits.
    pub fn fail_commits(&self, commits: u64) {
        self.0.failing_commits.store(commits, Ordering::SeqCst);
    }

    /// Panics in the next commit.
    pub fn panic_once(&self) {
        self.0.panics.store(true, Ordering::SeqCst);
    }

    /// The number of reads so far, of rows and of pages.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// The number of reads of bodies so far.
    pub fn body_reads(&self) -> u64 {
        self.0.body_reads.load(Ordering::SeqCst)
    }

    /// The number of commits so far, empty ones included.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::SeqCst)
    }

    /// The number of immediate commits so far.
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl EventStore for Kept {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.0.limiter.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        if durability == Durability::Immediate {
            self.0.syncs.fetch_add(1, Ordering::SeqCst);
        }
        assert!(!self.0.panics.swap(false, Ordering::SeqCst), "the store panics");
        fail_if_told(&self.0.failing_commits)?;
        self.0.store.commit(batch, durability).await?;
        if self.0.lies.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unknown(Arc::new(std::io::Error::other("the disk failed"))));
        }
        Ok(())
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        fail_if_told(&self.0.failing_views)?;
        Ok(Arc::new(Flaky(self.0.store.view().await?, self.clone())))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { persistent: true, ..self.0.store.capabilities() }
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
