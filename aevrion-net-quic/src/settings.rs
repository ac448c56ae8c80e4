//! QUIC's own settings, made of the limits that all transports share.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use aevrion_core::transport::Limits;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;

/// Streams that the other side may have open: one a lane. Joining takes one.
const STREAMS: u32 = 2;

/// Connections that knock and were not looked at yet. They are looked at at once: this is for a moment's delay.
const KNOCKING: usize = 256;

/// Bytes that one of them may send meanwhile, beyond its first packet.
const KNOCKING_BYTES: u64 = 16 << 10;

/// Bytes that the system is asked to hold for the socket, either way. Its default holds about a hundred packets, a
/// millisecond's worth on a fast link; what comes while this process has no turn would be lost and sent again. The
/// system may grant less.
const SOCKET_BYTES: usize = 4 << 20;

/// The socket at `address`.
pub(crate) fn socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Both kinds of addresses, where the system allows it.
        let _ = socket.set_only_v6(false);
    }
    // Less is slower, no more.
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
        // Room for both lanes: one that nobody reads uses up its own half, never the other's.
        .receive_window(both)
        // Twice what the other side will take of both, so that what it has not acknowledged yet on one lane leaves
        // room for the other, and the order of the lanes is decided in the packets.
        .send_window(u64::from(both) * 2)
        .datagram_receive_buffer_size(None);
    Ok(Arc::new(config))
}

fn settings(error: &dyn std::error::Error) -> BindError {
    BindError::Settings(error.to_string())
}
