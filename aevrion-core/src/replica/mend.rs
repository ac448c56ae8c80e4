//! Mending derived rows: what `rebuild` and the scrub found missing or wrong, on its way to the writer.

use bytes::Bytes;

use super::handle::Replica;
use super::queue::{Counted, Request};
use crate::WriteError;
use crate::bounds::PAGE_ROWS;
use crate::store::{Table, WriteBatch};

/// Rows on their way to the writer, a commit at a time.
pub(super) struct Mend<'r> {
    replica: &'r Replica,
    batch: WriteBatch,
    in_batch: usize,
    rows: u64,
}

impl<'r> Mend<'r> {
    pub(super) fn new(replica: &'r Replica) -> Self {
        Self { replica, batch: WriteBatch::new(), in_batch: 0, rows: 0 }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) async fn put(&mut self, table: Table, key: Bytes, value: Bytes) -> Result<(), WriteError> {
        self.batch.put(table, key, value);
        self.added().await
    }

    pub(super) async fn remove(&mut self, table: Table, key: Bytes) -> Result<(), WriteError> {
        self.batch.remove(table, key);
        self.added().await
    }

    /// Counts a row just put into the batch, and sends the batch if it is full.
    async fn added(&mut self) -> Result<(), WriteError> {
        self.rows += 1;
        self.in_batch += 1;
        if self.in_batch >= PAGE_ROWS { self.send(None).await } else { Ok(()) }
    }

    async fn send(&mut self, counted: Option<Counted>) -> Result<(), WriteError> {
        let batch = std::mem::take(&mut self.batch);
        self.in_batch = 0;
        if batch.is_empty() && counted.is_none() {
            return Ok(());
        }
        self.replica.queue.write(|reply| Request::Mend(batch, counted, reply)).await
    }

    /// Sends the rest. Returns the number of rows.
    pub(super) async fn finish(mut self, counted: Option<Counted>) -> Result<u64, WriteError> {
        self.send(counted).await?;
        Ok(self.rows)
    }
}
