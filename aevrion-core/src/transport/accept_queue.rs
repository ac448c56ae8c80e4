//! Accepting connections over any network: handshakes within their limits, and the accept queue.

use std::future::Future;

use tokio::sync::mpsc;

use super::{CloseReason, ConnectionLimiter, HandshakePlace, Refusal};

/// The accept queue: connections with a complete handshake. It holds as many as the limit on connections allows.
#[derive(Debug)]
pub struct AcceptQueue<T>(tokio::sync::Mutex<mpsc::UnboundedReceiver<T>>);

/// An empty queue and its sender.
pub fn accept_queue<T>() -> (mpsc::UnboundedSender<T>, AcceptQueue<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, AcceptQueue(tokio::sync::Mutex::new(receiver)))
}

impl<T> AcceptQueue<T> {
    /// The next connection; `None` once the transport has closed. Dropping the future loses no connection.
    pub async fn next(&self, close_reason: &CloseReason) -> Option<T> {
        let mut arriving = self.0.lock().await;
        tokio::select! {
            biased;
            _ = close_reason.wait() => None,
            next = arriving.recv() => next,
        }
    }
}

impl ConnectionLimiter {
    /// Runs the handshake of a connection from `from`, or refuses and counts it. The handshake ends at its timeout,
    /// when another one needs its place, or when the transport closes. `None` also for a request that needed only an
    /// answer and has got it.
    pub async fn see_through<T>(
        &self,
        place: HandshakePlace,
        from: &str,
        close_reason: &CloseReason,
        handshake: impl Future<Output = Result<Option<T>, Refusal>>,
    ) -> Option<T> {
        let met = tokio::select! {
            biased;
            _ = close_reason.wait() => return None,
            () = place.leave() => Err(Refusal::TooMany),
            met = tokio::time::timeout(self.handshake, handshake) => met.unwrap_or(Err(Refusal::TooSlow)),
        };
        met.unwrap_or_else(|refusal| {
            self.refuse(from, refusal);
            None
        })
    }
}
