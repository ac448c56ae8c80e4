//! The limits of a transport on time, connections and bytes, and their reasons.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::TransportError;

/// The default handshake timeout: a few round trips across the world, with losses.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// The limits of a transport. The defaults suit a cluster of some dozens of nodes, on a LAN or across the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The handshake timeout ([10 s](HANDSHAKE)). Joining has the same timeout.
    pub handshake: Duration,
    /// The idle timeout (30 s). It is longer than a short network outage and shorter than a user will wait. A neighbour
    /// is dropped if nothing is heard from it for this long, or if for this long it neither reads nor answers. Both
    /// sides send keep-alives three times as often.
    pub idle: Duration,
    /// Open connections (256). Each may cost some megabytes, see [`Limits::window`].
    pub connections: usize,
    /// Open connections dialled by one node (4): one, and some that are being replaced. No single node can take all
    /// places.
    pub per_node: usize,
    /// Handshakes in progress (64). A further one takes the place of the one that has waited longest among those of the
    /// busiest address, so that silent peers cannot block others.
    pub handshakes: usize,
    /// Receive window per lane in bytes (2 MiB): enough for 150 Mbit/s over 100 ms, and for any frame of the protocol
    /// except the rare long ones, which take several windows.
    pub window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: HANDSHAKE,
            idle: Duration::from_secs(30),
            connections: 256,
            per_node: 4,
            handshakes: 64,
            window: 2 << 20,
        }
    }
}

impl Limits {
    /// The keep-alive interval. Two keep-alives may get lost.
    pub fn keep_alive(&self) -> Duration {
        self.idle / 3
    }

    /// Runs `work`, which connects to the node at `address`, with the handshake timeout.
    ///
    /// # Errors
    /// Those of `work`, and [`TransportError::Unreachable`] after the timeout.
    pub async fn in_time<T, E: From<TransportError>>(
        &self,
        address: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(self.handshake, work).await.unwrap_or_else(|_| {
            let what = format!("no answer within {:?}", self.handshake);
            Err(TransportError::Unreachable { address: address.to_owned(), what }.into())
        })
    }

    /// Tries the addresses of the host in `address` one after the other until one answers. Each gets a share of the
    /// remaining time, so that a silent one does not use up the time of the next.
    ///
    /// # Errors
    /// The error of the last address if none answers, or else of the first one that answers and is not accepted.
    #[expect(clippy::disallowed_methods, reason = "a door: how much of the timeout is left")]
    pub async fn one_of<T, F>(
        &self,
        address: &str,
        places: &[SocketAddr],
        attempt: impl Fn(SocketAddr) -> F,
    ) -> Result<T, TransportError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let unreachable = |what: String| TransportError::Unreachable { address: address.to_owned(), what };
        let end = Instant::now() + self.handshake;
        let mut last = unreachable("the host has no address that can be dialled from here".to_owned());
        for (at, left) in places.iter().zip((1..=places.len()).rev()) {
            let share = (end - Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            last = match timeout(share, attempt(*at)).await {
                Ok(Err(error @ TransportError::Unreachable { .. })) => error,
                Ok(outcome) => return outcome,
                Err(_) => unreachable(format!("no answer from {at} within {:.1} s", share.as_secs_f64())),
            };
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: u16 = 1;
    const GONE: u16 = 2;
    const STRANGER: u16 = 3;
    const THERE: u16 = 4;

    async fn dial(ports: &[u16]) -> Result<u16, TransportError> {
        let places: Vec<_> = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        let attempt = async |at: SocketAddr| match at.port() {
            SILENT => std::future::pending().await,
            GONE => Err(TransportError::Unreachable { address: "host:1".into(), what: "refused".into() }),
            STRANGER => Err(TransportError::not_trusted("host:1", super::super::Refusal::WrongProtocol)),
            port => Ok(port),
        };
        Limits::default().one_of("host:1", &places, attempt).await
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test measures")]
    async fn a_silent_address_leaves_time_for_the_next() {
        let began = Instant::now();
        assert_eq!(dial(&[SILENT, GONE, SILENT, THERE]).await.unwrap(), THERE);
        assert!(began.elapsed() < HANDSHAKE);
        let silent = dial(&[SILENT, SILENT]).await.unwrap_err().to_string();
        assert!(silent.contains("no answer from 127.0.0.1:1 within 5"), "{silent}");
        assert!(matches!(dial(&[]).await, Err(TransportError::Unreachable { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_answers_and_does_not_fit_is_the_answer() {
        assert!(matches!(dial(&[GONE, STRANGER, THERE]).await, Err(TransportError::NotTrusted { .. })));
    }
}
