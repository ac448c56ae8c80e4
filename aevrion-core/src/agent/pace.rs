//! Token buckets: a burst at once, and an even pace in the long run.

use std::time::Duration;

/// The capacity of a token bucket, and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The capacity.
    pub at_once: u64,
    /// Tokens gained per period; at least 1.
    pub gain: u64,
    /// The period.
    pub each: Duration,
}

impl Rate {
    /// A bucket that gains `gain` tokens a second.
    pub const fn a_second(at_once: u64, gain: u64) -> Self {
        Self { at_once, gain, each: Duration::from_secs(1) }
    }

    /// A bucket that gains one token per `each`.
    pub(super) const fn apart(at_once: u64, each: Duration) -> Self {
        Self { at_once, gain: 1, each }
    }

    /// The rate of a neighbour's snapshots, however little each costs. Two neighbours in agreement need two a minute.
    pub(super) const fn of_snapshots(grace: Duration) -> Self {
        Self { at_once: 256, gain: 16, each: grace }
    }

    /// The time in which `amount` tokens are gained.
    fn time_for(self, amount: u64) -> Duration {
        let nanos = u128::from(amount).saturating_mul(self.each.as_nanos()) / u128::from(self.gain.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Tokens gained in `time`.
    fn gained_in(self, time: Duration) -> u64 {
        let gained =
            time.as_nanos().saturating_mul(u128::from(self.gain.max(1))) / self.each.as_nanos().max(1);
        u64::try_from(gained).unwrap_or(u64::MAX)
    }
}

/// A token bucket, kept as the moment at which it is full (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes one token, if there is one; whether there was.
    pub(super) fn allows(&mut self, now: Duration, rate: Rate) -> bool {
        let allowed = self.holds_at(1, rate) <= now;
        if allowed {
            self.take(1, rate, now);
        }
        allowed
    }

    /// The tokens left.
    pub(super) fn left(self, rate: Rate, now: Duration) -> u64 {
        rate.at_once.saturating_sub(rate.gained_in(self.full_at.saturating_sub(now)))
    }

    /// Takes `amount` tokens, also more than are left: the bucket then fills from below zero.
    pub(super) fn take(&mut self, amount: u64, rate: Rate, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(rate.time_for(amount));
    }

    /// When the bucket holds `amount` tokens.
    pub(super) fn holds_at(self, amount: u64, rate: Rate) -> Duration {
        self.full_at.saturating_sub(rate.time_for(rate.at_once.saturating_sub(amount)))
    }

    /// Whether the bucket is full.
    pub(super) fn is_full(self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_an_even_pace() {
        let apart = Duration::from_secs(1);
        let rate = Rate::apart(5, apart);
        let mut bucket = Bucket::default();
        let mut now = Duration::from_secs(100);
        let mut allowed = |now| (0..9).filter(|_| bucket.allows(now, rate)).count();
        assert_eq!(allowed(now), 5);
        now += apart;
        assert_eq!(allowed(now), 1);
        now += apart * 3;
        assert_eq!(allowed(now), 3);
        now += apart * 60;
        assert_eq!(allowed(now), 5, "what was not made use of does not add up");
        assert_eq!(bucket.holds_at(1, rate), now + apart);
    }

    #[test]
    fn what_is_taken_beyond_what_is_there_has_to_be_gained_first() {
        let rate = Rate::a_second(100, 10);
        let at = Duration::from_secs;
        let mut bucket = Bucket::default();
        assert_eq!(bucket.left(rate, at(5)), 100);
        bucket.take(130, rate, at(5));
        assert_eq!(
            (bucket.left(rate, at(5)), bucket.left(rate, at(8)), bucket.left(rate, at(9))),
            (0, 0, 10)
        );
        assert_eq!((bucket.holds_at(1, rate), bucket.holds_at(50, rate)), (at(8) + at(1) / 10, at(13)));
        assert!(!bucket.is_full(at(17)) && bucket.is_full(at(18)));
    }
}
