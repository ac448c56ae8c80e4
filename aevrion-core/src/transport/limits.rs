//! What a transport grants to those who connect: time, places and bytes, each with its reason.

use std::time::Duration;

use super::TransportError;

/// The limits of a transport. The defaults fit a cluster of some dozens of nodes, on a LAN or across the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Within this time a handshake is over, or it is given up (10 s): a few round trips across the world, with losses.
    /// Joining has to be done in the same time.
    pub handshake: Duration,
    /// A neighbour that has not been heard of for this long is gone (30 s): longer than a short break of the network,
    /// shorter than anyone's patience. So is one that takes nothing of what it is sent for this long, and does not
    /// answer either. Both sides ask for a sign of life three times as often.
    pub idle: Duration,
    /// Connections that stand at once (256): each may cost some megabytes, see [`Limits::window`].
    pub connections: usize,
    /// Handshakes under way at once (64). Whoever comes when all are taken takes the place of the one that has waited
    /// longest among those of the busiest address: silence cannot keep anyone out.
    pub handshakes: usize,
    /// Bytes on each lane that the other side may send before they were received here (2 MiB): enough for 150 Mbit/s
    /// over 100 ms, and for any frame of the protocol but the rare long ones, which take several turns.
    pub window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            connections: 256,
            handshakes: 64,
            window: 2 << 20,
        }
    }
}

impl Limits {
    /// How often to ask a silent neighbour for a sign of life: two of them may get lost.
    pub fn keep_alive(&self) -> Duration {
        self.idle / 3
    }

    /// Does what reaching the node at `address` takes, and gives up after the time for a handshake.
    ///
    /// # Errors
    /// Those of `work`, and [`TransportError::Unreachable`] if it is not done in time.
    pub async fn in_time<T, E: From<TransportError>>(
        &self,
        address: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::time::timeout(self.handshake, work).await.unwrap_or_else(|_| {
            let what = format!("no answer within {:?}", self.handshake);
            Err(TransportError::Unreachable { address: address.to_owned(), what }.into())
        })
    }
}
