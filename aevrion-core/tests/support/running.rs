//! A wall clock for tests with a paused runtime.

use aevrion_core::{Timestamp, WallClock};
use tokio::time::Instant;

/// A clock that runs with the time of the test.
pub(crate) struct Running(pub(crate) Instant);

pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl WallClock for Running {
    fn now(&self) -> Timestamp {
        BEGINNING.after(self.0.elapsed())
    }
}
