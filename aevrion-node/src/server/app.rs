//! The state that all requests to one server share. Two servers in one process share none of it.

use tokio::sync::watch;

use super::counters::Counters;
use super::limiters::Limiters;
use super::node::Node;

/// The shared state.
pub(super) struct App {
    pub(super) node: Node,
    pub(super) counters: Counters,
    pub(super) limiters: Limiters,
    /// True once the server is to stop.
    stopping: watch::Receiver<bool>,
}

impl App {
    pub(super) fn new(node: Node, stopping: watch::Receiver<bool>) -> Self {
        Self { node, counters: Counters::default(), limiters: Limiters::new(), stopping }
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the server is to stop.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as the server.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }
}
