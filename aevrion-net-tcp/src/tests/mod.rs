//! Strangers and bad input: the promises of all transports, and attacks possible only with bytes on a TCP port.

mod raw;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::conformance::{Kit, run};
use aevrion_core::identity::join::{JoinError, Joined, Joining, Token};
use aevrion_core::identity::{Credentials, NodeKey};
use aevrion_core::transport::{Limits, TransportError};
use async_trait::async_trait;
use rustls::ClientConfig;
use tokio::net::TcpStream;

use crate::TcpTransport;
use crate::dial::{connect, welcomed};

struct TcpKit;

#[async_trait]
impl Kit for TcpKit {
    fn bind(&self, credentials: Credentials, limits: Limits) -> Result<Arc<dyn Joining>, String> {
        let bound = TcpTransport::bind(SocketAddr::from(([127, 0, 0, 1], 0)), credentials, limits);
        bound.map(|transport| Arc::new(transport) as Arc<dyn Joining>).map_err(|error| error.to_string())
    }

    async fn join(&self, address: &str, token: &Token, key: &NodeKey) -> Result<Joined, JoinError> {
        crate::join(address, token, key, &["joiner:7388".to_owned()], &Limits::default()).await
    }

    async fn dial_with(&self, address: &str, config: ClientConfig) -> Result<(), TransportError> {
        let protocol = config.alpn_protocols[0].clone();
        let (mut stream, _) = connect(address, &Arc::new(config), &protocol, &Limits::default()).await?;
        welcomed(&mut stream, address).await.map(drop)
    }

    async fn begin_handshakes(&self, address: SocketAddr, number: usize) -> Box<dyn Any + Send> {
        let mut silent = Vec::new();
        for _ in 0..number {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        Box::new(silent)
    }
}

#[tokio::test]
async fn strangers_are_refused_and_honest_nodes_notice_nothing() {
    run(TcpKit).await;
}
