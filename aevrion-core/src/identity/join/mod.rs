//! Joining a cluster, and renewing a certificate.
//!
//! ```text
//! issuer                                   joining machine
//! token: secret + authority's fingerprint ─ by hand ─▶
//!                     ◀─ TLS, JOIN_PROTOCOL: the server's authority must have that fingerprint
//!                     ◀─ Join { secret, signing request, addresses }
//! redeems the secret, once
//! signs the key       ─▶ Welcome { certificate, authority, opaque additions }
//! ```
//!
//! The secret is sent only to an authenticated node of the cluster. It admits one node: the issuer stores its hash and
//! the key that used it. The same key may ask again while the token is valid, as the answer may get lost; another key
//! may not.
//!
//! Renewal is the same exchange without a token: the certificate presented in the handshake identifies the node.

mod ask;
mod registrar;
mod serve;
mod token;
mod tokens;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Identity, IdentityError};
use crate::NodeId;
use crate::transport::{Transport, TransportError};

pub use ask::{Joined, ask_to_join, ask_to_renew};
pub use registrar::Registrar;
pub use serve::JoinServer;
pub use token::{NotAToken, Secret, Token};
pub use tokens::{RedeemError, TOKEN_VALIDITY, Tokens};
pub use wire::{JoinRefusal, JoinRequest, Welcome};

/// Decides about joining and renewing. [`Registrar`] is the usual one, on the node with the authority's key.
#[async_trait]
pub trait JoinHandler: Send + Sync + 'static {
    /// Makes a node of the machine at `from`, or refuses.
    async fn join(&self, request: JoinRequest, from: &str) -> Result<Welcome, JoinRefusal>;

    /// A new certificate (DER) for the authenticated `node`. `signing_request` may be for any key, and must be refused
    /// if that key is not the node's.
    async fn renew(&self, node: NodeId, signing_request: Vec<u8>) -> Result<Vec<u8>, JoinRefusal>;
}

/// A transport between nodes with certificates, over which machines can join.
#[async_trait]
pub trait Joining: Transport {
    /// Lets `handler` answer requests to join or to renew. Before this call they are refused, as this node does not
    /// hold the authority.
    fn answer_joins(&self, handler: Arc<dyn JoinHandler>);

    /// Asks the node at `address` for a new certificate. The caller [installs](super::Credentials::replace) and stores
    /// the identity.
    ///
    /// # Errors
    /// [`JoinError`].
    async fn renew(&self, address: &str) -> Result<Identity, JoinError>;
}

/// Why joining or renewing failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The node could not be reached or authenticated. For a join, [`ForeignAuthority`] means that the node belongs to
    /// another cluster than the token.
    ///
    /// [`ForeignAuthority`]: crate::transport::Refusal::ForeignAuthority
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The node refused.
    #[error("the node refuses: {0}")]
    Refused(JoinRefusal),
    /// The answer was malformed or incomplete.
    #[error("the node does not keep to the protocol: {0}")]
    Protocol(String),
    /// The answer is not an identity of this cluster, or there is no identity to renew.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}
