//! The directory `cluster/` in a node's data directory: its key, its certificate, and the authority's key if it has it.

use std::path::{Path, PathBuf};

use aevrion_core::identity::join::{TOKEN_VALIDITY, Token, Tokens};
use aevrion_core::identity::{Authority, CERTIFICATE_VALIDITY, ClusterKey, Identity, IdentityError, NodeKey};
use aevrion_core::sketch::SketchKey;
use aevrion_core::{NodeId, SystemWall, WallClock};

/// The error of a request that only a node in a cluster can answer.
pub(crate) const NO_CLUSTER: &str =
    "this node is no part of a cluster: `aevrion cluster init` makes one of its directory";

/// The answer of a running node to a request for a token.
pub(crate) const TOKENS_BY_FILE: &str = "a token makes a machine a node of the cluster, so it is issued only to who may \
     write in the data directory of the node with the authority: run `aevrion cluster token --data DIR` there, also \
     while it is served";

/// The authority's key cannot be used here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{NO_CLUSTER}")]
    NoCluster,
    #[error(
        "this node does not hold the cluster's authority: ask the node where `aevrion cluster init` was run"
    )]
    OnAnotherNode,
}

/// The directory cannot become a new node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewNodeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "this directory is node {node} of a cluster already: choose another directory, or remove {} to leave it",
        path.display()
    )]
    InCluster { node: NodeId, path: PathBuf },
}

/// The directory `cluster/`.
#[derive(Debug, Clone)]
pub(crate) struct ClusterDir(PathBuf);

impl ClusterDir {
    /// The directory in this data directory.
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.join("cluster"))
    }

    /// The path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The node's identity; `None` if it belongs to no cluster yet.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, IdentityError> {
        match Identity::load(&self.0) {
            Ok(identity) => Ok(Some(identity)),
            Err(IdentityError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The authority's key, if this node has it.
    pub(crate) fn authority(&self) -> Result<Option<Authority>, IdentityError> {
        match Authority::load(&self.0) {
            Ok(authority) => Ok(Some(authority)),
            Err(IdentityError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The key of the cluster; `None` in a cluster of an older release.
    pub(crate) fn cluster_key(&self) -> Result<Option<ClusterKey>, IdentityError> {
        ClusterKey::load(&self.0)
    }

    /// The key of the sketch of a member's store.
    pub(crate) fn sketch_key(&self) -> Result<SketchKey, IdentityError> {
        let key = self.cluster_key()?;
        if key.is_none() {
            tracing::info!("the cluster has no key of its own: its sketches have the public one");
        }
        Ok(sketch_key(key))
    }

    /// The authority's key, which this node must have.
    pub(crate) fn expect_authority(&self) -> Result<Authority, AuthorityError> {
        if let Some(authority) = self.authority()? {
            return Ok(authority);
        }
        Err(match self.identity()? {
            None => AuthorityError::NoCluster,
            Some(_) => AuthorityError::OnAnotherNode,
        })
    }

    /// Creates a cluster with this node as its first member.
    pub(crate) fn create_cluster(&self) -> Result<Identity, NewNodeError> {
        self.expect_no_identity()?;
        let now = SystemWall.now();
        let authority = Authority::make_at(now)?;
        let key = NodeKey::generate()?;
        let certificate = authority.issue(&key.signing_request()?, now, CERTIFICATE_VALIDITY)?;
        let identity = Identity::new(key, certificate, authority.certificate().to_vec())?;
        authority.store(&self.0)?;
        ClusterKey::generate().store(&self.0)?;
        identity.store(&self.0)?;
        Ok(identity)
    }

    /// Fails if this node belongs to a cluster already.
    pub(crate) fn expect_no_identity(&self) -> Result<(), NewNodeError> {
        match self.identity()? {
            None => Ok(()),
            Some(identity) => Err(NewNodeError::InCluster { node: identity.node(), path: self.0.clone() }),
        }
    }

    /// Stores the key of the cluster.
    pub(crate) fn store_cluster_key(&self, key: ClusterKey) -> Result<(), IdentityError> {
        key.store(&self.0)
    }

    /// Stores an identity.
    pub(crate) fn store_identity(&self, identity: &Identity) -> Result<(), IdentityError> {
        identity.store(&self.0)
    }

    /// Issues a token, by which one machine can join within the hour.
    pub(crate) fn issue_token(&self) -> Result<Token, AuthorityError> {
        let authority = self.expect_authority()?;
        Ok(self.tokens().issue(authority.fingerprint(), SystemWall.now(), TOKEN_VALIDITY)?)
    }

    /// The issued tokens.
    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::in_directory(&self.0)
    }
}

/// The key of the sketches in a cluster with this key, or without one.
pub(super) fn sketch_key(key: Option<ClusterKey>) -> SketchKey {
    key.map_or(SketchKey::PUBLIC, |key| SketchKey::from_bytes(*key.as_bytes()))
}
