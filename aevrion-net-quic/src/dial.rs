//! Dialling another node.

use std::net::SocketAddr;

use aevrion_core::identity::SERVER_NAME;
use aevrion_core::transport::{Lane, Limits, Refusal, TransportError};
use aevrion_net::{TransportState, first_to_answer, resolve};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use crate::connection::QuicConnection;
use crate::error::{connect_error, dial_error};

/// Opens a connection to `address` from an endpoint at `here`. `config` verifies the server.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    here: SocketAddr,
    address: &str,
    config: &ClientConfig,
    limits: &Limits,
) -> Result<Connection, TransportError> {
    let mut resolved = resolve(address).await?;
    resolved.retain(|at| here.is_ipv6() || at.is_ipv4());
    let attempt = async |at| {
        let connecting = endpoint.connect_with(config.clone(), at, SERVER_NAME);
        let connecting = connecting.map_err(|error| connect_error(address, &error))?;
        connecting.await.map_err(|error| dial_error(address, &error))
    };
    first_to_answer(limits, address, &resolved, attempt).await
}

/// The certificate chain of the other side.
pub(crate) fn shown(connection: &Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity()?.downcast().ok().map(|certificates| *certificates)
}

/// Turns a QUIC connection into a connection of the core, once the server has admitted this node.
pub(crate) async fn admitted(
    state: &TransportState,
    address: &str,
    connection: Connection,
) -> Result<QuicConnection, TransportError> {
    let certificate = shown(&connection).and_then(|shown| shown.into_iter().next());
    let neighbour = state.credentials.node_reached(address, certificate.as_ref())?;
    let lanes = lanes(&connection, address).await.map_err(|error| error.said_by(neighbour.node))?;
    let place = state.connections.admit_dialled()?;
    Ok(QuicConnection::start(state, neighbour, connection, lanes, place))
}

/// Waits for the lanes, which the server opens on admission; in the order of [`Lane::ALL`].
pub(crate) async fn lanes(
    connection: &Connection,
    address: &str,
) -> Result<[(SendStream, RecvStream); 2], TransportError> {
    let mut lanes: [Option<(SendStream, RecvStream)>; 2] = [None, None];
    while lanes.iter().any(Option::is_none) {
        let stream = connection.accept_bi().await.map_err(|error| dial_error(address, &error))?;
        let (sending, mut receiving) = stream;
        let mut tag = [0];
        if receiving.read_exact(&mut tag).await.is_err() {
            let refused = connection.close_reason().map(|error| dial_error(address, &error));
            return Err(
                refused.unwrap_or_else(|| TransportError::not_trusted(address, Refusal::WrongProtocol))
            );
        }
        let lane = Lane::ALL.iter().position(|lane| *lane as u8 == tag[0]);
        let place = lane.and_then(|lane| lanes.get_mut(lane)).filter(|place| place.is_none());
        *place.ok_or_else(|| TransportError::not_trusted(address, Refusal::WrongProtocol))? =
            Some((sending, receiving));
    }
    match lanes {
        [Some(live), Some(repair)] => Ok([live, repair]),
        _ => Err(TransportError::not_trusted(address, Refusal::WrongProtocol)),
    }
}
