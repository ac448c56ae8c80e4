//! Shared by the three machines of one agent: configuration, the node's coordinator, the reading of the neighbour's
//! clock, and the losses that one machine reports to another. A machine sees nothing else of another one
//! but the broadcast's events in transit, which the agent hands to the reconciliation.

use std::sync::Arc;
use std::time::Duration;

use super::{AgentConfig, RepairCoordinator};
use crate::tree::Shape;
use crate::{NodeId, Timestamp};

/// Shared by the three machines; fixed for the life of a connection.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) config: AgentConfig,
    pub(super) shape: Shape,
    pub(super) neighbour: NodeId,
    pub(super) coordinator: Arc<RepairCoordinator>,
}

/// The neighbour's clock and the way to it, as the handshake measured them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockReading {
    /// Milliseconds that the neighbour's clock is ahead, negative if it is behind; `None` before the first measurement.
    pub(super) offset: Option<i64>,
    /// The round-trip time.
    pub(super) round_trip: Duration,
}

impl ClockReading {
    /// A guess, before the first measurement.
    pub(super) const UNKNOWN: Self = Self { offset: None, round_trip: Duration::from_millis(100) };

    /// How far snapshots stay behind the present: younger events may still be in flight.
    pub(super) fn grace(self, config: &AgentConfig) -> Duration {
        config.grace.max(self.round_trip * 4)
    }

    /// The neighbour's wall clock, as far as it is known.
    pub(super) fn neighbours_wall(self, wall: Timestamp) -> Timestamp {
        Timestamp::from_millis(wall.as_millis().saturating_add_signed(self.offset.unwrap_or(0)))
    }
}

/// A loss that only a comparison finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// This node could not announce its new events.
    News,
    /// A repair with another neighbour brought so many events that a comparison after it costs less than announcing
    /// each.
    Burst,
    /// Announced events were not requested, or did not arrive.
    Announced,
}
