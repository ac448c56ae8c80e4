//! Whether enough moves while this side waits for the other.
//!
//! Only waiting counts: not the time in which there is nothing to send, nor that in which this side is busy itself. It is
//! measured in spells, so that who was quick at first cannot live on it.

use std::time::Duration;

/// The pace of one direction of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// How much waiting makes a spell.
    patience: Duration,
    /// So many bytes must move in each.
    least: u64,
    waited: Duration,
    moved: u64,
}

/// Too little moved.
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

    /// It was waited for so long, and then so many bytes moved.
    pub(super) fn note(&mut self, waited: Duration, moved: usize) {
        self.waited += waited;
        self.moved += moved as u64;
    }

    /// All that was left was waited; another spell begins if enough moved in this one.
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
