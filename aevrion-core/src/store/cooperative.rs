//! Reads that yield to other tasks, with any engine.
//!
//! All reads are charged here, so loops over pages or rows need not yield themselves.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Capabilities, Durability, EventStore, Page, PageLimit, Projection, ScanRequest, StoreError, Table, View,
    WriteBatch,
};
use crate::bounds::QUANTUM;
use crate::coop::{charge, rows_of};

/// The cost of a search, in sequentially read rows.
const SEARCH: usize = 2;

/// The number of keys that cost as much as one row with its value, which is parsed and hashed.
const KEYS_TO_A_ROW: usize = 4;

/// A store whose views yield.
pub(crate) struct Cooperative<S>(pub(crate) S);

#[async_trait]
impl<S: EventStore> EventStore for Cooperative<S> {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.0.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        Ok(Arc::new(CooperativeView(self.0.view().await?)))
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

struct CooperativeView(Arc<dyn View>);

#[async_trait]
impl View for CooperativeView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.0.get(table, key).await?;
        charge(SEARCH + rows_of(value.as_ref().map_or(0, Bytes::len))).await;
        Ok(value)
    }

    /// A page is at most a quantum long: the caller handles it without yielding.
    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        let to_a_row = match request.projection {
            Projection::Keys => KEYS_TO_A_ROW,
            Projection::Rows => 1,
        };
        let PageLimit { rows, bytes } = request.limit;
        let limit = PageLimit { rows: rows.min(QUANTUM * to_a_row), bytes: bytes.min(QUANTUM << 10) };
        let page = self.0.scan(ScanRequest { limit, ..request }).await?;
        charge(SEARCH + page.len() / to_a_row + rows_of(page.bytes())).await;
        Ok(page)
    }
}
