//! The accept queue: connections with a complete handshake that wait for an accept.

use std::sync::Arc;

use aevrion_core::transport::{CloseReason, Connection};
use tokio::sync::{Mutex, mpsc};

/// The sending end of an [`AcceptQueue`].
pub(crate) type Accepted = mpsc::UnboundedSender<Arc<dyn Connection>>;

/// The accept queue. It holds as many connections as the limit on connections allows.
pub(crate) struct AcceptQueue(Mutex<mpsc::UnboundedReceiver<Arc<dyn Connection>>>);

impl AcceptQueue {
    /// An empty queue and its sender.
    pub(crate) fn new() -> (Accepted, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(Mutex::new(receiver)))
    }

    /// The next connection; `None` once the transport has closed. Dropping the future loses no connection.
    pub(crate) async fn next(&self, close_reason: &CloseReason) -> Option<Arc<dyn Connection>> {
        let mut arriving = self.0.lock().await;
        tokio::select! {
            biased;
            _ = close_reason.wait() => None,
            next = arriving.recv() => next,
        }
    }
}
