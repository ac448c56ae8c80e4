//! The faults of a neighbour. Each costs the connection, with a reason that both sides can read.

use crate::message::{Malformed, PROTOCOL_VERSION};
use crate::parameters::Difference;
use crate::{NodeId, TimeSpan, WriteError};

/// Why the connection to a neighbour is closed. All but [`Fault::Incompatible`] mean that it misbehaves.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The two nodes are not compatible, without misbehaviour.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    /// A frame that is not a message.
    #[error("it sent {0}")]
    Malformed(Malformed),
    /// A message before the clocks were settled.
    #[error("it sent a {0} before the clocks were settled")]
    Unsettled(&'static str),
    /// Hellos without end.
    #[error("it greets without end")]
    Babble,
    /// Events that were not requested.
    #[error("it sent {0} events that nobody asked for")]
    Unasked(usize),
    /// Nodes outside of the compared span.
    #[error("it named nodes that nobody asked about")]
    StrangeNodes,
    /// A snapshot of a span that is neither the past nor the future.
    #[error("it compares {0}, which is neither the past nor the future")]
    StrangeSpan(TimeSpan),
    /// Cells that were not asked for.
    #[error("it sent cells that nobody asked for")]
    StrangeCells,
    /// Repeated requests for events that this node does not hold.
    #[error("it asked {0} times for events that do not exist")]
    NoSuchEvents(u32),
    /// Events that this node cannot store.
    #[error("it sent events that cannot be stored: {0}")]
    CannotStore(WriteError),
}

impl From<Malformed> for Fault {
    /// A Hello of another version is a frame of another protocol, not a bad one of this.
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::OtherVersion(version) => Incompatible::Version(version).into(),
            malformed => Self::Malformed(malformed),
        }
    }
}

impl Fault {
    /// A short name, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Incompatible(_) => "incompatible",
            Self::Malformed(_) => "malformed",
            Self::Unsettled(_) => "unsettled",
            Self::Babble => "babble",
            Self::Unasked(_) => "unasked",
            Self::StrangeNodes => "strange_nodes",
            Self::StrangeSpan(_) => "strange_span",
            Self::StrangeCells => "strange_cells",
            Self::NoSuchEvents(_) => "no_such_events",
            Self::CannotStore(_) => "cannot_store",
        }
    }
}

/// Why two nodes are not compatible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// The protocol versions differ.
    #[error(
        "it speaks version {0} of the protocol, this node {PROTOCOL_VERSION}: run the same release on both"
    )]
    Version(u16),
    /// The cluster parameters differ.
    #[error("the cluster's parameters differ ({}): one of the stores was made for another cluster", list(.0))]
    Parameters(Vec<Difference>),
    /// The spaces differ.
    #[error("it keeps the space `{theirs}`, this node `{ours}`")]
    Space {
        /// The neighbour's space.
        theirs: String,
        /// This node's space.
        ours: String,
    },
    /// The Hello names another node than the certificate.
    #[error("it calls itself {said} and has proven to be {proven}")]
    Identity {
        /// The id in its Hello.
        said: NodeId,
        /// The id in its certificate.
        proven: NodeId,
    },
}

fn list(differences: &[Difference]) -> String {
    let describe = |one: &Difference| format!("{} is {} here and {} there", one.name, one.stored, one.given);
    differences.iter().map(describe).collect::<Vec<_>>().join(", ")
}
