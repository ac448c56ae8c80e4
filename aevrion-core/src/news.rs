//! An event that is new on this node, and its origin. The replica reports new events, the agent passes them on.

use crate::{Event, NodeId};

/// The source from which this node learned of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This node or one of its clients wrote the event.
    Local,
    /// A neighbour pushed or announced it.
    Pushed(NodeId),
    /// A comparison with a neighbour brought it to light.
    Repaired(NodeId),
}

/// An event that is new on this node, and durable.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event, with its key, value and timestamp.
    pub event: Event,
    /// The source of the event.
    pub origin: Origin,
}
