//! Strangers and bad input: the promises of all transports, and attacks possible only with packets on a UDP port.

mod raw;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::conformance::{Cluster, Kit, run};
use aevrion_core::identity::join::{JoinError, Joined, Joining, Token};
use aevrion_core::identity::{Credentials, NodeKey, PROTOCOL, SERVER_NAME};
use aevrion_core::transport::{Limits, TransportError};
use async_trait::async_trait;
use quinn::Endpoint;
use rustls::ClientConfig;
use tokio::net::UdpSocket;

use crate::dial::{connect, lanes};
use crate::{QuicTransport, settings};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

struct QuicKit;

#[async_trait]
impl Kit for QuicKit {
    fn bind(&self, credentials: Credentials, limits: Limits) -> Result<Arc<dyn Joining>, String> {
        let bound = QuicTransport::bind(SocketAddr::from((LOOPBACK, 0)), credentials, limits);
        bound.map(|transport| Arc::new(transport) as Arc<dyn Joining>).map_err(|error| error.to_string())
    }

    async fn join(&self, address: &str, token: &Token, key: &NodeKey) -> Result<Joined, JoinError> {
        crate::join(address, token, key, &["joiner:7388".to_owned()], &Limits::default()).await
    }

    async fn dial_with(&self, address: &str, config: ClientConfig) -> Result<(), TransportError> {
        let config = settings::client(config, &Limits::default()).unwrap();
        let here = SocketAddr::from((LOOPBACK, 0));
        let endpoint = Endpoint::client(here).unwrap();
        let connection = connect(&endpoint, here, address, &config, &Limits::default()).await?;
        lanes(&connection, address).await.map(drop)
    }

    async fn begin_handshakes(&self, address: SocketAddr, number: usize) -> Box<dyn Any + Send> {
        let socket = UdpSocket::bind(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
        for packet in first_packets(number).await {
            socket.send_to(&packet, address).await.unwrap();
        }
        Box::new(socket)
    }
}

/// First packets of valid handshakes that never go on: a client dials an address that only records packets.
async fn first_packets(number: usize) -> Vec<Vec<u8>> {
    let listener = UdpSocket::bind(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
    let at = listener.local_addr().unwrap();
    let tls = Credentials::new(Cluster::new().sound_node()).client_config(PROTOCOL).unwrap();
    let config = settings::client(tls, &Limits::default()).unwrap();
    let client = Endpoint::client(SocketAddr::from((LOOPBACK, 0))).unwrap();
    let mut begun = Vec::new();
    let mut packets = BTreeMap::new();
    let mut buffer = [0; 2048];
    while packets.len() < number {
        begun.push(client.connect_with(config.clone(), at, SERVER_NAME).unwrap());
        let (length, _) = listener.recv_from(&mut buffer).await.unwrap();
        // The same handshake may send its first packet again: packets are told apart by their connection ids (RFC 9000,
        // 17.2).
        let id = buffer[6..6 + usize::from(buffer[5])].to_vec();
        packets.entry(id).or_insert_with(|| buffer[..length].to_vec());
    }
    packets.into_values().collect()
}

#[tokio::test]
async fn strangers_are_refused_and_honest_nodes_notice_nothing() {
    run(QuicKit).await;
}
