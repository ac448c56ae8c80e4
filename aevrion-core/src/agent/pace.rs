//! How often something may happen: so many at once, and in the long run at an even pace.

use std::time::Duration;

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// So many one after another.
    pub(super) at_once: u32,
    /// In the long run one each time that so long has passed.
    pub(super) apart: Duration,
}

impl Rate {
    /// Snapshots that a neighbour may send: each costs a walk over the tree, and the hashing of the events of a leaf that
    /// the span cuts through. Two neighbours in agreement need two in a minute.
    pub(super) fn of_snapshots(grace: Duration) -> Self {
        Self { at_once: 256, apart: grace / 16 }
    }
}

/// What was made use of (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When everything that came would have come at an even pace.
    even: Duration,
}

impl Pace {
    /// Whether one more may come; it counts if it may.
    pub(super) fn allows(&mut self, now: Duration, rate: Rate) -> bool {
        let allowed = self.next_at(rate) <= now;
        if allowed {
            self.count(now, rate);
        }
        allowed
    }

    /// From when on one more may come.
    pub(super) fn next_at(&self, rate: Rate) -> Duration {
        (self.even + rate.apart).saturating_sub(rate.apart * rate.at_once)
    }

    /// One more has come.
    pub(super) fn count(&mut self, now: Duration, rate: Rate) {
        self.even = self.even.max(now) + rate.apart;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_an_even_pace() {
        let rate = Rate { at_once: 5, apart: Duration::from_secs(1) };
        let mut pace = Pace::default();
        let mut now = Duration::from_secs(100);
        let mut allowed = |now| (0..9).filter(|_| pace.allows(now, rate)).count();
        assert_eq!(allowed(now), 5);
        now += rate.apart;
        assert_eq!(allowed(now), 1);
        now += rate.apart * 3;
        assert_eq!(allowed(now), 3);
        now += rate.apart * 60;
        assert_eq!(allowed(now), 5, "what was not made use of does not add up");
        assert_eq!(pace.next_at(rate), now + rate.apart);
    }
}
