//! Why a link ends, and whose fault it is.

use crate::agent::AgentError;
use crate::transport::TransportError;

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
    /// The neighbour makes this node queue more and more without reading, or reads almost nothing for too long.
    #[error("it does not read what it is sent")]
    DoesNotRead,
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
            Self::Transport(TransportError::FrameTooLong { .. }) => Some("frame_too_long"),
            Self::Transport(TransportError::Violation { .. }) => Some("transport_violation"),
            Self::DoesNotRead => Some("does_not_read"),
            Self::Agent(AgentError::Expired | AgentError::Closed)
            | Self::Transport(_)
            | Self::Left
            | Self::Dismissed => None,
        }
    }
}
