//! TCP as the network of a transport.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use aevrion_core::identity::join::{JoinError, ask_to_renew};
use aevrion_core::identity::{Credentials, Identity, JOIN_PROTOCOL, PROTOCOL};
use aevrion_core::transport::{Connection, Limits, Refusal, TransportError};
use aevrion_net::{BindError, Client, GRACE, Network, TransportState};
use async_trait::async_trait;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::{TcpListener, TcpStream};

use crate::client::TcpClient;
use crate::dial;
use crate::open_connections::OpenConnections;

/// Pause when the system has no more sockets: until some are closed.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// TCP and TLS at one address.
pub struct Tcp {
    /// `None` once closed: the port is free as soon as the listener is dropped.
    listener: Mutex<Option<TcpListener>>,
    address: SocketAddr,
    serving: Arc<ServerConfig>,
    dialling: Arc<ClientConfig>,
    renewing: Arc<ClientConfig>,
    open: Arc<OpenConnections>,
}

#[async_trait]
impl Network for Tcp {
    const NAME: &'static str = "tcp";

    type Arrival = TcpStream;

    fn bind(address: SocketAddr, credentials: &Credentials, _limits: &Limits) -> Result<Self, BindError> {
        let listening = |source| BindError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        let listener = TcpListener::from_std(listener).map_err(listening)?;
        Ok(Self {
            address: listener.local_addr().map_err(listening)?,
            listener: Mutex::new(Some(listener)),
            serving: Arc::new(credentials.server_config()?),
            dialling: Arc::new(credentials.client_config(PROTOCOL)?),
            renewing: Arc::new(credentials.client_config(JOIN_PROTOCOL)?),
            open: Arc::default(),
        })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn arrival(&self, _state: &TransportState) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.accept().await? {
                Ok(arrival) => return Some(arrival),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(OUT_OF_SOCKETS).await;
                }
            }
        }
    }

    async fn secure(&self, arrival: TcpStream, from: SocketAddr) -> Result<Box<dyn Client>, Refusal> {
        let open = Arc::clone(&self.open);
        Ok(Box::new(TcpClient::secure(arrival, from, &self.serving, open).await?))
    }

    async fn dial(
        &self,
        state: &TransportState,
        address: &str,
    ) -> Result<Arc<dyn Connection>, TransportError> {
        let (stream, at) = dial::connect(address, &self.dialling, PROTOCOL, &state.limits).await?;
        Ok(Arc::new(dial::admitted(state, &self.open, address, stream, at).await?))
    }

    async fn renew(&self, state: &TransportState, address: &str) -> Result<Identity, JoinError> {
        let (mut stream, _) = dial::connect(address, &self.renewing, JOIN_PROTOCOL, &state.limits).await?;
        ask_to_renew(&mut stream, &state.credentials.current()).await
    }

    fn close(&self, reason: &str) {
        drop(self.listener().take());
        self.open.close(reason);
    }

    async fn closed(&self, state: &TransportState) {
        // Connections release their places once they have sent their close reasons.
        let _ = tokio::time::timeout(GRACE * 2, state.connections.empty()).await;
    }
}

impl Tcp {
    fn listener(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next connection; `None` once closed. Locks the listener only while it polls, so that a close can drop it.
    async fn accept(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        poll_fn(|context| match &*self.listener() {
            Some(listener) => Poll::Ready(Some(ready!(listener.poll_accept(context)))),
            None => Poll::Ready(None),
        })
        .await
    }
}
