//! Detects a peer that sends or takes too few bytes.
//!
//! Only waiting counts: not time without bytes to send, nor time in which this side is busy itself. Waiting is measured
//! in periods, so that a fast start does not excuse a later stall.

use std::time::Duration;

/// The transfer rate in one direction of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// Waiting time of a period.
    patience: Duration,
    /// Bytes that must move in each period.
    least: u64,
    waited: Duration,
    moved: u64,
}

/// Too few bytes moved in a period.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Pace {
    pub(super) fn new(patience: Duration, least: u64) -> Self {
        Self { patience, least, waited: Duration::ZERO, moved: 0 }
    }

    /// How long to wait before [`Pace::spell_over`].
    pub(super) fn left(&self) -> Duration {
        self.patience.saturating_sub(self.waited)
    }

    /// Records a wait and the bytes that moved after it.
    pub(super) fn note(&mut self, waited: Duration, moved: usize) {
        self.waited += waited;
        self.moved += moved as u64;
    }

    /// Ends a period whose time is used up; the next one begins if enough moved in this one.
    pub(super) fn spell_over(&mut self) -> Result<(), TooSlow> {
        let enough = self.moved >= self.least;
        (self.waited, self.moved) = (Duration::ZERO, 0);
        if enough { Ok(()) } else { Err(TooSlow) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn waiting_adds_up_and_only_waiting() {
        let mut pace = Pace::new(PATIENCE, 100);
        for _ in 0..9 {
            pace.note(Duration::from_secs(1), 1);
        }
        pace.note(Duration::ZERO, 1);
        assert_eq!(pace.left(), Duration::from_secs(1));
        assert_eq!(pace.spell_over(), Err(TooSlow));
    }

    #[test]
    fn each_spell_is_judged_for_itself() {
        let mut pace = Pace::new(PATIENCE, 100);
        pace.note(Duration::from_secs(1), 1_000);
        assert_eq!(pace.spell_over(), Ok(()));
        assert_eq!(pace.left(), PATIENCE);
        pace.note(Duration::from_secs(20), 99);
        assert_eq!(pace.left(), Duration::ZERO);
        assert_eq!(pace.spell_over(), Err(TooSlow));
    }
}
