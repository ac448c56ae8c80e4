//! The results of writes.

use aevrion_core::EventKey;
use serde::{Deserialize, Serialize};

/// Success, with nothing to report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) done: bool,
}

/// The key of a new event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) timestamp: u64,
    pub(crate) id: String,
}

impl From<EventKey> for Placed {
    fn from(event_key: EventKey) -> Self {
        Self { timestamp: event_key.timestamp.as_millis(), id: event_key.id.to_string() }
    }
}
