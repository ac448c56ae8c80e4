//! How replicas reach each other: named, authenticated neighbours, and two ordered lanes of frames to each.
//!
//! The core knows nothing of QUIC or TCP. A transport carries frames, whose contents it never looks at, says who is
//! at the other end, and refuses whoever cannot prove it. The contract stands at each method.
//!
//! There are two lanes so that the news of this moment never waits behind the repair of a year: a transport must not
//! let one of them block the other, neither when the network is slow nor when the receiver is.

mod address;
mod arrivals;
#[cfg(feature = "testkit")]
pub mod conformance;
mod ending;
mod frame;
mod gate;
mod limits;
#[cfg(feature = "testkit")]
pub mod memory;
mod removals;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{NodeId, Timestamp};

pub use address::host_and_port;
#[cfg(feature = "identity")]
pub use address::resolve;
pub use arrivals::{Arrivals, arrivals};
pub use ending::{Ending, shortened};
pub use frame::{FRAME_HEADER, FrameAssembly, frame_header};
pub use gate::{ConnectionPlace, Gate, HandshakePlace};
pub use limits::{HANDSHAKE, Limits};
pub use removals::{Removal, Removals};
pub(crate) use tally::Tally;

/// Which of the two lanes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What happens now: greetings, pushes, announcements, snapshots.
    Live,
    /// What is mended: nodes, lists, wanted events and the events themselves.
    Repair,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Live, Self::Repair];
}

/// Bytes that went over a connection since it began, as near to the wire as the transport can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// A way to reach other nodes, and to be reached by them.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// What it is called in addresses and in `status`: `quic`, `tcp`, `memory`. Constant.
    fn name(&self) -> &'static str;

    /// Who this node is to those it meets here.
    fn node(&self) -> NodeId;

    /// Where it listens, as `host:port`.
    fn address(&self) -> String;

    /// Connects to the node at `address` (`host:port`), and proves each to the other. Gives up by itself after its own
    /// handshake timeout. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`TransportError`] that says which side is to blame, with the other side's reason where it gave one.
    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError>;

    /// The next node that connected and proved who it is; `None` once closed. Those that cannot prove it are refused by
    /// the transport itself, told why, logged and [counted](Transport::refusals); they occupy nobody else's place, and
    /// never make this method fail. Dropping the future loses no connection.
    async fn accept(&self) -> Option<Arc<dyn Connection>>;

    /// How many were refused since the start, by reason, in the order of [`Refusal::ALL`].
    fn refusals(&self) -> Vec<(Refusal, u64)>;

    /// How many requests to join or to renew were refused, by reason; nothing where nobody can ask.
    fn join_refusals(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Those who were removed from the cluster and are turned away therefore; `None` where nobody can be.
    fn removals(&self) -> Option<Removals> {
        None
    }

    /// Stops listening and closes every connection with `reason`. Closing twice is no error.
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

/// An authenticated neighbour at the other end, and two lanes to it.
///
/// On each lane frames arrive once, whole, and in the order in which they were sent. Nothing is promised about the
/// order between lanes. One task at a time sends on a lane, and one receives.
#[async_trait]
pub trait Connection: Send + Sync + 'static {
    /// Who is at the other end, proven.
    fn neighbour(&self) -> NodeId;

    /// Where it is, as `host:port`.
    fn address(&self) -> String;

    /// Until when that is proven; `None` where it does not end. Whoever uses the connection ends it then, and the other
    /// side may prove itself anew.
    fn proven_until(&self) -> Option<Timestamp> {
        None
    }

    /// Hands a frame over. Waits while the other side is not taking what was sent before on this lane; the other lane
    /// goes on meanwhile. If the future is dropped, the frame is sent whole or not at all.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once the connection is at its end, with the reason and who gave it.
    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError>;

    /// The next frame; `None` at the end of an orderly close, which is one with an empty reason. Memory grows with
    /// what has arrived, never with what a length claims. While nobody receives, the sender is held back after a
    /// bounded number of bytes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`TransportError::FrameTooLong`] if it is longer than `longest` bytes, and [`TransportError::Violation`] if the
    /// other side breaks the transport's own rules. Both close the connection, and either lane says so from then on.
    /// [`TransportError::Closed`] as for [`Connection::send`].
    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError>;

    /// Closes the connection, at once and without waiting; the other side is told `reason` (at most
    /// [`LONGEST_REASON`] bytes of it) as far as the network allows. What waits on either side fails with it.
    fn close(&self, reason: &str);

    /// Bytes so far.
    fn traffic(&self) -> Traffic;

    /// The transport's own estimate of the time there and back, if it has one.
    fn round_trip(&self) -> Option<Duration>;
}

/// Bytes of a reason that reach the other side.
pub const LONGEST_REASON: usize = 200;

/// Why someone who connected was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Its certificate is from the authority of another cluster.
    ForeignAuthority,
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate has run out, or is not valid yet.
    Expired,
    /// Its certificate is not one at all, or does not prove what it claims.
    BadCertificate,
    /// The cluster's authority has removed it.
    Removed,
    /// It does not speak this protocol.
    WrongProtocol,
    /// It did not complete the handshake in time.
    TooSlow,
    /// There are as many connections or handshakes as are allowed.
    TooMany,
    /// It gave the handshake up, as who has become connected otherwise does: nobody was turned away.
    GivenUp,
    /// Anything else that broke the handshake.
    Broken,
}

impl Refusal {
    /// All of them.
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

    /// A short name, for metrics.
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

/// A refusal, with the words in which the other side is told.
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

/// Which side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Here,
    /// The neighbour.
    There,
    /// Neither: the network.
    Network,
}

/// Why a transport could not do what was asked, by blame.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be used: a mistake of whoever configured it.
    #[error("`{address}` is not an address to dial: {what}")]
    BadAddress {
        /// What was given.
        address: String,
        /// What is wrong with it.
        what: String,
    },
    /// Nothing answered there.
    #[error("{address} cannot be reached: {what}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the network said.
        what: String,
    },
    /// Something answered and could not prove to be a node of this cluster.
    #[error("{address} is not trusted: {refusal}")]
    NotTrusted {
        /// Where.
        address: String,
        /// Why not.
        refusal: Refusal,
    },
    /// The node there does not trust this one, or has no place for it.
    #[error("{address} refuses this node: {reason}")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        reason: String,
        /// Who it is, if it had proven that before.
        by: Option<NodeId>,
    },
    /// The neighbour sent a frame longer than any that the protocol knows.
    #[error("a frame of {len} bytes was sent, at most {most} are allowed")]
    FrameTooLong {
        /// Its length, as claimed.
        len: u64,
        /// The limit.
        most: usize,
    },
    /// The neighbour broke the rules of the transport.
    #[error("{what}")]
    Violation {
        /// What it did.
        what: String,
    },
    /// The connection is at its end.
    #[error("the connection was closed by {}: {reason}", match by { Side::Here => "this node", Side::There => "the neighbour", Side::Network => "the network" })]
    Closed {
        /// Who ended it.
        by: Side,
        /// Why.
        reason: String,
    },
}

impl TransportError {
    /// Who answers at `address` is not a node of this cluster, for this reason.
    pub fn not_trusted(address: &str, refusal: Refusal) -> Self {
        Self::NotTrusted { address: address.to_owned(), refusal }
    }

    /// The same; where it is a refusal, it is that of `node`.
    #[must_use]
    pub fn said_by(mut self, node: NodeId) -> Self {
        if let Self::Refused { by, .. } = &mut self {
            *by = Some(node);
        }
        self
    }
}
