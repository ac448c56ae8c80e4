//! Becoming a node: a token is shown to the cluster, and what comes back is an identity and what to open the store with.

use aevrion_core::identity::join::Token;
use aevrion_core::identity::{Identity, NodeKey};
use aevrion_core::sync::Peer;
use aevrion_core::{Options, Replica, WantedParameters};

use super::{Home, Welcome, remember_peers, transports};
use crate::cli::Global;
use crate::exit::Failure;

/// A node that the cluster has let in, and whose store is still to be made.
pub(crate) struct Newcomer {
    pub(crate) identity: Identity,
    /// The node that let it in, and those that one knows.
    pub(crate) peers: Vec<Peer>,
    welcome: Welcome,
}

impl Newcomer {
    /// Asks the node at `peer` to let one in that can be reached at `addresses`.
    pub(crate) async fn ask(peer: Peer, token: &Token, addresses: &[String]) -> Result<Self, Failure> {
        let key = NodeKey::generate().map_err(Failure::error)?;
        let joined = transports::join(&peer, token, &key, addresses).await?;
        let welcome = Welcome::read(&joined.welcome)?;
        let mut peers = vec![peer];
        peers.extend(welcome.peers());
        Ok(Self { identity: joined.identity, peers, welcome })
    }

    /// Refuses settings whose store would not fit into the cluster.
    pub(crate) fn expect_fitting(&self, global: &Global) -> Result<(), Failure> {
        let has = self.welcome.parameters;
        let wanted = [
            ("granularity", global.granularity, has.granularity),
            ("branching", global.branching.map(u64::from), u64::from(has.branching)),
        ];
        let differs = wanted.into_iter().find(|(_, wanted, has)| wanted.is_some_and(|wanted| wanted != *has));
        let Some((name, Some(wanted), has)) = differs else { return Ok(()) };
        Err(Failure::usage(format!(
            "the {name} of the cluster is {has}, that of the settings {wanted}: leave --{name} out, and get a new \
             token, for this one is used up"
        )))
    }

    /// What its store must be opened with, so that it fits into the cluster.
    pub(crate) fn options(&self) -> Options {
        let parameters = self.welcome.parameters;
        Options {
            parameters: WantedParameters {
                granularity: Some(parameters.granularity),
                branching: Some(parameters.branching),
                longest_key: Some(parameters.longest_key),
                largest_data: Some(parameters.largest_data),
            },
            node: Some(self.identity.node()),
            ..Options::default()
        }
    }

    /// Takes note of everything in its store and in its home. The identity comes last: where it is, there is everything.
    pub(crate) async fn settle(&self, replica: &Replica, home: &Home) -> Result<(), Failure> {
        remember_peers(replica, &self.peers).await?;
        home.keep(&self.identity)
    }
}
