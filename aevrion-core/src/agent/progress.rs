//! The progress of an agent with its neighbour, as its caller reports it.

use std::sync::Arc;
use std::time::Duration;

use super::Agreement;
use crate::{Incarnation, TimeSpan};

/// The activity of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activity {
    /// The handshake is not complete.
    #[default]
    Settling,
    /// A repair is running.
    Repairing,
    /// Neither.
    Idle,
}

/// The progress with one neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The current activity.
    pub activity: Activity,
    /// The neighbour's incarnation; `None` before its first Hello.
    pub incarnation: Option<Incarnation>,
    /// Milliseconds that the neighbour's clock is ahead; negative if it is behind; `None` before the measurement.
    pub clock_offset: Option<i64>,
    /// The round-trip time measured by the handshake.
    pub round_trip: Duration,
    /// The known agreement.
    pub agreement: Agreement,
    /// The first few spans that differed at the last comparison, the latest first.
    pub differences: Arc<[TimeSpan]>,
}
