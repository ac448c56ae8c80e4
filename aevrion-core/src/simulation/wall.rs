//! The wall clock of a simulated node: it runs with the runtime's time, from an offset, and jumps.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;

use crate::{Timestamp, WallClock};

/// The beginning of the time axis in every simulation: a round moment in 2024.
pub(super) const START: Timestamp = Timestamp::from_millis(1_710_684_600_000);

/// A wall clock that is `offset` milliseconds off the true time.
#[derive(Debug)]
pub(super) struct SkewedWall {
    began: Instant,
    offset: AtomicI64,
}

impl SkewedWall {
    pub(super) fn new(began: Instant, offset: i64) -> Self {
        Self { began, offset: AtomicI64::new(offset) }
    }

    /// Jumps by `by` milliseconds, forward or back.
    pub(super) fn jump(&self, by: i64) {
        self.offset.fetch_add(by, Ordering::SeqCst);
    }

    /// The offset from the true time, in milliseconds.
    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }
}

impl WallClock for SkewedWall {
    fn now(&self) -> Timestamp {
        let truth = START.after(self.began.elapsed());
        Timestamp::from_millis(truth.as_millis().saturating_add_signed(self.offset()))
    }
}
