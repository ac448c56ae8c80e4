//! The transport of Aevrion over TCP and TLS 1.3, for networks that carry no UDP.
//!
//! Both lanes of a connection share one stream, in chunks taken from each in turn, so that neither waits for more than
//! a chunk of the other. Each lane has its own credit: the receiver grants a number of bytes, and a lane whose frames
//! are not received stops alone. The file `chunk.rs` describes the wire format.

mod chunk;
mod connection;
mod counted;
mod dial;
mod drive;
mod error;
mod inbox;
mod join;
mod listener;
mod outbox;
mod socket;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aevrion_core::NodeId;
use aevrion_core::identity::join::{JoinDesk, JoinError, JoinHandler, Joining};
use aevrion_core::identity::{Credentials, Identity, JOIN_PROTOCOL, PROTOCOL};
use aevrion_core::transport::{
    AcceptQueue, CloseReason, Connection, ConnectionLimiter, Limits, Refusal, Removals, Transport,
    TransportError, accept_queue,
};
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use connection::TcpConnection;
use drive::GRACE;
pub use error::BindError;
pub use join::join;
use state::Core;

/// A transport over TCP.
pub struct TcpTransport {
    core: Arc<Core>,
    arriving: AcceptQueue<TcpConnection>,
}

impl TcpTransport {
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
        let listener = std::net::TcpListener::bind(address).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        let listener = TcpListener::from_std(listener).map_err(listening)?;
        let core = Arc::new(Core {
            address: listener.local_addr().map_err(listening)?,
            limiter: ConnectionLimiter::new(&limits),
            serving: Arc::new(credentials.server_config()?),
            dialling: Arc::new(credentials.client_config(PROTOCOL)?),
            renewing: Arc::new(credentials.client_config(JOIN_PROTOCOL)?),
            credentials,
            limits,
            joins: JoinDesk::default(),
            close_reason: CloseReason::default(),
            connections: Mutex::default(),
        });
        let (queue, arriving) = accept_queue();
        tokio::spawn(listener::listen(Arc::clone(&core), listener, queue));
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
impl Transport for TcpTransport {
    fn name(&self) -> &'static str {
        "tcp"
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
        // Connections release their slots once they have sent their close reasons.
        let _ = tokio::time::timeout(GRACE * 2, self.core.limiter.empty()).await;
    }
}

#[async_trait]
impl Joining for TcpTransport {
    fn answer_joins(&self, handler: Arc<dyn JoinHandler>) {
        self.core.joins.answer_with(handler);
    }

    async fn renew(&self, address: &str) -> Result<Identity, JoinError> {
        join::renew(&self.core, address).await
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.core.close("the node is stopping");
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("address", &self.core.address)
            .field("node", &self.core.credentials.node())
            .finish_non_exhaustive()
    }
}
