//! What being reached is like over every network: a handshake within its limits, and a queue of those who came through.

use std::future::Future;

use tokio::sync::mpsc;

use super::{Ending, Gate, HandshakePlace, Refusal};

/// Those who came through their handshake and were not accepted yet. As many wait here as there are places for
/// connections.
#[derive(Debug)]
pub struct Arrivals<T>(tokio::sync::Mutex<mpsc::UnboundedReceiver<T>>);

/// An empty queue, and where it is filled.
pub fn arrivals<T>() -> (mpsc::UnboundedSender<T>, Arrivals<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Arrivals(tokio::sync::Mutex::new(receiver)))
}

impl<T> Arrivals<T> {
    /// The next one; `None` once the transport has ended. Dropping the future loses nobody.
    pub async fn next(&self, ending: &Ending) -> Option<T> {
        let mut arriving = self.0.lock().await;
        tokio::select! {
            biased;
            _ = ending.wait() => None,
            next = arriving.recv() => next,
        }
    }
}

impl Gate {
    /// Sees someone at `from` through the handshake, or turns it away and counts it: within the time there is for
    /// that, unless somebody else needs the place or the transport ends. `None` also for those who wanted nothing but
    /// an answer and have got it.
    pub async fn see_through<T>(
        &self,
        place: HandshakePlace,
        from: &str,
        ending: &Ending,
        handshake: impl Future<Output = Result<Option<T>, Refusal>>,
    ) -> Option<T> {
        let met = tokio::select! {
            biased;
            _ = ending.wait() => return None,
            () = place.leave() => Err(Refusal::TooMany),
            met = tokio::time::timeout(self.handshake, handshake) => met.unwrap_or(Err(Refusal::TooSlow)),
        };
        met.unwrap_or_else(|refusal| {
            self.refuse(from, refusal);
            None
        })
    }
}
