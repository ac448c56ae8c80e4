//! Dialling another node.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::SERVER_NAME;
use aevrion_core::transport::{Limits, Refusal, TransportError};
use aevrion_net::{TransportState, first_to_answer, resolve};
use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::chunk::{self, Chunk};
use crate::connection::TcpConnection;
use crate::counted::Counted;
use crate::error::dial_error;
use crate::open_connections::OpenConnections;
use crate::socket;

/// Opens a stream to `address` that speaks `protocol`. `config` verifies the server.
pub(crate) async fn connect(
    address: &str,
    config: &Arc<ClientConfig>,
    protocol: &[u8],
    limits: &Limits,
) -> Result<(TlsStream<Counted>, SocketAddr), TransportError> {
    let resolved = resolve(address).await?;
    let connected = first_to_answer(limits, address, &resolved, |at| reach(address, at, config)).await;
    let (stream, at) = connected?;
    if stream.get_ref().1.alpn_protocol() != Some(protocol) {
        return Err(TransportError::not_trusted(address, Refusal::WrongProtocol));
    }
    Ok((stream, at))
}

/// Connects to one resolved address of the host.
async fn reach(
    address: &str,
    at: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<(TlsStream<Counted>, SocketAddr), TransportError> {
    let unreachable = |error: std::io::Error| TransportError::Unreachable {
        address: address.to_owned(),
        what: error.to_string(),
    };
    let stream = TcpStream::connect(at).await.map_err(unreachable)?;
    socket::prepare(&stream).map_err(|error| dial_error(address, &error))?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| TransportError::BadAddress {
        address: address.to_owned(),
        what: error.to_string(),
    })?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, Counted::new(stream)).await;
    Ok((stream.map_err(|error| dial_error(address, &error))?, at))
}

/// Turns a stream into a connection, once the server has admitted this node.
pub(crate) async fn admitted(
    state: &TransportState,
    open: &OpenConnections,
    address: &str,
    mut stream: TlsStream<Counted>,
    at: SocketAddr,
) -> Result<TcpConnection, TransportError> {
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first);
    let neighbour = state.credentials.node_reached(address, certificate)?;
    let arrived = welcomed(&mut stream, address).await.map_err(|error| error.said_by(neighbour.node))?;
    let counts = stream.get_ref().0.counts();
    let place = state.connections.admit_dialled()?;
    Ok(TcpConnection::start(state, open, (neighbour, at), stream, counts, arrived, place))
}

/// Waits for the server's welcome, and returns the bytes received after it.
pub(crate) async fn welcomed(
    stream: &mut TlsStream<Counted>,
    address: &str,
) -> Result<BytesMut, TransportError> {
    let mut arrived = BytesMut::new();
    let word = loop {
        match chunk::take(&mut arrived) {
            Ok(Some(chunk)) => break chunk,
            Ok(None) => {}
            Err(_) => return Err(TransportError::not_trusted(address, Refusal::WrongProtocol)),
        }
        let read = stream.read_buf(&mut arrived).await.map_err(|error| dial_error(address, &error))?;
        if read == 0 {
            return Err(dial_error(address, &std::io::ErrorKind::UnexpectedEof.into()));
        }
    };
    match word {
        Chunk::Welcome => Ok(arrived),
        Chunk::Close(reason) => {
            Err(TransportError::Refused { address: address.to_owned(), reason, by: None })
        }
        _ => Err(TransportError::not_trusted(address, Refusal::WrongProtocol)),
    }
}
