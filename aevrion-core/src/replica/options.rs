//! Options of opening a replica.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::bounds::{ARRIVALS_KEPT, PENDING_ROWS};
use crate::sketch::SketchKey;
use crate::{Incarnation, MAX_DRIFT, NodeId, ParameterOverrides, SystemWall, WallClock};

/// The options of an opening. The defaults suit most stores.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The parameters of a new store, and those required of an existing one. A missing one is the default in a new
    /// store, and the stored one in an existing store.
    pub parameters: ParameterOverrides,
    /// Whether a new store joins an existing cluster, with the cluster's parameters. Any other new store is refused if
    /// its tree would be [too fine](crate::TreeTooFine).
    pub joins: bool,
    /// The node's identity. If `None`, a new store draws one at random, and an existing one keeps its own. A store with
    /// another identity keeps its events, and refuses the cursors of watchers from before.
    pub node: Option<NodeId>,
    /// The name of this opening (`None`: drawn at random). It must differ from all other openings of this store and of
    /// its copies: cursors of watchers are told apart by it, and neighbours tell two machines with one identity by it.
    pub incarnation: Option<Incarnation>,
    /// The maximum distance of an event ahead of the wall clock that still moves this node's clock (60 s).
    pub max_drift: Duration,
    /// The wall clock (the operating system's).
    pub wall: Arc<dyn WallClock>,
    /// Index rows held in memory before they are written in one sorted batch (65,536): more rows make writes cheaper,
    /// and cost memory, and time after a crash.
    pub index_batch: usize,
    /// The newest arrivals that watchers can resume from (a million); at least an index batch is kept.
    pub arrivals_kept: u64,
    /// The key of the sketch, the same on all nodes of a cluster. If `None`, an existing store keeps its own, and a new
    /// one has the public key. With another key than before the sketch is made anew: all keys of events are read.
    #[doc(hidden)]
    pub sketch_key: Option<SketchKey>,
}

impl Options {
    /// Sets [`parameters`](Self::parameters).
    #[must_use]
    pub fn parameters(mut self, parameters: impl Into<ParameterOverrides>) -> Self {
        self.parameters = parameters.into();
        self
    }

    /// Sets [`joins`](Self::joins).
    #[must_use]
    pub fn joins(mut self) -> Self {
        self.joins = true;
        self
    }

    /// Sets [`node`](Self::node).
    #[must_use]
    pub fn node(mut self, node: impl Into<Option<NodeId>>) -> Self {
        self.node = node.into();
        self
    }

    /// Sets [`incarnation`](Self::incarnation).
    #[must_use]
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// Sets [`max_drift`](Self::max_drift).
    #[must_use]
    pub fn max_drift(mut self, max_drift: Duration) -> Self {
        self.max_drift = max_drift;
        self
    }

    /// Sets [`wall`](Self::wall).
    #[must_use]
    pub fn wall(mut self, wall: impl WallClock) -> Self {
        self.wall = Arc::new(wall);
        self
    }

    /// Sets [`index_batch`](Self::index_batch).
    #[must_use]
    pub fn index_batch(mut self, rows: usize) -> Self {
        self.index_batch = rows;
        self
    }

    /// Sets [`arrivals_kept`](Self::arrivals_kept).
    #[must_use]
    pub fn arrivals_kept(mut self, arrivals: u64) -> Self {
        self.arrivals_kept = arrivals;
        self
    }

    /// Sets [`sketch_key`](Self::sketch_key).
    #[doc(hidden)]
    #[must_use]
    pub fn sketch_key(mut self, key: impl Into<Option<SketchKey>>) -> Self {
        self.sketch_key = key.into();
        self
    }
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
            index_batch: PENDING_ROWS,
            arrivals_kept: ARRIVALS_KEPT,
            sketch_key: None,
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
            .field("index_batch", &self.index_batch)
            .field("arrivals_kept", &self.arrivals_kept)
            .field("sketch_key", &self.sketch_key)
            .finish_non_exhaustive()
    }
}
