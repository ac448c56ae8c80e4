//! A view of the database: a read transaction with its tables open.
//!
//! Opening tables costs more than a lookup, so it is done once for each commit, and all reads until the next commit
//! share the view.

use std::sync::Arc;

use aevrion_core::store::{Direction, Page, PageBuilder, Projection, ScanRequest, StoreError, Table, View};
use async_trait::async_trait;
use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase, StorageError, TableDefinition};

use crate::Home;
use crate::backend::Fence;
use crate::error::into_store_error;

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

pub(crate) fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// A consistent state of all tables.
pub(crate) struct RedbView {
    tables: [Rows; Table::ALL.len()],
    fence: Arc<Fence>,
    /// Keeps the directory locked until the last reader is done.
    _home: Home,
}

impl RedbView {
    pub(crate) fn new(database: &Database, fence: Arc<Fence>, home: Home) -> Result<Self, StoreError> {
        let transaction = database.begin_read().map_err(into_store_error)?;
        let open = |table| transaction.open_table(definition(table)).map_err(into_store_error);
        let [events, bodies, by_key, nodes, arrivals, meta, timetable] = Table::ALL;
        let tables = [
            open(events)?,
            open(bodies)?,
            open(by_key)?,
            open(nodes)?,
            open(arrivals)?,
            open(meta)?,
            open(timetable)?,
        ];
        Ok(Self { tables, fence, _home: home })
    }

    fn rows(&self, table: Table) -> &Rows {
        &self.tables[usize::from(table.tag())]
    }

    /// After an error redb answers no further calls; the fence makes the store reopen the database.
    fn failed(&self, error: StorageError) -> StoreError {
        self.fence.raise();
        into_store_error(error)
    }

    fn page(&self, request: ScanRequest<'_>) -> Result<Page, StorageError> {
        let mut page = PageBuilder::new(request.limit);
        if request.range.is_empty() {
            return Ok(page.end_of_range());
        }
        let mut rows = self.rows(request.table).range::<&[u8]>((request.range.start, request.range.end))?;
        loop {
            let row = match request.direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.next_back(),
            };
            let Some(row) = row else { return Ok(page.end_of_range()) };
            let (key, value) = row?;
            if page.is_full() {
                return Ok(page.more_follow());
            }
            page.push(key.value(), if request.projection == Projection::Rows { value.value() } else { &[] });
        }
    }
}

#[async_trait]
impl View for RedbView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let row = self.rows(table).get(key).map_err(|error| self.failed(error))?;
        Ok(row.map(|value| Bytes::copy_from_slice(value.value())))
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        self.page(request).map_err(|error| self.failed(error))
    }
}
