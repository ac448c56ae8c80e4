//! Detects a peer that sends or takes too few bytes.
//!
//! Only waiting counts: not time without bytes to send, nor time in which this side is busy itself. Waiting is measured
//! in periods, so that a fast start does not excuse a later stall.

use std::time::Duration;

/// The transfer rate in one direction of one connection.
#[derive(Debug)]
pub(super) struct StallDetector {
    /// Waiting time of a period.
    period: Duration,
    /// Bytes that must move in each period.
    least_bytes: u64,
    waited: Duration,
    moved: u64,
}

/// Too few bytes moved in a period.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stalled;

impl StallDetector {
    pub(super) fn new(period: Duration, least_bytes: u64) -> Self {
        Self { period, least_bytes, waited: Duration::ZERO, moved: 0 }
    }

    /// How long to wait before [`StallDetector::end_period`].
    pub(super) fn remaining(&self) -> Duration {
        self.period.saturating_sub(self.waited)
    }

    /// Records a wait and the bytes that moved after it.
    pub(super) fn record(&mut self, waited: Duration, moved: usize) {
        self.waited += waited;
        self.moved += moved as u64;
    }

    /// Ends a period whose time is used up; the next one begins if enough moved in this one.
    pub(super) fn end_period(&mut self) -> Result<(), Stalled> {
        let enough = self.moved >= self.least_bytes;
        (self.waited, self.moved) = (Duration::ZERO, 0);
        if enough { Ok(()) } else { Err(Stalled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn waiting_adds_up_and_only_waiting() {
        let mut detector = StallDetector::new(PERIOD, 100);
        for _ in 0..9 {
            detector.record(Duration::from_secs(1), 1);
        }
        detector.record(Duration::ZERO, 1);
        assert_eq!(detector.remaining(), Duration::from_secs(1));
        assert_eq!(detector.end_period(), Err(Stalled));
    }

    #[test]
    fn each_period_is_judged_for_itself() {
        let mut detector = StallDetector::new(PERIOD, 100);
        detector.record(Duration::from_secs(1), 1_000);
        assert_eq!(detector.end_period(), Ok(()));
        assert_eq!(detector.remaining(), PERIOD);
        detector.record(Duration::from_secs(20), 99);
        assert_eq!(detector.remaining(), Duration::ZERO);
        assert_eq!(detector.end_period(), Err(Stalled));
    }
}
