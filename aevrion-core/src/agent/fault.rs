//! What a neighbour can get wrong, and what it costs: the connection, with a reason that both sides can read.

use crate::message::{Malformed, PROTOCOL_VERSION};
use crate::parameters::Difference;
use crate::{NodeId, TimeSpan, WriteError};

/// Why the connection to a neighbour ends. All but [`Fault::Incompatible`] mean that it misbehaves.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The two do not fit together, through nobody's misbehaviour.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    /// A frame that is not a message.
    #[error("it sent {0}")]
    Malformed(Malformed),
    /// A message before the clocks were settled.
    #[error("it sent a {0} before the clocks were settled")]
    Unsettled(&'static str),
    /// Greetings without end.
    #[error("it greets without end")]
    Babble,
    /// Events that nobody asked for.
    #[error("it sent {0} events that nobody asked for")]
    Unasked(usize),
    /// Nodes that are not below those that were compared.
    #[error("it named nodes that are not children of what was asked")]
    StrangeNodes,
    /// A comparison over a span that no snapshot was about.
    #[error("it compares {0}, which no snapshot was about")]
    StrangeSpan(TimeSpan),
    /// Wishes for events that were never announced or listed, again and again.
    #[error("it asked {0} times for events that do not exist")]
    NoSuchEvents(u32),
    /// Events that this node cannot store, whatever it tries.
    #[error("it sent events that cannot be stored: {0}")]
    CannotStore(WriteError),
}

impl From<Malformed> for Fault {
    /// A greeting in another version is a frame of another protocol, not a bad one of this.
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
            Self::NoSuchEvents(_) => "no_such_events",
            Self::CannotStore(_) => "cannot_store",
        }
    }
}

/// In what two nodes do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// They speak different versions.
    #[error(
        "it speaks version {0} of the protocol, this node {PROTOCOL_VERSION}: run the same release on both"
    )]
    Version(u16),
    /// They were set up for different clusters.
    #[error("the cluster's parameters differ ({}): one of the stores was made for another cluster", list(.0))]
    Parameters(Vec<Difference>),
    /// They keep different spaces.
    #[error("it keeps the space `{theirs}`, this node `{ours}`")]
    Space {
        /// The neighbour's.
        theirs: String,
        /// This node's.
        ours: String,
    },
    /// The greeting names another node than the certificate.
    #[error("it calls itself {said} and has proven to be {proven}")]
    Identity {
        /// In its Hello.
        said: NodeId,
        /// By its certificate.
        proven: NodeId,
    },
}

fn list(differences: &[Difference]) -> String {
    let describe = |one: &Difference| format!("{} is {} here and {} there", one.name, one.stored, one.given);
    differences.iter().map(describe).collect::<Vec<_>>().join(", ")
}
