//! Closing: what was acknowledged as buffered becomes durable, and the store is released.

use super::Replica;
use super::queue::Request;
use crate::store::StoreError;

impl Replica {
    /// Finishes what was queued before, makes everything durable and closes the store. What comes later is refused, on any
    /// handle, and so are writes that wait for the clock.
    /// Dropping the last handle does the same, but nobody learns when it is done, or of an error.
    ///
    /// # Errors
    /// What the store reports; it counts as closed all the same. Closing twice is no error.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.queue.ask(Request::Close).await.unwrap_or(Ok(()))
    }
}
