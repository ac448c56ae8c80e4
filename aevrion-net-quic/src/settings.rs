//! QUIC's settings, derived from the limits that all transports share.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use aevrion_core::transport::Limits;
use aevrion_net::BindError;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

/// Streams the other side may have open: one per lane. Joining takes one.
const STREAMS: u32 = 2;

/// Incoming connections that wait to be accepted. They are accepted at once: this covers a moment's delay.
const KNOCKING: usize = 256;

/// Bytes each of them may send meanwhile, beyond its first packet.
const KNOCKING_BYTES: u64 = 16 << 10;

/// Size requested for the socket's receive and send buffers. The system's default holds about a hundred packets, a
/// millisecond's worth on a fast link; packets that arrive while this process is not scheduled would be lost and sent
/// again. The system may grant less.
const SOCKET_BYTES: usize = 4 << 20;

/// A UDP socket at `address`.
pub(crate) fn socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // IPv4 and IPv6, where the system allows both.
        let _ = socket.set_only_v6(false);
    }
    // Best effort: smaller buffers are only slower.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

pub(crate) fn server(tls: rustls::ServerConfig, limits: &Limits) -> Result<ServerConfig, BindError> {
    let crypto = QuicServerConfig::try_from(Arc::new(tls)).map_err(|error| settings(&error))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(transport(limits)?)
        .max_incoming(KNOCKING)
        .incoming_buffer_size(KNOCKING_BYTES)
        .incoming_buffer_size_total(KNOCKING_BYTES * KNOCKING as u64);
    Ok(config)
}

pub(crate) fn client(tls: rustls::ClientConfig, limits: &Limits) -> Result<ClientConfig, BindError> {
    let crypto = QuicClientConfig::try_from(Arc::new(tls)).map_err(|error| settings(&error))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(limits)?);
    Ok(config)
}

fn transport(limits: &Limits) -> Result<Arc<TransportConfig>, BindError> {
    let idle = IdleTimeout::try_from(limits.idle).map_err(|error| settings(&error))?;
    let window = u32::try_from(limits.window).map_err(|error| settings(&error))?;
    let both = VarInt::from_u32(window.saturating_mul(2));
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(limits.keep_alive()))
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(0_u8.into())
        .stream_receive_window(window.into())
        // Room for both lanes: an unread lane uses up its own half, never the other's.
        .receive_window(both)
        // Twice the window of both lanes: so unacknowledged bytes of one lane leave room for the other, and the lanes'
        // priority is decided packet by packet.
        .send_window(u64::from(both) * 2)
        .datagram_receive_buffer_size(None);
    Ok(Arc::new(config))
}

fn settings(error: &dyn std::error::Error) -> BindError {
    BindError::Limits { network: "QUIC", what: error.to_string() }
}
