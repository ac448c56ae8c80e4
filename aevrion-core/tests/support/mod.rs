//! A memory store that outlives its replicas and can be told to misbehave.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aevrion_core::store::{Capabilities, Durability, EventStore, MemoryStore, StoreError, View, WriteBatch};
use async_trait::async_trait;
use tokio::sync::Semaphore;

/// A memory store that can be closed and opened again; clones are the same store.
#[derive(Clone)]
pub struct Kept(Arc<Inner>);

struct Inner {
    store: MemoryStore,
    commits: AtomicU64,
    syncs: AtomicU64,
    /// Each commit takes a permit: without permits they wait.
    gate: Semaphore,
}

impl Default for Kept {
    fn default() -> Self {
        Self(Arc::new(Inner {
            store: MemoryStore::new(),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }))
    }
}

impl Kept {
    /// A store whose commits wait for [`Kept::let_commit`].
    pub fn gated() -> Self {
        let kept = Self::default();
        kept.0.gate.forget_permits(Semaphore::MAX_PERMITS);
        kept
    }

    /// Lets so many further commits pass.
    pub fn let_commit(&self, commits: usize) {
        self.0.gate.add_permits(commits);
    }

    /// Commits so far, empty ones included.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::SeqCst)
    }

    /// Immediate commits so far.
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl EventStore for Kept {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.0.gate.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        if durability == Durability::Immediate {
            self.0.syncs.fetch_add(1, Ordering::SeqCst);
        }
        self.0.store.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        self.0.store.view().await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.store.capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
