//! How a replica is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::bounds::{ARRIVALS_KEPT, PENDING_ROWS};
use crate::{Incarnation, MAX_DRIFT, NodeId, ParameterOverrides, SystemWall, WallClock};

/// How a replica is opened. The default suits everyone who does not know better.
#[derive(Clone)]
pub struct Options {
    /// What a new store is made with, and an existing one must have been made with. What is left open is the default
    /// in a new store, and whatever it has in an existing one.
    pub parameters: ParameterOverrides,
    /// Whether a new store joins a cluster that exists, whose parameters are as they are. Any other is refused if its
    /// tree would be [too fine](crate::TreeTooFine).
    pub joins: bool,
    /// The node's identity. If `None` a new store draws one at random, and an existing one keeps what it has. A store
    /// that gets another identity keeps its events; cursors of watchers that the old one gave are refused.
    pub node: Option<NodeId>,
    /// The name of this opening (`None`: drawn at random). No other opening of this store, or of a copy of it, may have
    /// had it: cursors of watchers are told apart by it, and neighbours tell two machines by it that have one identity.
    pub incarnation: Option<Incarnation>,
    /// How far ahead of the wall clock an event may be and still move this node's clock (60 s).
    pub max_drift: Duration,
    /// Where the time comes from (the operating system).
    pub wall: Arc<dyn WallClock>,
    /// Index rows held in memory before they are written in one sorted batch (65,536). See
    /// [`bounds::PENDING_ROWS`](crate::bounds::PENDING_ROWS) for what it trades.
    pub index_lot: usize,
    /// The newest arrivals that watchers can resume from (a million); at least an index batch is kept.
    pub arrivals_kept: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parameters: ParameterOverrides::default(),
            joins: false,
            node: None,
            incarnation: None,
            max_drift: MAX_DRIFT,
            wall: Arc::new(SystemWall),
            index_lot: PENDING_ROWS,
            arrivals_kept: ARRIVALS_KEPT,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("parameters", &self.parameters)
            .field("joins", &self.joins)
            .field("node", &self.node)
            .field("incarnation", &self.incarnation)
            .field("max_drift", &self.max_drift)
            .field("index_lot", &self.index_lot)
            .field("arrivals_kept", &self.arrivals_kept)
            .finish_non_exhaustive()
    }
}
