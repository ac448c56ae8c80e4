//! Closing: what was acknowledged as buffered becomes durable, and the store is released.

use super::Replica;
use super::queue::Request;
use crate::store::StoreError;

impl Replica {
    /// Finishes what is queued, makes everything durable and closes the store. Later calls on any handle fail.
    /// Dropping the last handle does the same, but nobody learns when it is done, or of an error.
    ///
    /// # Errors
    /// What the store reports; it counts as closed all the same. Closing twice is no error.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.queue.ask(Request::Close).await.unwrap_or(Ok(()))
    }
}
