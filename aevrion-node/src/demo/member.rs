//! A node of the demo.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aevrion_core::identity::join::Token;
use aevrion_core::replication::{Neighbour, NeighbourState, Peer, Replication, Totals};
use aevrion_core::{NodeId, Options, Replica};

use crate::cli::{AWAY_ALARM, Global, StoreKind};
use crate::cluster::{ClusterDir, ListenOptions, Membership, Newcomer};
use crate::data;
use crate::failure::Failure;
use crate::peer::TransportKind;
use crate::server::Node;

/// A node: a store, and a membership of the cluster unless it is cut off.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) replica: Replica,
    pub(super) id: NodeId,
    directory: PathBuf,
    membership: Option<Arc<Membership>>,
}

impl Member {
    /// Creates the cluster, and its first node.
    pub(super) async fn found(place: &Path) -> Result<Self, Failure> {
        let (name, directory) = names(place, 1);
        // The store first, as in `cluster init`: a directory that cannot hold a store must not become a member.
        open(&directory, Options::default()).await?.close().await?;
        let cluster_dir = ClusterDir::of(&directory);
        let id = cluster_dir.create_cluster()?.node();
        let options = Options::default().node(id).sketch_key(cluster_dir.sketch_key()?);
        let replica = open(&directory, options).await?;
        let mut first = Self { name, replica, id, directory, membership: None };
        first.begin(Vec::new()).await?;
        Ok(first)
    }

    /// Joins the cluster that `host` belongs to, and adds `others` as neighbours.
    pub(super) async fn join(
        place: &Path,
        number: usize,
        host: &Self,
        others: &[Self],
    ) -> Result<Self, Failure> {
        let (name, directory) = names(place, number);
        let token = host.token()?;
        let peer = host.address().ok_or_else(|| Failure::error(format!("{} does not listen", host.name)))?;
        let cluster_dir = ClusterDir::of(&directory);
        let newcomer = Newcomer::ask(&cluster_dir, peer, &token, &[]).await?;
        let replica = open(&directory, newcomer.options()).await?;
        newcomer.settle(&replica, &cluster_dir).await?;
        let mut member = Self { name, replica, id: newcomer.identity.node(), directory, membership: None };
        member.begin(others.iter().filter_map(Self::address).collect()).await?;
        Ok(member)
    }

    fn token(&self) -> Result<Token, Failure> {
        Ok(ClusterDir::of(&self.directory).issue_token()?)
    }

    /// Starts synchronisation on any free port, with the remembered neighbours and `peers`.
    pub(super) async fn begin(&mut self, peers: Vec<Peer>) -> Result<(), Failure> {
        let cluster_dir = ClusterDir::of(&self.directory);
        let identity = cluster_dir.identity()?;
        let identity = identity.ok_or_else(|| Failure::error(format!("{} has no identity", self.name)))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let transports = vec![TransportKind::Quic];
        let away_alarm = AWAY_ALARM;
        let options = ListenOptions { address, transports, peers, write_despite_clocks: false, away_alarm };
        let membership = Membership::begin(&self.replica, cluster_dir, identity, &options).await?;
        self.membership = Some(Arc::new(membership));
        Ok(())
    }

    /// Disconnects the node from the others. The store goes on.
    pub(super) async fn cut_off(&mut self) {
        if let Some(membership) = self.membership.take() {
            membership.end().await;
        }
    }

    /// Its listening address; nothing while it is cut off.
    pub(super) fn address(&self) -> Option<Peer> {
        self.replication()?.addresses().into_iter().next()
    }

    /// The connected neighbours with measured clocks.
    pub(super) fn met(&self) -> Vec<Neighbour> {
        let neighbours = self.replication().map(Replication::neighbours).unwrap_or_default();
        let met = |one: &Neighbour| one.is_connected() && one.state != NeighbourState::Settling;
        neighbours.into_iter().filter(met).collect()
    }

    /// Compares with every neighbour now, as `aevrion sync now` does.
    pub(super) fn compare(&self) {
        if let Some(replication) = self.replication() {
            replication.compare();
        }
    }

    /// The counters of synchronisation since its last start.
    pub(super) fn totals(&self) -> Totals {
        self.replication().map(Replication::totals).unwrap_or_default()
    }

    fn replication(&self) -> Option<&Replication> {
        self.membership.as_deref().map(Membership::replication)
    }

    /// The node as a server serves it.
    pub(super) fn node(&self) -> Node {
        Node::of(self.replica.clone(), self.membership.clone(), self.name.clone())
    }

    pub(super) async fn close(mut self) -> Result<(), Failure> {
        self.cut_off().await;
        Ok(self.replica.close().await?)
    }
}

fn names(place: &Path, number: usize) -> (String, PathBuf) {
    (format!("node {number}"), place.join(format!("node-{number}")))
}

/// Opens a redb store, even if the environment names another engine.
async fn open(directory: &Path, options: Options) -> Result<Replica, Failure> {
    let global =
        Global { data: Some(directory.to_owned()), store: Some(StoreKind::Redb), ..Global::default() };
    data::open_with(&global, options).await
}
