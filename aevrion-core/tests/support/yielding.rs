//! A memory store whose reads yield to other tasks, optionally without isolated views.

use std::sync::Arc;

use aevrion_core::store::{
    Capabilities, Durability, EventStore, MemoryStore, Page, ScanRequest, StoreError, Table, View, WriteBatch,
};
use async_trait::async_trait;
use bytes::Bytes;

/// The yielding store. Between any two reads the writer may commit.
#[derive(Clone)]
pub(crate) struct Yielding {
    store: Arc<MemoryStore>,
    isolated_views: bool,
}

enum Seen {
    Isolated(Arc<dyn View>),
    Latest(Arc<MemoryStore>),
}

impl Yielding {
    pub(crate) fn new(isolated_views: bool) -> Self {
        Self { store: Arc::new(MemoryStore::new()), isolated_views }
    }
}

impl Seen {
    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        tokio::task::yield_now().await;
        match self {
            Self::Isolated(view) => Ok(Arc::clone(view)),
            Self::Latest(store) => store.view().await,
        }
    }
}

#[async_trait]
impl View for Seen {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.view().await?.get(table, key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        self.view().await?.scan(request).await
    }
}

#[async_trait]
impl EventStore for Yielding {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.store.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        Ok(Arc::new(match self.isolated_views {
            true => Seen::Isolated(self.store.view().await?),
            false => Seen::Latest(Arc::clone(&self.store)),
        }))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { isolated_views: self.isolated_views, ..self.store.capabilities() }
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
