//! Why a connection ends: why it got no link, why its link ended, and whose fault that is.

use tokio::sync::oneshot;

use crate::agent::AgentError;
use crate::transport::TransportError;

/// The reason for which the link ended, or for which the connection was refused.
pub(super) type End = oneshot::Receiver<Result<String, TurnedAway>>;

/// Advice for two machines with one identity.
pub(super) const ADVICE: &str =
    "stop one of the two, remove `cluster/` from its data directory, and let it join anew";

/// Why a connection was refused after its handshake. The other side is told the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnedAway {
    /// Not a failure for the dialling side.
    #[error("there is a connection already")]
    Duplicate,
    /// The limit on connected neighbours is reached.
    #[error("this node has as many neighbours as it takes")]
    Full,
    /// Both ends are this node.
    #[error("this is the node itself")]
    Myself,
    /// The other node was removed from the cluster.
    #[error("{0}")]
    Removed(String),
    /// This node was removed from the cluster.
    #[error("{0}")]
    OwnRemoval(String),
    /// Another machine with the same identity was connected earlier.
    #[error("another machine at {0} has this node's identity: {ADVICE}")]
    Conflict(String),
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    /// The agent ended it.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The connection failed or was closed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The neighbour closed the connection.
    #[error("the neighbour closed the connection")]
    Left,
    /// This node ended it.
    #[error("this node ended the connection")]
    Dismissed,
}

impl LinkEnd {
    /// The neighbour's fault as a short name for metrics; `None` if the end is nobody's fault.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Agent(AgentError::Fault(fault)) => Some(fault.name()),
            Self::Agent(AgentError::Silent) => Some("silent"),
            Self::Agent(AgentError::NotSettled) => Some("not_settled"),
            Self::Agent(AgentError::DoesNotAnswer) => Some("does_not_answer"),
            Self::Agent(AgentError::DoesNotRead) => Some("does_not_read"),
            Self::Transport(TransportError::FrameTooLong { .. }) => Some("frame_too_long"),
            Self::Transport(TransportError::Violation { .. }) => Some("transport_violation"),
            Self::Agent(AgentError::Expired | AgentError::Closed)
            | Self::Transport(_)
            | Self::Left
            | Self::Dismissed => None,
        }
    }
}
