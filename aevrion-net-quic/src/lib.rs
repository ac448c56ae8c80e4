//! The transport of Aevrion over QUIC: a stream for each lane, the live one first in every packet.
//!
//! ```text
//! client                                  server
//! handshake: TLS 1.3, both certificates ◀─▶
//!                                       admits the client, or closes with a reason
//!        ◀─ two bidirectional streams; the first byte of each names its lane
//! frames ◀─▶ frames                     a length of four bytes, and as many bytes
//! ```
//!
//! The server opens the streams: so a client knows of its admission before it sends anything.

/// Compiles the README's first program.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod connection;
mod dial;
mod error;
mod join;
mod lane;
mod listener;
mod reset;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::NodeId;
use aevrion_core::identity::join::{JoinDesk, JoinError, JoinHandler, Joining};
use aevrion_core::identity::{Credentials, Identity, JOIN_PROTOCOL, PROTOCOL};
use aevrion_core::transport::{
    AcceptQueue, Connection, ConnectionLimiter, Limits, Refusal, Removals, Transport, TransportError,
    accept_queue,
};
use async_trait::async_trait;
use quinn::Endpoint;
use tokio::runtime::Handle;

use connection::QuicConnection;
pub use error::BindError;
pub use join::join;
use state::{Core, GRACE};

/// A transport over QUIC.
pub struct QuicTransport {
    core: Arc<Core>,
    arriving: AcceptQueue<QuicConnection>,
}

impl QuicTransport {
    /// Listens at `address`; port 0 takes any free port. Needs a tokio runtime, which drives the transport from then
    /// on.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(
        address: SocketAddr,
        credentials: impl Into<Credentials>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let credentials = credentials.into();
        Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let listening = |source| BindError::Listen { address, source };
        let serving = settings::server(credentials.server_config()?, &limits)?;
        let dialling = settings::client(credentials.client_config(PROTOCOL)?, &limits)?;
        let renewing = settings::client(credentials.client_config(JOIN_PROTOCOL)?, &limits)?;
        let socket = settings::socket(address).map_err(listening)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let config = reset::endpoint_config(credentials.current().key());
        let endpoint = Endpoint::new(config, Some(serving), socket, runtime);
        let endpoint = endpoint.map_err(listening)?;
        let core = Arc::new(Core {
            address: endpoint.local_addr().map_err(listening)?,
            endpoint,
            credentials,
            limits,
            limiter: ConnectionLimiter::new(&limits),
            dialling,
            renewing,
            joins: JoinDesk::default(),
            close_reason: Arc::default(),
        });
        let (queue, arriving) = accept_queue();
        tokio::spawn(listener::listen(Arc::clone(&core), queue));
        Ok(Self { core, arriving })
    }

    /// The address on which it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.core.address
    }

    /// Its credentials. A replaced identity applies from the next handshake on.
    pub fn credentials(&self) -> &Credentials {
        &self.core.credentials
    }
}

#[async_trait]
impl Transport for QuicTransport {
    fn name(&self) -> &'static str {
        "quic"
    }

    fn node(&self) -> NodeId {
        self.core.credentials.node()
    }

    fn address(&self) -> String {
        self.core.address.to_string()
    }

    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError> {
        let connection = dial::dial(&self.core, address).await?;
        Ok(Arc::new(connection))
    }

    async fn accept(&self) -> Option<Arc<dyn Connection>> {
        let connection = self.arriving.next(&self.core.close_reason).await?;
        Some(Arc::new(connection))
    }

    fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.core.limiter.refusals()
    }

    fn join_refusals(&self) -> Vec<(&'static str, u64)> {
        self.core.joins.refusals()
    }

    fn removals(&self) -> Option<Removals> {
        Some(self.core.credentials.removals().clone())
    }

    async fn close(&self, reason: &str) {
        self.core.close(reason);
        // Until the closes are sent.
        let _ = tokio::time::timeout(GRACE, self.core.endpoint.wait_idle()).await;
    }
}

#[async_trait]
impl Joining for QuicTransport {
    fn answer_joins(&self, handler: Arc<dyn JoinHandler>) {
        self.core.joins.answer_with(handler);
    }

    async fn renew(&self, address: &str) -> Result<Identity, JoinError> {
        join::renew(&self.core, address).await
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.core.close("the node is stopping");
    }
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTransport")
            .field("address", &self.core.address)
            .field("node", &self.core.credentials.node())
            .finish_non_exhaustive()
    }
}
