//! Transports: authenticated neighbours, and two ordered lanes of frames to each.
//!
//! The core knows nothing of QUIC or TCP. A transport carries opaque frames, identifies the node at the other end, and
//! refuses unauthenticated peers. Each method documents its contract.
//!
//! New events must never wait behind a long repair, so there are two lanes. A transport must not let one lane block the
//! other, neither on a slow network nor with a slow receiver.

mod address;
mod close_reason;
#[cfg(feature = "testkit")]
pub mod conformance;
mod frame;
mod limits;
#[cfg(feature = "testkit")]
pub mod memory;
mod rejections;
mod removals;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{NodeId, Timestamp};

pub use address::host_and_port;
pub use close_reason::{CloseReason, shortened};
pub use frame::{FRAME_HEADER, FrameAssembly, frame_header};
pub use limits::{HANDSHAKE, Limits};
pub use rejections::RejectionCounters;
pub use removals::{Removal, Removals};

/// A lane of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Current traffic: handshakes, pushes, announcements, snapshots.
    Live,
    /// Repair traffic: tree nodes, lists, wanted events and the events themselves.
    Repair,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Live, Self::Repair];
}

/// Bytes carried by a connection since it began, counted as near to the wire as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// Connects to other nodes, and accepts their connections.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The constant name used in addresses and in `status`: `quic`, `tcp`, `memory`.
    fn name(&self) -> &'static str;

    /// This node's identity on this transport.
    fn node(&self) -> NodeId;

    /// The listening address, as `host:port`.
    fn address(&self) -> String;

    /// Connects to the node at `address` (`host:port`) with mutual authentication. Fails after the transport's
    /// handshake timeout. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`TransportError`], which names the side at fault and the other side's reason if it gave one.
    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError>;

    /// The next authenticated connection; `None` once closed. The transport itself refuses other connections, tells
    /// them why, logs and [counts](Transport::refusals) them. They take no other node's place and never make this
    /// method fail. Dropping the future loses no connection.
    async fn accept(&self) -> Option<Arc<dyn Connection>>;

    /// Refused connections since the start, by reason, in the order of [`Refusal::ALL`].
    fn refusals(&self) -> Vec<(Refusal, u64)>;

    /// Refused requests to join or to renew, by reason; empty for a transport without such requests.
    fn join_refusals(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The removed nodes that this transport refuses; `None` if it does not support removal.
    fn removals(&self) -> Option<Removals> {
        None
    }

    /// Stops listening and closes every connection with `reason`. From then on a dial to it is refused at once, and a
    /// TCP port is free for others. Closing twice is no error.
    async fn close(&self, reason: &str);
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn node(&self) -> NodeId {
        (**self).node()
    }

    fn address(&self) -> String {
        (**self).address()
    }

    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError> {
        (**self).dial(address).await
    }

    async fn accept(&self) -> Option<Arc<dyn Connection>> {
        (**self).accept().await
    }

    fn refusals(&self) -> Vec<(Refusal, u64)> {
        (**self).refusals()
    }

    fn join_refusals(&self) -> Vec<(&'static str, u64)> {
        (**self).join_refusals()
    }

    fn removals(&self) -> Option<Removals> {
        (**self).removals()
    }

    async fn close(&self, reason: &str) {
        (**self).close(reason).await;
    }
}

/// A connection to an authenticated neighbour, with two lanes.
///
/// On each lane, frames arrive once, whole, and in the order of sending. There is no order between lanes. At most one
/// task sends and one task receives on a lane at a time.
#[async_trait]
pub trait Connection: Send + Sync + 'static {
    /// The authenticated identity of the other end.
    fn neighbour(&self) -> NodeId;

    /// The address of the other end, as `host:port`.
    fn address(&self) -> String;

    /// The expiry of the neighbour's proof of identity; `None` if it does not expire. The user of the connection closes
    /// it then, and the neighbour may authenticate again.
    fn proven_until(&self) -> Option<Timestamp> {
        None
    }

    /// Hands a frame over. Waits while the other side does not take earlier frames of this lane; the other lane is not
    /// affected. If the future is dropped, the frame is sent whole or not at all.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the connection has ended, with the reason and the side that closed it.
    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError>;

    /// The next frame; `None` after an orderly close, which has an empty reason. Memory grows with the received bytes,
    /// never with a claimed length. While nobody receives, the sender is held back after a bounded number of bytes.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`TransportError::FrameTooLong`] if the frame is longer than `longest` bytes, and [`TransportError::Violation`]
    /// if the other side breaks the transport's rules. Both close the connection, and both lanes report the error from
    /// then on. [`TransportError::Closed`] as for [`Connection::send`].
    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError>;

    /// Closes the connection without waiting. The other side is told `reason` (at most [`LONGEST_REASON`] bytes of it)
    /// if the network allows. Pending calls on either side fail with it.
    fn close(&self, reason: &str);

    /// Bytes carried so far.
    fn traffic(&self) -> Traffic;

    /// The transport's estimate of the round-trip time, if it has one.
    fn round_trip(&self) -> Option<Duration>;
}

