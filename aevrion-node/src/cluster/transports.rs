//! The transports that are compiled in.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::join::{JoinError, Joined, Joining, Token};
use aevrion_core::identity::{Credentials, NodeKey};
use aevrion_core::replication::Peer;
use aevrion_core::transport::{Limits, TransportError};

use crate::failure::Failure;
use crate::peer::TransportKind;

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
