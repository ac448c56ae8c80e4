//! The limits of a transport on time, connections and bytes, and their reasons.

use std::time::Duration;

/// The default handshake timeout: a few round trips across the world, with losses.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// The limits of a transport. The defaults suit a cluster of some dozens of nodes, on a LAN or across the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Sets [`handshake`](Self::handshake).
    #[must_use]
    pub fn handshake(mut self, handshake: Duration) -> Self {
        self.handshake = handshake;
        self
    }

    /// Sets [`idle`](Self::idle).
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets [`connections`](Self::connections).
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets [`per_node`](Self::per_node).
    #[must_use]
    pub fn per_node(mut self, per_node: usize) -> Self {
        self.per_node = per_node;
        self
    }

    /// Sets [`handshakes`](Self::handshakes).
    #[must_use]
    pub fn handshakes(mut self, handshakes: usize) -> Self {
        self.handshakes = handshakes;
        self
    }

    /// Sets [`window`](Self::window).
    #[must_use]
    pub fn window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    /// The keep-alive interval. Two keep-alives may get lost.
    pub fn keep_alive(&self) -> Duration {
        self.idle / 3
    }
}
