//! Options of opening a replica.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::bounds::{ARRIVALS_KEPT, PENDING_ROWS};
use crate::{Incarnation, MAX_DRIFT, NodeId, ParameterOverrides, SystemWall, WallClock};

/// Options of opening a replica. The defaults suit most uses.
#[derive(Clone)]
pub struct Options {
    /// The parameters of the store. Those of an existing store must be equal. A parameter left open has its default
    /// in a new store, and any value in an existing one.
    pub parameters: ParameterOverrides,
    /// Whether a new store joins an existing cluster, and takes its parameters. Any other new store is refused if its
    /// tree would be [too fine](crate::TreeTooFine).
    pub joins: bool,
    /// The node's identity. If `None`, a new store draws one at random, and an existing one keeps its own. A store
    /// that gets another identity keeps its events; cursors of watchers from before are refused.
    pub node: Option<NodeId>,
    /// The name of this opening (`None`: drawn at random). No other opening of this store, or of a copy of it, may
    /// have had it: it tells cursors of watchers apart, and two machines with the same identity.
    pub incarnation: Option<Incarnation>,
    /// How far ahead of the wall clock an event may be and still move this node's clock (60 s).
    pub max_drift: Duration,
    /// Where the time comes from (the operating system).
    pub wall: Arc<dyn WallClock>,
    /// Index rows held in memory before they are written in one sorted batch (65,536). See
    /// [`bounds::PENDING_ROWS`](crate::bounds::PENDING_ROWS) for the trade-off.
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
