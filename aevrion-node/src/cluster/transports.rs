//! The transports that this program was built with.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::join::{JoinError, Joined, Joining, Token};
use aevrion_core::identity::{Credentials, NodeKey};
use aevrion_core::replication::Peer;
use aevrion_core::transport::{Limits, TransportError};

use crate::cli::TransportKind;
use crate::failure::Failure;

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
#[cfg_attr(
    not(any(feature = "quic", feature = "tcp")),
    expect(unused_variables, reason = "without a transport a node is on its own")
)]
pub(super) fn bind(
    kind: TransportKind,
    address: SocketAddr,
    credentials: &Credentials,
) -> Result<Arc<dyn Joining>, Failure> {
    match kind {
        #[cfg(feature = "quic")]
        TransportKind::Quic => {
            let bound =
                aevrion_net_quic::QuicTransport::bind(address, credentials.clone(), Limits::default());
            Ok(Arc::new(bound.map_err(Failure::error)?))
        }
        #[cfg(feature = "tcp")]
        TransportKind::Tcp => {
            let bound = aevrion_net_tcp::TcpTransport::bind(address, credentials.clone(), Limits::default());
            Ok(Arc::new(bound.map_err(Failure::error)?))
        }
        #[cfg(not(all(feature = "quic", feature = "tcp")))]
        kind => Err(not_built_in(kind)),
    }
}

/// Asks the node at `peer` to let the holder of `key` join.
#[cfg_attr(
    not(any(feature = "quic", feature = "tcp")),
    expect(unused_variables, unreachable_code, reason = "without a transport a node is on its own")
)]
pub(super) async fn join(
    peer: &Peer,
    token: &Token,
    key: &NodeKey,
    addresses: &[String],
) -> Result<Joined, Failure> {
    let kind = peer.transport().and_then(TransportKind::named).unwrap_or_else(TransportKind::usual);
    let (at, limits) = (peer.address(), Limits::default());
    let joined: Result<Joined, JoinError> = match kind {
        #[cfg(feature = "quic")]
        TransportKind::Quic => aevrion_net_quic::join(at, token, key, addresses, &limits).await,
        #[cfg(feature = "tcp")]
        TransportKind::Tcp => aevrion_net_tcp::join(at, token, key, addresses, &limits).await,
        #[cfg(not(all(feature = "quic", feature = "tcp")))]
        kind => return Err(not_built_in(kind)),
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

#[cfg(not(all(feature = "quic", feature = "tcp")))]
fn not_built_in(kind: TransportKind) -> Failure {
    let name = kind.name();
    Failure::error(format!("this program was built without {name}: build it with `--features {name}`"))
}
