//! A node's part in its cluster, while it runs: it listens, dials, lets others join, and keeps its certificate fresh.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aevrion_core::identity::join::{Joining, Registrar};
use aevrion_core::identity::{Authority, Credentials, Identity};
use aevrion_core::sync::{Peer, Sync, SyncOptions};
use aevrion_core::{Replica, SystemWall};
use tokio::task::JoinHandle;

use super::{Home, Welcome, peers_in, remember_peers, renewal, transports};
use crate::cli::TransportKind;
use crate::exit::Failure;

/// A membership that runs.
pub(crate) struct Membership {
    parts: Arc<Parts>,
    renewing: JoinHandle<()>,
}

/// What it is made of.
pub(super) struct Parts {
    pub(super) home: Home,
    pub(super) credentials: Credentials,
    pub(super) transports: Vec<Arc<dyn Joining>>,
    pub(super) sync: Sync,
}

/// How a node listens, and whom it dials beside those it remembers.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) transports: Vec<TransportKind>,
    pub(crate) peers: Vec<Peer>,
}

impl Membership {
    /// Takes part, as `identity`.
    pub(crate) async fn begin(
        replica: &Replica,
        home: Home,
        identity: Identity,
        listening: &Listening,
    ) -> Result<Self, Failure> {
        let credentials = Credentials::new(identity);
        let authority = home.authority()?;
        let bind = |kind: &TransportKind| transports::bind(*kind, listening.address, &credentials);
        let transports = listening.transports.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let sync = replica.sync(SyncOptions::default());
        remember_peers(replica, &listening.peers).await?;
        let peers = peers_in(replica).await?;
        if let Some(authority) = authority {
            let registrar = Arc::new(registrar(authority, &home, replica, &sync, &peers));
            for transport in &transports {
                transport.answer_joins(Arc::clone(&registrar) as _);
            }
        }
        for transport in &transports {
            sync.over(Arc::clone(transport));
        }
        for peer in peers {
            sync.add_peer(peer);
        }
        let parts = Arc::new(Parts { home, credentials, transports, sync });
        let renewing = tokio::spawn(renewal::run(Arc::downgrade(&parts)));
        Ok(Self { parts, renewing })
    }

    /// The synchronisation.
    pub(crate) fn sync(&self) -> &Sync {
        &self.parts.sync
    }

    /// What someone should look after, if anything.
    pub(crate) fn alarms(&self) -> Vec<String> {
        [self.parts.sync.clock_alarm(), renewal::alarm(&self.parts.credentials)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// When the certificate ends.
    pub(crate) fn certificate_ends(&self) -> aevrion_core::Timestamp {
        self.parts.credentials.current().expires_at()
    }

    /// Where cluster keys are kept.
    pub(crate) fn home(&self) -> &Home {
        &self.parts.home
    }

    /// Leaves in an orderly way: neighbours are told.
    pub(crate) async fn end(&self) {
        self.renewing.abort();
        self.parts.sync.close().await;
    }
}

/// Lets others join, tells them of everyone, and takes note of where they will be.
fn registrar(authority: Authority, home: &Home, replica: &Replica, sync: &Sync, known: &[Peer]) -> Registrar {
    let parameters = replica.parameters();
    let known = Arc::new(Mutex::new(known.to_vec()));
    // The registrar keeps the synchronisation alive, and a transport the registrar: `end` lets go of the transports.
    let (replica, sync) = (replica.clone(), sync.clone());
    Registrar::new(authority, home.tokens(), SystemWall, move |node, addresses| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let welcome = Welcome::new(parameters, &known);
        let new: Vec<Peer> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let unknown: Vec<Peer> = new.iter().filter(|peer| !known.contains(peer)).cloned().collect();
        known.extend(unknown);
        let (replica, sync) = (replica.clone(), sync.clone());
        tokio::spawn(async move {
            if let Err(failure) = remember_peers(&replica, &new).await {
                tracing::warn!(%node, %failure, "the address of a new node was not remembered");
            }
            new.into_iter().for_each(|peer| sync.add_peer(peer));
        });
        welcome.to_bytes()
    })
}
