//! A network behind the core's `Transport` trait, and `Joining` beside it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::NodeId;
use aevrion_core::identity::join::{JoinError, JoinHandler, Joining};
use aevrion_core::identity::{Credentials, Identity};
use aevrion_core::transport::{
    Connection, Limits, Refusal, Removals, Side, Transport, TransportError, shortened,
};
use async_trait::async_trait;
use tokio::runtime::Handle;

use crate::accept_queue::AcceptQueue;
use crate::dialling::in_time;
use crate::error::BindError;
use crate::listening::listen;
use crate::network::Network;
use crate::state::TransportState;

/// A transport over the network `N`. Dropping it closes it.
pub struct NetworkTransport<N: Network> {
    network: Arc<N>,
    state: Arc<TransportState>,
    accepted: AcceptQueue,
}

impl<N: Network> NetworkTransport<N> {
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
        let network = Arc::new(N::bind(address, &credentials, &limits)?);
        let state = Arc::new(TransportState::new(credentials, limits));
        let (sender, accepted) = AcceptQueue::new();
        tokio::spawn(listen(Arc::clone(&network), Arc::clone(&state), sender));
        Ok(Self { network, state, accepted })
    }

    /// The address on which it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.network.address()
    }

    /// Its credentials. A replaced identity applies from the next handshake on.
    pub fn credentials(&self) -> &Credentials {
        &self.state.credentials
    }

    fn end(&self, reason: &str) {
        // The second reason is neither kept nor sent.
        if self.state.close_reason.end(Side::Here, reason) {
            self.network.close(shortened(reason));
        }
    }
}

#[async_trait]
impl<N: Network> Transport for NetworkTransport<N> {
    fn name(&self) -> &'static str {
        N::NAME
    }

    fn node(&self) -> NodeId {
        self.state.credentials.node()
    }

    fn address(&self) -> String {
        self.network.address().to_string()
    }

    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError> {
        let dialled = self.network.dial(&self.state, address);
        tokio::select! {
            biased;
            error = self.state.close_reason.wait() => Err(error),
            dialled = in_time(&self.state.limits, address, dialled) => dialled,
        }
    }

    async fn accept(&self) -> Option<Arc<dyn Connection>> {
        self.accepted.next(&self.state.close_reason).await
    }

    fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.state.refusals.counts()
    }

    fn join_refusals(&self) -> Vec<(&'static str, u64)> {
        self.state.joins.refusals()
    }

    fn removals(&self) -> Option<Removals> {
        Some(self.state.credentials.removals().clone())
    }

    async fn close(&self, reason: &str) {
        self.end(reason);
        self.network.closed(&self.state).await;
    }
}

#[async_trait]
impl<N: Network> Joining for NetworkTransport<N> {
    fn answer_joins(&self, handler: Arc<dyn JoinHandler>) {
        self.state.joins.answer_with(handler);
    }

    async fn renew(&self, address: &str) -> Result<Identity, JoinError> {
        in_time(&self.state.limits, address, self.network.renew(&self.state, address)).await
    }
}

impl<N: Network> Drop for NetworkTransport<N> {
    fn drop(&mut self) {
        self.end("the node is stopping");
    }
}

impl<N: Network> fmt::Debug for NetworkTransport<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkTransport")
            .field("network", &N::NAME)
            .field("address", &self.network.address())
            .field("node", &self.state.credentials.node())
            .finish_non_exhaustive()
    }
}
