//! How a machine becomes a node, and how a node's certificate is renewed.
//!
//! ```text
//! issuer                                   machine that joins
//! token: secret + authority's fingerprint ─ by hand ─▶
//!                     ◀─ TLS, JOIN_PROTOCOL: the server's authority must have that fingerprint
//!                     ◀─ Join { secret, signing request, addresses }
//! redeems the secret, once
//! signs the key       ─▶ Welcome { certificate, authority, what the caller adds }
//! ```
//!
//! The secret is sent only to a node that has proven to belong to the cluster. It is worth one node: the issuer keeps
//! its hash, and remembers for which key it was used. The same key may ask again while the token is valid, since the
//! answer can get lost on the way; another key may not.
//!
//! Renewal is the same exchange without a token: the certificate shown in the handshake says who asks.

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
pub use serve::JoinDesk;
pub use token::{NotAToken, Secret, Token};
pub use tokens::{TOKEN_VALIDITY, Tokens};
pub use wire::{JoinRefusal, JoinRequest, Welcome};

/// Whoever decides about joining and renewing. [`Registrar`] is the usual one, at the node with the authority's key.
#[async_trait]
pub trait JoinHandler: Send + Sync + 'static {
    /// Makes a node of the machine at `from` that asks, or says why not.
    async fn join(&self, request: JoinRequest, from: &str) -> Result<Welcome, JoinRefusal>;

    /// A fresh certificate (DER) for `node`, which has proven to be it. `signing_request` may be for any key: it is
    /// to be refused if that is not the node's.
    async fn renew(&self, node: NodeId, signing_request: Vec<u8>) -> Result<Vec<u8>, JoinRefusal>;
}

/// A transport between nodes with certificates, over which others can join.
#[async_trait]
pub trait Joining: Transport {
    /// Lets `handler` answer those who want to join or to renew. Until then they are told that this node does not
    /// hold the authority.
    fn answer_joins(&self, handler: Arc<dyn JoinHandler>);

    /// Asks the node at `address` for a fresh certificate. The caller puts the identity
    /// [in place](super::Credentials::replace) and stores it.
    ///
    /// # Errors
    /// [`JoinError`].
    async fn renew(&self, address: &str) -> Result<Identity, JoinError>;
}

/// Why joining or renewing did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The node could not be reached, or did not prove what it has to. For a join, [`ForeignAuthority`] means that it
    /// belongs to another cluster than the token.
    ///
    /// [`ForeignAuthority`]: crate::transport::Refusal::ForeignAuthority
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// It said no.
    #[error("the node refuses: {0}")]
    Refused(JoinRefusal),
    /// What it said makes no sense, or it stopped in the midst of it.
    #[error("the node does not keep to the protocol: {0}")]
    Protocol(String),
    /// What it sent is no identity of this cluster, or there is none here to renew.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}
