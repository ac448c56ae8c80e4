//! QUIC as the network of a transport.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::join::JoinError;
use aevrion_core::identity::{Credentials, Identity, JOIN_PROTOCOL, PROTOCOL};
use aevrion_core::transport::{Connection, Limits, Refusal, TransportError};
use aevrion_net::{BindError, Client, GRACE, Network, TransportState};
use async_trait::async_trait;
use quinn::{ClientConfig, Connecting, Endpoint};

use crate::client::QuicClient;
use crate::connection::CLOSED;
use crate::error::refusal_of;
use crate::{dial, join, reset, settings};

/// QUIC at one address.
pub struct Quic {
    endpoint: Endpoint,
    address: SocketAddr,
    dialling: ClientConfig,
    renewing: ClientConfig,
}

#[async_trait]
impl Network for Quic {
    const NAME: &'static str = "quic";

    type Arrival = Connecting;

    fn bind(address: SocketAddr, credentials: &Credentials, limits: &Limits) -> Result<Self, BindError> {
        let listening = |source| BindError::Listen { address, source };
        let serving = settings::server(credentials.server_config()?, limits)?;
        let dialling = settings::client(credentials.client_config(PROTOCOL)?, limits)?;
        let renewing = settings::client(credentials.client_config(JOIN_PROTOCOL)?, limits)?;
        let socket = settings::socket(address).map_err(listening)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let config = reset::endpoint_config(credentials.current().key());
        let endpoint = Endpoint::new(config, Some(serving), socket, runtime);
        let endpoint = endpoint.map_err(listening)?;
        let address = endpoint.local_addr().map_err(listening)?;
        Ok(Self { endpoint, address, dialling, renewing })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    /// The source address of a first packet may be forged. Once half of the handshake places are taken, clients must
    /// validate theirs first (a Retry packet, RFC 9000, 8.1.2); that costs them one round trip, and this node no state.
    async fn arrival(&self, state: &TransportState) -> Option<(Connecting, SocketAddr)> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let from = incoming.remote_address();
            let crowded = state.handshakes.taken() >= state.limits.handshakes / 2;
            if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
                // It fails only if a retry is not allowed, which was checked above.
                let _ = incoming.retry();
                continue;
            }
            match incoming.accept() {
                Ok(connecting) => return Some((connecting, from)),
                Err(error) => state.refusals.refuse(&from.to_string(), refusal_of(&error)),
            }
        }
    }

    async fn secure(&self, arrival: Connecting, _from: SocketAddr) -> Result<Box<dyn Client>, Refusal> {
        Ok(Box::new(QuicClient::secure(arrival).await?))
    }

    async fn dial(
        &self,
        state: &TransportState,
        address: &str,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let connection = self.connect(address, &self.dialling, &state.limits).await?;
        Ok(Arc::new(dial::admitted(state, address, connection).await?))
    }

    async fn renew(&self, state: &TransportState, address: &str) -> Result<Identity, JoinError> {
        let connection = self.connect(address, &self.renewing, &state.limits).await?;
        join::renew(&connection, address, &state.credentials.current()).await
    }

    fn close(&self, reason: &str) {
        self.endpoint.close(CLOSED, reason.as_bytes());
    }

    async fn closed(&self, _state: &TransportState) {
        let _ = tokio::time::timeout(GRACE, self.endpoint.wait_idle()).await;
    }
}

impl Quic {
    async fn connect(
        &self,
        address: &str,
        config: &ClientConfig,
        limits: &Limits,
    ) -> Result<quinn::Connection, TransportError> {
        dial::connect(&self.endpoint, self.address, address, config, limits).await
    }
}
