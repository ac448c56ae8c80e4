//! Reads from a sled store.
//!
//! sled has no snapshots: a view is a handle to the store, and each call on it reads the present state. A scan takes
//! many steps in sled, between which a batch could be applied; so it blocks batches until its end.

use std::sync::Arc;

use aevrion_core::store::{Direction, Page, PageBuilder, Projection, ScanRequest, StoreError, Table, View};
use async_trait::async_trait;
use bytes::Bytes;
use sled::IVec;

use crate::error::into_store_error;
use crate::layout::{key_of, range_of, row_key};
use crate::open::Open;

/// A handle to an open store, which stays open while a handle exists.
pub(crate) struct SledView(pub(crate) Arc<Open>);

#[async_trait]
impl View for SledView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let _no_batch = self.0.reading()?;
        let value = self.0.db.get(row_key(table, key)).map_err(into_store_error)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        if request.range.is_empty() {
            return Ok(PageBuilder::new(request.limit).end_of_range());
        }
        let _no_batch = self.0.reading()?;
        let rows = self.0.db.range(range_of(request.table, request.range));
        match request.direction {
            Direction::Forward => fill(rows, request),
            Direction::Backward => fill(rows.rev(), request),
        }
    }
}

fn fill(
    rows: impl Iterator<Item = sled::Result<(IVec, IVec)>>,
    request: ScanRequest<'_>,
) -> Result<Page, StoreError> {
    let mut page = PageBuilder::new(request.limit);
    for row in rows {
        let (row_key, value) = row.map_err(into_store_error)?;
        if page.is_full() {
            return Ok(page.more_follow());
        }
        page.push(key_of(&row_key), if request.projection == Projection::Rows { &value } else { &[] });
    }
    Ok(page.end_of_range())
}
