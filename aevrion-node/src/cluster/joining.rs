//! Joining a cluster: a machine shows a token to a node, and receives its identity and the parameters of its store.

use aevrion_core::identity::join::Token;
use aevrion_core::identity::{ClusterKey, Identity, IdentityError};
use aevrion_core::replication::{Peer, RemovalError};
use aevrion_core::{Options, ReadError, Replica};

use super::cluster_dir::sketch_key;
use super::joining_key::{self, JoiningKeyError};
use super::member_store::{MemberStore, MemberStoreError};
use super::transports::{self, NotJoined};
use super::welcome::{UnreadableWelcome, Welcome};
use super::{ClusterDir, removed_from};
use crate::cli::Global;

/// A request to join was not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Key(#[from] JoiningKeyError),
    /// The node certainly did not admit this machine.
    #[error(transparent)]
    NotAdmitted(NotJoined),
    /// The node may have admitted this machine without its knowledge.
    #[error(
        "{0}\njoin again with the same --data and token: if this attempt used it up, it still lets this directory in"
    )]
    PerhapsAdmitted(NotJoined),
    #[error(transparent)]
    Welcome(#[from] UnreadableWelcome),
    #[error(transparent)]
    ClusterKey(#[from] IdentityError),
}

/// A setting differs from that of the cluster.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {name} of the cluster is {has}, that of the settings {wanted}: leave --{name} out and join again with the same \
     --data and token"
)]
pub(crate) struct MisfitError {
    name: &'static str,
    has: u64,
    wanted: u64,
}

/// The directory of an admitted node could not be completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    #[error(transparent)]
    Members(#[from] MemberStoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("taking note of removed nodes: {0}")]
    Removal(RemovalError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A node that was admitted, and whose store does not exist yet.
pub(crate) struct Newcomer {
    pub(crate) identity: Identity,
    /// The node that admitted it, and the peers of that node.
    pub(crate) peers: Vec<Peer>,
    cluster_key: Option<ClusterKey>,
    welcome: Welcome,
}

impl Newcomer {
    /// Asks the node at `peer` to admit a node with the directory `cluster_dir` and these addresses.
    ///
    /// The key is stored before the request: if the answer is lost, the token is used up, except for the same key.
    pub(crate) async fn ask(
        cluster_dir: &ClusterDir,
        peer: Peer,
        token: &Token,
        addresses: &[String],
    ) -> Result<Self, AskError> {
        let kept = joining_key::load_or_create(cluster_dir)?;
        let joined = match transports::join(&peer, token, &kept.key, addresses).await {
            Ok(joined) => joined,
            Err(error @ (NotJoined::Refused(_) | NotJoined::BadAddress(_))) => {
                kept.forget(cluster_dir);
                return Err(AskError::NotAdmitted(error));
            }
            Err(error) => return Err(AskError::PerhapsAdmitted(error)),
        };
        let welcome = Welcome::read(&joined.welcome)?;
        let mut peers = vec![peer];
        peers.extend(welcome.peers());
        let cluster_key = welcome.cluster_key()?;
        Ok(Self { identity: joined.identity, peers, cluster_key, welcome })
    }

    /// Refuses settings whose store would not fit into the cluster.
    pub(crate) fn expect_fitting(&self, global: &Global) -> Result<(), MisfitError> {
        let has = self.welcome.parameters;
        let wanted = [
            ("granularity", global.granularity, has.granularity),
            ("branching", global.branching.map(u64::from), u64::from(has.branching)),
        ];
        let differs = wanted.into_iter().find(|(_, wanted, has)| wanted.is_some_and(|wanted| wanted != *has));
        let Some((name, Some(wanted), has)) = differs else { return Ok(()) };
        Err(MisfitError { name, has, wanted })
    }

    /// The options of its store, with the parameters and the key of the cluster.
    pub(crate) fn options(&self) -> Options {
        let sketch_key = sketch_key(self.cluster_key);
        let options = Options::default().parameters(self.welcome.parameters).sketch_key(sketch_key);
        options.joins().node(self.identity.node())
    }

    /// Stores the peers, the removals, the key of the cluster and the identity. The identity comes last: a directory that has it has the rest.
    pub(crate) async fn settle(
        &self,
        replica: &Replica,
        cluster_dir: &ClusterDir,
    ) -> Result<(), SettleError> {
        let member_store = MemberStore::of(replica).await?;
        // The node that admitted it comes first.
        self.peers.iter().take(1).for_each(|peer| member_store.members().expect(peer));
        self.welcome.introduce_to(member_store.members());
        member_store.expect(&self.peers).await?;
        let removals = removed_from(replica, self.identity.clone()).await?;
        for statement in self.welcome.removals() {
            match replica.remove_node(&removals, &statement).await {
                // A statement without a valid signature counts for nothing.
                Ok(_) | Err(RemovalError::NotTrue) => {}
                Err(error) => return Err(SettleError::Removal(error)),
            }
        }
        if let Some(key) = self.cluster_key {
            cluster_dir.store_cluster_key(key)?;
        }
        Ok(cluster_dir.store_identity(&self.identity)?)
    }
}