/// The longest close reason that reaches the other side, in bytes.
pub const LONGEST_REASON: usize = 200;

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The certificate is from another cluster's authority.
    ForeignAuthority,
    /// No certificate was presented.
    NoCertificate,
    /// The certificate has expired, or is not valid yet.
    Expired,
    /// The certificate is malformed, or does not prove the claimed identity.
    BadCertificate,
    /// The cluster's authority has removed the node.
    Removed,
    /// The other side does not speak this protocol.
    WrongProtocol,
    /// The handshake was not completed in time.
    TooSlow,
    /// The limit on connections or handshakes is reached.
    TooMany,
    /// The other side abandoned the handshake, for example because it is connected in another way. Nobody was refused.
    GivenUp,
    /// Any other failure of the handshake.
    Broken,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::ForeignAuthority,
        Self::NoCertificate,
        Self::Expired,
        Self::BadCertificate,
        Self::Removed,
        Self::WrongProtocol,
        Self::TooSlow,
        Self::TooMany,
        Self::GivenUp,
        Self::Broken,
    ];

    /// A short name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForeignAuthority => "foreign_authority",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::BadCertificate => "bad_certificate",
            Self::Removed => "removed",
            Self::WrongProtocol => "wrong_protocol",
            Self::TooSlow => "too_slow",
            Self::TooMany => "too_many",
            Self::GivenUp => "given_up",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignAuthority => "the certificate is from the authority of another cluster",
            Self::NoCertificate => "no certificate was shown: join the cluster first",
            Self::Expired => {
                "the certificate has expired or is not valid yet: check the clocks, or join again"
            }
            Self::BadCertificate => "the certificate cannot be trusted",
            Self::Removed => "the node was removed from the cluster by its authority",
            Self::WrongProtocol => "the other side does not speak Aevrion's protocol",
            Self::TooSlow => "the handshake was not completed in time",
            Self::TooMany => "there are too many connections: try again later",
            Self::GivenUp => "the other side gave the handshake up",
            Self::Broken => "the handshake failed",
        })
    }
}

/// A refusal, with the message to the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub refusal: Refusal,
    /// At most [`LONGEST_REASON`] bytes.
    pub words: String,
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, words: refusal.to_string() }
    }
}

impl From<Removal> for Rejection {
    fn from(removal: Removal) -> Self {
        Self { refusal: Refusal::Removed, words: removal.words() }
    }
}

/// The side that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Here,
    /// The neighbour.
    There,
    /// Neither side: the network.
    Network,
}

/// Transport errors, by the side at fault.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address is unusable: a configuration error.
    #[error("`{address}` is not an address to dial: {what}")]
    BadAddress {
        /// The address.
        address: String,
        /// The error in it.
        what: String,
    },
    /// Nothing answered there.
    #[error("{address} cannot be reached: {what}")]
    Unreachable {
        /// The address.
        address: String,
        /// The network's error.
        what: String,
    },
    /// The other side could not prove to be a node of this cluster.
    #[error("{address} is not trusted: {refusal}")]
    NotTrusted {
        /// The address.
        address: String,
        /// The reason.
        refusal: Refusal,
    },
    /// The node there does not trust this one, or has reached a limit.
    #[error("{address} refuses this node: {reason}")]
    Refused {
        /// The address.
        address: String,
        /// The node's message.
        reason: String,
        /// The node's identity, if it was authenticated before.
        by: Option<NodeId>,
    },
    /// The neighbour sent a frame longer than the protocol allows.
    #[error("a frame of {len} bytes was sent, at most {most} are allowed")]
    FrameTooLong {
        /// The claimed length in bytes.
        len: u64,
        /// The limit in bytes.
        most: usize,
    },
    /// The neighbour broke the transport's rules.
    #[error("{what}")]
    Violation {
        /// The violation.
        what: String,
    },
    /// The connection has ended.
    #[error("the connection was closed by {}: {reason}", match by { Side::Here => "this node", Side::There => "the neighbour", Side::Network => "the network" })]
    Closed {
        /// The side that ended it.
        by: Side,
        /// The reason.
        reason: String,
    },
}

impl TransportError {
    /// The node at `address` is not trusted, for this reason.
    pub fn not_trusted(address: &str, refusal: Refusal) -> Self {
        Self::NotTrusted { address: address.to_owned(), refusal }
    }

    /// Adds the node's identity to a refusal; other errors stay unchanged.
    #[must_use]
    pub fn said_by(mut self, node: NodeId) -> Self {
        if let Self::Refused { by, .. } = &mut self {
            *by = Some(node);
        }
        self
    }
}
