//! A running node's membership: it listens, dials, admits others, and renews its certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::identity::join::Registrar;
use aevrion_core::identity::{Authority, ClusterKey, Credentials, Identity, IdentityError};
use aevrion_core::replication::{Peer, Replication, ReplicationOptions};
use aevrion_core::transport::Removal;
use aevrion_core::{Parameters, ReadError, Replica, SystemWall};
use tokio::task::JoinHandle;

use super::member_store::{MemberStore, MemberStoreError};
use super::parts::{AuthorityAt, Parts};
use super::transports::{self, ListenError};
use super::{ClusterDir, Welcome, away, renewal};
use crate::peer::TransportKind;
use crate::problem::Problem;

/// A running membership.
pub(crate) struct Membership {
    parts: Arc<Parts>,
    tasks: [JoinHandle<()>; 2],
}

/// How a node listens, and the peers it dials beside the members of its store.
#[derive(Debug, Clone)]
pub(crate) struct ListenOptions {
    pub(crate) address: SocketAddr,
    pub(crate) transports: Vec<TransportKind>,
    pub(crate) peers: Vec<Peer>,
    /// Accept local writes although this node's clock differs too much from the neighbours'.
    pub(crate) write_despite_clocks: bool,
    /// Members that are away for this long are an alarm.
    pub(crate) away_alarm: Duration,
}

/// A membership could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Members(#[from] MemberStoreError),
    #[error(transparent)]
    Removals(#[from] ReadError),
}

impl Membership {
    /// Starts the membership of `identity`.
    pub(crate) async fn begin(
        replica: &Replica,
        cluster_dir: ClusterDir,
        identity: Identity,
        options: &ListenOptions,
    ) -> Result<Self, MembershipError> {
        let credentials = Credentials::new(identity);
        let authority = cluster_dir.authority()?;
        let cluster_key = cluster_dir.cluster_key()?;
        let bind = |kind: &TransportKind| transports::bind(*kind, options.address, &credentials);
        let transports = options.transports.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let write_despite_clocks = options.write_despite_clocks;
        let member_store = MemberStore::of(replica).await?;
        member_store.expect(&options.peers).await?;
        let members = member_store.members().clone();
        let replication = replica.replicate(
            ReplicationOptions::default().write_despite_clocks(write_despite_clocks).members(members),
        );
        // Before the first request: a removed node gets no certificate.
        replica.read_removals(credentials.removals()).await?;
        let place = if authority.is_some() { AuthorityAt::ThisNode } else { AuthorityAt::AnotherNode };
        if let Some(authority) = authority {
            let welcoming = (replica.parameters(), cluster_key);
            let registrar =
                Arc::new(registrar(authority, &cluster_dir, &credentials, welcoming, &member_store));
            for transport in &transports {
                transport.answer_joins(Arc::clone(&registrar) as _);
            }
        }
        for transport in &transports {
            replication.over(Arc::clone(transport));
        }
        let (replica, authority, away_alarm) = (replica.clone(), place, options.away_alarm);
        let parts = Parts {
            cluster_dir,
            credentials,
            transports,
            replication,
            replica,
            authority,
            away_alarm,
            member_store,
        };
        let parts = Arc::new(parts);
        let renewing = tokio::spawn(renewal::run(Arc::downgrade(&parts)));
        let weak = Arc::downgrade(&parts);
        let members = move || weak.upgrade().map(|parts| parts.replication.members());
        let remembering = tokio::spawn(parts.member_store.clone().run(members));
        Ok(Self { parts, tasks: [renewing, remembering] })
    }

    /// The synchronisation.
    pub(crate) fn replication(&self) -> &Replication {
        &self.parts.replication
    }

    /// The alarm about the certificate, if there is one.
    pub(crate) fn certificate_alarm(&self) -> Option<String> {
        renewal::alarm(&self.parts.credentials, self.parts.authority)
    }

    /// The number of members that are away for so long that they are an alarm.
    pub(crate) fn away(&self) -> usize {
        away::missing(&self.parts.replication, self.parts.away_alarm).len()
    }

    /// The alarm about members that are away, if there are any.
    pub(crate) fn away_alarm(&self) -> Option<String> {
        away::alarm(&self.parts.replication, self.parts.away_alarm)
    }

    /// The expiry of the certificate.
    pub(crate) fn certificate_ends(&self) -> aevrion_core::Timestamp {
        self.parts.credentials.current().expires_at()
    }

    /// Removes a node by a statement of the authority.
    ///
    /// # Errors
    /// See [`Parts::remove`].
    pub(crate) async fn remove(&self, statement: &[u8]) -> Result<Removal, Problem> {
        self.parts.remove(statement).await
    }

    /// The known members.
    pub(crate) fn member_store(&self) -> &MemberStore {
        &self.parts.member_store
    }

    /// Ends the membership, and notifies the neighbours.
    pub(crate) async fn end(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Err(error) = self.parts.member_store.save(self.parts.replication.members()).await {
            tracing::warn!(failure = %error, "what is known of the members was not remembered");
        }
        self.parts.replication.close().await;
    }
}

/// The registrar that admits others: it tells them of the members and the removed nodes, and notes their addresses.
fn registrar(
    authority: Authority,
    cluster_dir: &ClusterDir,
    credentials: &Credentials,
    (parameters, cluster_key): (Parameters, Option<ClusterKey>),
    member_store: &MemberStore,
) -> Registrar {
    let (removals, removed) = (credentials.removals().clone(), credentials.removals().clone());
    let member_store = member_store.clone();
    Registrar::new(authority, cluster_dir.tokens(), removals, SystemWall, move |node, addresses| {
        let welcome = Welcome::new(parameters, cluster_key, &member_store.members().list(), &removed.all());
        let peers: Vec<Peer> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        // A node without an address becomes known when it connects.
        if !peers.is_empty() {
            member_store.members().introduce(node, &peers);
        }
        welcome.to_bytes()
    })
}
