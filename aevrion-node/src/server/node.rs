//! The served node: its replica, and its membership of a cluster if it has one.

use std::sync::Arc;

use aevrion_core::replication::Replication;
use aevrion_core::store::Table;
use aevrion_core::{Options, ReadError, Replica, SystemWall, Timestamp, WallClock};

use crate::cli::{Global, Serving};
use crate::cluster::{self, CertifiedWall, ClusterDir, ListenOptions, Membership};
use crate::data;
use crate::failure::Failure;
use crate::peer::parse_peer;
use crate::problem::{Kind, Problem};
use crate::report::NeighbourReport;
use crate::requests::PageError;

use super::scrub::Scrubbing;

/// A node: replica and membership.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(super) membership: Option<Arc<Membership>>,
    pub(super) scrub: Option<Arc<Scrubbing>>,
    /// The store, for people.
    place: String,
}

impl Node {
    /// Builds a node from its parts; `place` is the store's location, for people.
    pub(crate) fn of(replica: Replica, membership: Option<Arc<Membership>>, place: String) -> Self {
        Self { replica, membership, scrub: None, place }
    }

    pub(super) async fn open(global: &Global, serving: &Serving) -> Result<Self, Failure> {
        let cluster_dir = global.data.as_deref().map(ClusterDir::of);
        let identity = cluster_dir.as_ref().map(ClusterDir::identity).transpose()?.flatten();
        let node = identity.as_ref().map(aevrion_core::identity::Identity::node);
        let peers = serving.peers.iter().map(|peer| parse_peer(peer, serving.transports[0]));
        let peers = peers.collect::<Result<Vec<_>, _>>()?;
        if identity.is_none() && !peers.is_empty() {
            return Err(Failure::usage(
                "a node without a cluster has no peers: `aevrion cluster init` makes one, `aevrion cluster join` joins",
            ));
        }
        let wall: Arc<dyn WallClock> = match &identity {
            Some(identity) => Arc::new(CertifiedWall { certified_from: identity.valid_from() }),
            None => Arc::new(SystemWall),
        };
        let sketch_key =
            cluster_dir.as_ref().filter(|_| node.is_some()).map(ClusterDir::sketch_key).transpose()?;
        let options = Options::default().node(node).wall(wall).sketch_key(sketch_key);
        let replica = data::open_with(global, options).await?;
        let engine = replica.status().await?.store.name;
        let place = match &global.data {
            Some(path) => format!("{engine} in {}", path.display()),
            None => "memory, which keeps nothing".to_owned(),
        };
        let options = ListenOptions {
            address: serving.listen,
            transports: serving.transports.clone(),
            peers,
            write_despite_clocks: serving.write_despite_clocks,
            away_alarm: serving.away_alarm,
        };
        let membership = match (cluster_dir, identity) {
            (Some(cluster_dir), Some(identity)) => {
                Some(Arc::new(Membership::begin(&replica, cluster_dir, identity, &options).await?))
            }
            _ => None,
        };
        let scrub = serving.scrub.0.map(|every| Arc::new(Scrubbing::begin(&replica, every)));
        Ok(Self { replica, membership, scrub, place })
    }

    /// The store's location, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The node's peer addresses, for people.
    pub(super) fn reached_at(&self) -> String {
        match &self.membership {
            Some(membership) => {
                let addresses = membership.replication().addresses();
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            None => "nobody, being no part of a cluster (see `aevrion cluster --help`)".to_owned(),
        }
    }

    /// The membership of a cluster.
    ///
    /// # Errors
    /// If the node has none.
    pub(super) fn membership(&self) -> Result<&Membership, Problem> {
        self.membership.as_deref().ok_or_else(|| Problem::new(Kind::NoCluster, cluster::NO_CLUSTER))
    }

    /// The synchronisation, if there is any.
    pub(super) fn replication(&self) -> Option<&Replication> {
        self.membership.as_deref().map(Membership::replication)
    }

    /// How many neighbours are connected.
    pub(super) fn connected(&self) -> usize {
        let neighbours = self.replication().map(Replication::neighbours).unwrap_or_default();
        neighbours.iter().filter(|neighbour| neighbour.is_connected()).count()
    }

    /// The problem of a failed read. A damaged event may soon be repaired.
    pub(super) fn unreadable(&self, error: impl Into<PageError>) -> Problem {
        let error = error.into();
        let damaged =
            matches!(&error, PageError::Read(ReadError::Damaged(damage)) if damage.table == Table::Events);
        let mut problem = Problem::from(error);
        if damaged && self.connected() > 0 {
            problem
                .detail
                .push_str(". A sound copy is being asked for at a neighbour: try again in a moment");
        }
        problem
    }

    /// The node's neighbours.
    pub(super) fn neighbours(&self) -> Vec<NeighbourReport> {
        self.replication()
            .map(Replication::neighbours)
            .unwrap_or_default()
            .iter()
            .map(NeighbourReport::from)
            .collect()
    }

    /// The time before which the node and all its neighbours agree. Call it before reading: a later value may cover
    /// events that the answer still lacks.
    pub(super) fn stable_until(&self) -> Option<Timestamp> {
        self.replication().and_then(Replication::stable_until)
    }

    /// Makes everything durable, and closes the store.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        if let Some(scrub) = &self.scrub {
            scrub.end().await;
        }
        if let Some(membership) = &self.membership {
            membership.end().await;
        }
        self.replica.close().await.map_err(|error| Failure::from(error).during("closing the store"))
    }
}
