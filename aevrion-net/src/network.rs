//! The interface between a network and its transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::NodeId;
use aevrion_core::identity::join::{JoinError, JoinServer};
use aevrion_core::identity::{Credentials, Identity, Member};
use aevrion_core::transport::{Connection, Limits, Refusal, TransportError};
use async_trait::async_trait;
use rustls::pki_types::CertificateDer;

use crate::connections::ConnectionPlace;
use crate::error::BindError;
use crate::state::TransportState;

/// How long the last words may take: a close that cannot be said in this time is not said.
pub const GRACE: Duration = Duration::from_secs(1);

/// A network: its sockets, and how connections over it are secured, welcomed and closed. It makes no decisions about
/// trust or limits.
#[async_trait]
pub trait Network: Sized + Send + Sync + 'static {
    /// The constant name used in addresses and in `status`.
    const NAME: &'static str;

    /// A connection of a client, before its TLS handshake.
    type Arrival: Send + 'static;

    /// Listens at `address`; port 0 takes any free port. Runs in a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    fn bind(address: SocketAddr, credentials: &Credentials, limits: &Limits) -> Result<Self, BindError>;

    /// The address on which it listens.
    fn address(&self) -> SocketAddr;

    /// The next arrival and the address that it comes from; `None` once the network is closed.
    async fn arrival(&self, state: &TransportState) -> Option<(Self::Arrival, SocketAddr)>;

    /// Completes the TLS handshake of an arrival from `from` as the server. The caller limits the time.
    ///
    /// # Errors
    /// The reason to count if the handshake fails.
    async fn secure(&self, arrival: Self::Arrival, from: SocketAddr) -> Result<Box<dyn Client>, Refusal>;

    /// Connects to the node at `address`, and waits for its admission of this node. The caller limits the time.
    ///
    /// # Errors
    /// [`TransportError`], as for [`Transport::dial`](aevrion_core::transport::Transport::dial).
    async fn dial(
        &self,
        state: &TransportState,
        address: &str,
    ) -> Result<Arc<dyn Connection>, TransportError>;

    /// Asks the node at `address` for a new certificate. The caller limits the time.
    ///
    /// # Errors
    /// [`JoinError`].
    async fn renew(&self, state: &TransportState, address: &str) -> Result<Identity, JoinError>;

    /// Stops listening, and closes every connection with `reason`, without waiting. Called once.
    fn close(&self, reason: &str);

    /// Waits until the reasons of all closes are sent, for a bounded time.
    async fn closed(&self, state: &TransportState);
}

/// A client after the TLS handshake: it has proven that it has the key of the certificate shown, and is not admitted
/// yet. Dropping it ends the connection.
#[async_trait]
pub trait Client: Send {
    /// The negotiated protocol (ALPN).
    fn protocol(&self) -> Option<&[u8]>;

    /// The certificates shown.
    fn certificates(&self) -> Option<&[CertificateDer<'static>]>;

    /// Tells the admitted client so, and makes it a neighbour.
    ///
    /// # Errors
    /// The reason to count if the client cannot be told.
    async fn welcome(
        self: Box<Self>,
        state: &TransportState,
        member: Member,
        place: ConnectionPlace,
    ) -> Result<Arc<dyn Connection>, Refusal>;

    /// Lets `joins` answer the client's request, and ends the connection. `node` and `from` are for
    /// [`JoinServer::answer`].
    ///
    /// # Errors
    /// The reason to count if there is no request, or no answer gets through.
    async fn answer(
        self: Box<Self>,
        joins: &JoinServer,
        node: Option<NodeId>,
        from: &str,
    ) -> Result<(), Refusal>;

    /// Ends the connection with `words` as the reason.
    async fn turn_away(self: Box<Self>, words: &str);
}
