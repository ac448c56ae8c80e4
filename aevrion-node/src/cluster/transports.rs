//! The transports that this program was built with.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::join::{JoinError, Joined, Joining, Token};
use aevrion_core::identity::{Credentials, NodeKey};
use aevrion_core::sync::Peer;
use aevrion_core::transport::{Limits, TransportError};

use crate::cli::TransportKind;
use crate::exit::Failure;

impl TransportKind {
    /// As addresses name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }

    /// The one that is used where none is named: QUIC, if it is built in.
    pub(crate) fn usual() -> Self {
        if cfg!(feature = "quic") { Self::Quic } else { Self::Tcp }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Quic, Self::Tcp].into_iter().find(|kind| kind.name() == name)
    }
}

/// Reads the address of a peer; one that names no transport gets the usual one.
pub(crate) fn parse_peer(text: &str, usual: TransportKind) -> Result<Peer, Failure> {
    let peer: Peer = text.parse().map_err(Failure::usage)?;
    match peer.transport() {
        None => Ok(Peer::over(usual.name(), peer.address())),
        Some(name) if TransportKind::named(name).is_some() => Ok(peer),
        Some(name) => {
            Err(Failure::usage(format!("`{name}` is no transport: give quic://host:port or tcp://host:port")))
        }
    }
}

/// Listens at `address`.
pub(super) fn bind(
    kind: TransportKind,
    address: SocketAddr,
    credentials: &Credentials,
) -> Result<Arc<dyn Joining>, Failure> {
    match kind {
        TransportKind::Quic => bind_quic(address, credentials),
        TransportKind::Tcp => bind_tcp(address, credentials),
    }
}

/// Asks the node at `peer` to let the holder of `key` join.
pub(super) async fn join(
    peer: &Peer,
    token: &Token,
    key: &NodeKey,
    addresses: &[String],
) -> Result<Joined, Failure> {
    let kind = peer.transport().and_then(TransportKind::named).unwrap_or_else(TransportKind::usual);
    let limits = Limits::default();
    let joined = match kind {
        TransportKind::Quic => join_quic(peer.address(), token, key, addresses, &limits).await?,
        TransportKind::Tcp => join_tcp(peer.address(), token, key, addresses, &limits).await?,
    };
    joined.map_err(|error| match error {
        JoinError::Refused(_)
        | JoinError::Transport(TransportError::NotTrusted { .. } | TransportError::Refused { .. }) => {
            Failure::not_allowed(error)
        }
        JoinError::Transport(TransportError::BadAddress { .. }) => Failure::usage(error),
        JoinError::Transport(_) => Failure::unreachable(error),
        error => Failure::error(error),
    })
}

#[cfg(feature = "quic")]
fn bind_quic(address: SocketAddr, credentials: &Credentials) -> Result<Arc<dyn Joining>, Failure> {
    let transport = aevrion_net_quic::QuicTransport::bind(address, credentials.clone(), Limits::default());
    Ok(Arc::new(transport.map_err(Failure::error)?))
}

#[cfg(feature = "quic")]
async fn join_quic(
    address: &str,
    token: &Token,
    key: &NodeKey,
    addresses: &[String],
    limits: &Limits,
) -> Result<Result<Joined, JoinError>, Failure> {
    Ok(aevrion_net_quic::join(address, token, key, addresses, limits).await)
}

#[cfg(not(feature = "quic"))]
fn bind_quic(_: SocketAddr, _: &Credentials) -> Result<Arc<dyn Joining>, Failure> {
    Err(not_built_in("quic"))
}

#[cfg(not(feature = "quic"))]
async fn join_quic(
    _: &str,
    _: &Token,
    _: &NodeKey,
    _: &[String],
    _: &Limits,
) -> Result<Result<Joined, JoinError>, Failure> {
    Err(not_built_in("quic"))
}

#[cfg(feature = "tcp")]
fn bind_tcp(address: SocketAddr, credentials: &Credentials) -> Result<Arc<dyn Joining>, Failure> {
    let transport = aevrion_net_tcp::TcpTransport::bind(address, credentials.clone(), Limits::default());
    Ok(Arc::new(transport.map_err(Failure::error)?))
}

#[cfg(feature = "tcp")]
async fn join_tcp(
    address: &str,
    token: &Token,
    key: &NodeKey,
    addresses: &[String],
    limits: &Limits,
) -> Result<Result<Joined, JoinError>, Failure> {
    Ok(aevrion_net_tcp::join(address, token, key, addresses, limits).await)
}

#[cfg(not(feature = "tcp"))]
fn bind_tcp(_: SocketAddr, _: &Credentials) -> Result<Arc<dyn Joining>, Failure> {
    Err(not_built_in("tcp"))
}

#[cfg(not(feature = "tcp"))]
async fn join_tcp(
    _: &str,
    _: &Token,
    _: &NodeKey,
    _: &[String],
    _: &Limits,
) -> Result<Result<Joined, JoinError>, Failure> {
    Err(not_built_in("tcp"))
}

#[cfg(not(all(feature = "quic", feature = "tcp")))]
fn not_built_in(name: &str) -> Failure {
    Failure::error(format!("this program was built without {name}: build it with `--features {name}`"))
}
