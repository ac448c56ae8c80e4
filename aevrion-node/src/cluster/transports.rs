//! The transports that are compiled in.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::identity::join::{JoinError, Joined, Joining, Token};
use aevrion_core::identity::{Credentials, NodeKey};
use aevrion_core::replication::Peer;
use aevrion_core::transport::{Limits, TransportError};

use crate::peer::TransportKind;

/// This node cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[cfg(feature = "quic")]
    #[error(transparent)]
    Quic(aevrion_net_quic::BindError),
    #[cfg(feature = "tcp")]
    #[error(transparent)]
    Tcp(aevrion_net_tcp::BindError),
    #[cfg(not(all(feature = "quic", feature = "tcp")))]
    #[error(transparent)]
    NotBuiltIn(#[from] NotBuiltIn),
}

/// A node did not let this machine join. What failed decides what helps, so a transport's error is sorted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotJoined {
    /// The node does not want this machine, or this machine not the node.
    #[error(transparent)]
    Refused(JoinError),
    #[error(transparent)]
    BadAddress(JoinError),
    #[error(transparent)]
    Unreachable(JoinError),
    #[error(transparent)]
    Failed(JoinError),
    #[cfg(not(all(feature = "quic", feature = "tcp")))]
    #[error(transparent)]
    NotBuiltIn(#[from] NotBuiltIn),
}

impl From<JoinError> for NotJoined {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Refused(_)
            | JoinError::Transport(TransportError::NotTrusted { .. } | TransportError::Refused { .. }) => {
                Self::Refused(error)
            }
            JoinError::Transport(TransportError::BadAddress { .. }) => Self::BadAddress(error),
            JoinError::Transport(_) => Self::Unreachable(error),
            error => Self::Failed(error),
        }
    }
}

/// The transport is not compiled in.
#[cfg(not(all(feature = "quic", feature = "tcp")))]
#[derive(Debug, thiserror::Error)]
#[error("this program was built without {0}: build it with `--features {0}`")]
pub(crate) struct NotBuiltIn(&'static str);

/// Listens at `address`.
#[cfg_attr(
    not(any(feature = "quic", feature = "tcp")),
    expect(unused_variables, reason = "without a transport a node is on its own")
)]
pub(super) fn bind(
    kind: TransportKind,
    address: SocketAddr,
    credentials: &Credentials,
) -> Result<Arc<dyn Joining>, ListenError> {
    match kind {
        #[cfg(feature = "quic")]
        TransportKind::Quic => {
            let bound =
                aevrion_net_quic::QuicTransport::bind(address, credentials.clone(), Limits::default());
            Ok(Arc::new(bound.map_err(ListenError::Quic)?))
        }
        #[cfg(feature = "tcp")]
        TransportKind::Tcp => {
            let bound = aevrion_net_tcp::TcpTransport::bind(address, credentials.clone(), Limits::default());
            Ok(Arc::new(bound.map_err(ListenError::Tcp)?))
        }
        #[cfg(not(all(feature = "quic", feature = "tcp")))]
        kind => Err(NotBuiltIn(kind.name()).into()),
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
) -> Result<Joined, NotJoined> {
    let kind = peer.transport().and_then(TransportKind::named).unwrap_or_else(TransportKind::usual);
    let (at, limits) = (peer.address(), Limits::default());
    let joined: Result<Joined, JoinError> = match kind {
        #[cfg(feature = "quic")]
        TransportKind::Quic => aevrion_net_quic::join(at, token, key, addresses, &limits).await,
        #[cfg(feature = "tcp")]
        TransportKind::Tcp => aevrion_net_tcp::join(at, token, key, addresses, &limits).await,
        #[cfg(not(all(feature = "quic", feature = "tcp")))]
        kind => return Err(NotBuiltIn(kind.name()).into()),
    };
    Ok(joined?)
}
