//! A node's part in its cluster, while it runs: it listens, dials, lets others join, and keeps its certificate fresh.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::join::{Joining, Registrar};
use aevrion_core::identity::{Authority, Credentials, Identity};
use aevrion_core::sync::{Peer, Sync, SyncOptions};
use aevrion_core::transport::Removal;
use aevrion_core::{Replica, SystemWall};
use tokio::task::JoinHandle;

use super::{Book, Home, Welcome, removal, renewal, transports};
use crate::cli::TransportKind;
use crate::exit::Failure;
use crate::problem::Problem;

/// A membership that runs.
pub(crate) struct Membership {
    parts: Arc<Parts>,
    tasks: [JoinHandle<()>; 2],
}

/// What it is made of.
pub(super) struct Parts {
    pub(super) home: Home,
    pub(super) credentials: Credentials,
    pub(super) transports: Vec<Arc<dyn Joining>>,
    pub(super) sync: Sync,
    pub(super) replica: Replica,
    /// Whether the authority's key is here.
    pub(super) authority: bool,
    pub(super) book: Book,
}

/// How a node listens, and whom it dials beside those it remembers.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) transports: Vec<TransportKind>,
    pub(crate) peers: Vec<Peer>,
    /// Take local writes also while the neighbours' clocks say that this node's is wrong.
    pub(crate) write_despite_clocks: bool,
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
        let write_despite_clocks = listening.write_despite_clocks;
        let sync = replica.sync(SyncOptions { write_despite_clocks, ..SyncOptions::default() });
        let book = Book::of(replica).await?;
        book.remember(&listening.peers).await?;
        let holds_authority = authority.is_some();
        if let Some(authority) = authority {
            let registrar = Arc::new(registrar(authority, &home, &credentials, replica, &sync, &book));
            for transport in &transports {
                transport.answer_joins(Arc::clone(&registrar) as _);
            }
        }
        for transport in &transports {
            sync.over(Arc::clone(transport));
        }
        for peer in book.peers() {
            sync.add_peer(peer);
        }
        let (replica, authority) = (replica.clone(), holds_authority);
        let parts = Arc::new(Parts { home, credentials, transports, sync, replica, authority, book });
        let renewing = tokio::spawn(renewal::run(Arc::downgrade(&parts)));
        let forgetting = tokio::spawn(removal::run(Arc::downgrade(&parts), parts.sync.changes()));
        Ok(Self { parts, tasks: [renewing, forgetting] })
    }

    /// The synchronisation.
    pub(crate) fn sync(&self) -> &Sync {
        &self.parts.sync
    }

    /// Why the certificate is an alarm, if it is.
    pub(crate) fn certificate_alarm(&self) -> Option<String> {
        renewal::alarm(&self.parts.credentials, self.parts.authority)
    }

    /// When the certificate ends.
    pub(crate) fn certificate_ends(&self) -> aevrion_core::Timestamp {
        self.parts.credentials.current().expires_at()
    }

    /// Forgets whoever is at this address, and no longer dials there. Gives those that were forgotten. A connection
    /// that stands stays.
    pub(crate) async fn forget(&self, address: &Peer) -> Result<Vec<Peer>, Failure> {
        let forgotten = self.parts.book.forget(address).await?;
        forgotten.iter().for_each(|peer| self.parts.sync.remove_peer(peer));
        Ok(forgotten)
    }

    /// Removes a node, as a statement of the authority says.
    ///
    /// # Errors
    /// See [`Parts::remove`].
    pub(crate) async fn remove(&self, statement: &[u8]) -> Result<Removal, Problem> {
        self.parts.remove(statement).await
    }

    /// Leaves in an orderly way: neighbours are told.
    pub(crate) async fn end(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.parts.sync.close().await;
    }
}

/// Lets others join, tells them of everyone, also of whom they are not to meet, and takes note of where they will be.
fn registrar(
    authority: Authority,
    home: &Home,
    credentials: &Credentials,
    replica: &Replica,
    sync: &Sync,
    book: &Book,
) -> Registrar {
    let parameters = replica.parameters();
    let (removals, removed) = (credentials.removals().clone(), credentials.removals().clone());
    // The registrar keeps the synchronisation alive, and a transport the registrar: `end` lets go of the transports.
    let (book, sync) = (book.clone(), sync.clone());
    Registrar::new(authority, home.tokens(), removals, SystemWall, move |node, addresses| {
        let new: Vec<Peer> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let welcome = Welcome::new(parameters, &book.learn(&new), &removed.all());
        let (book, sync) = (book.clone(), sync.clone());
        tokio::spawn(async move {
            if let Err(failure) = book.save().await {
                tracing::warn!(%node, %failure, "the address of a new node was not remembered");
            }
            new.into_iter().for_each(|peer| sync.add_peer(peer));
        });
        welcome.to_bytes()
    })
}
