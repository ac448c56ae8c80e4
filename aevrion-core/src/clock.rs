//! The local clock: its timestamps never run backwards, even if the wall clock does.
//!
//! It issues `max(wall, last)`, where `last` is the greatest timestamp this node has issued, or accepted from a
//! neighbour. So a write made after seeing another node's write to the same key wins over it everywhere. It is strictly
//! increasing per key, not per node: a clock that moved on for every write would cap a node at 1,000 writes a second.
//!
//! Three bounds hold it. Accepted events more than `max_drift` ahead of the wall do not count, so that one fast clock
//! cannot drag the others along. No timestamp is more than `max_drift` ahead of the wall: [`Blocked`] says whether one
//! key is written too fast, or the wall was set back. No timestamp is at or before a time that this node has declared
//! settled.
//!
//! Pure: the wall's time is an argument.

use std::time::Duration;

use bytes::Bytes;
use imbl::OrdSet;

use crate::Timestamp;

/// How far ahead of the wall an event may be and still count as the present.
pub const MAX_DRIFT: Duration = Duration::from_secs(60);

/// The state that the next run needs, regardless of its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ClockMark {
    /// The next run issues nothing before this.
    pub(crate) continues: Timestamp,
    /// The point from which the operator resumed the clock.
    pub(crate) resumed: Timestamp,
}

/// The state from which timestamps are issued. Cloning is cheap: dropping a clone takes back its timestamps.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// The greatest timestamp issued or accepted.
    last: Timestamp,
    /// The greatest timestamp issued, in this run or an earlier one.
    issued: Timestamp,
    /// The end of the settled time.
    settled: Timestamp,
    /// The point from which the operator resumed the clock.
    resumed: Timestamp,
    /// The keys that have an event at exactly `last`.
    seen: OrdSet<Bytes>,
    max_drift: Duration,
}

impl Clock {
    /// A clock that continues after `accepted`, the greatest timestamp in the store no more than `max_drift` ahead of
    /// the wall, and after the `mark` of the previous run.
    pub(crate) fn new(accepted: Timestamp, mark: ClockMark, max_drift: Duration) -> Self {
        let ClockMark { continues, resumed } = mark;
        Self {
            last: accepted.max(continues),
            issued: continues,
            settled: continues.previous(),
            resumed,
            seen: OrdSet::new(),
            max_drift,
        }
    }

    /// The timestamp for a local write of `key`, greater than any that this clock has issued or accepted for it.
    ///
    /// # Errors
    /// [`Blocked`]. The clock stays as it was.
    pub(crate) fn issue(&mut self, wall: Timestamp, key: &Bytes) -> Result<Timestamp, Blocked> {
        let earliest = self.earliest(wall);
        let is_taken = earliest == self.last && self.seen.contains(key);
        let timestamp = if is_taken { earliest.next() } else { earliest };
        let horizon = self.horizon(wall);
        if earliest > horizon {
            return Err(Blocked::SetBack { by: earliest.ahead_of(wall), wait: earliest.ahead_of(horizon) });
        }
        if timestamp > horizon {
            return Err(Blocked::BusyKey { wait: timestamp.ahead_of(horizon) });
        }
        self.move_to(timestamp);
        self.seen.insert(key.clone());
        self.issued = self.issued.max(timestamp);
        Ok(timestamp)
    }

    /// Records an event of a neighbour.
    pub(crate) fn observe(&mut self, wall: Timestamp, key: &Bytes, timestamp: Timestamp) {
        if timestamp <= wall.after(self.max_drift) {
            self.move_to(timestamp);
            self.note(key, timestamp);
        }
    }

    /// Records an event whose time a client chose. It says nothing about clocks, and moves none.
    pub(crate) fn note(&mut self, key: &Bytes, timestamp: Timestamp) {
        if timestamp == self.last {
            self.seen.insert(key.clone());
        }
    }

    /// Issues nothing at or before `until` from now on. `until` must not exceed a time that the wall has shown.
    pub(crate) fn settle(&mut self, until: Timestamp) {
        self.settled = self.settled.max(until);
    }

    /// Resumes the clock from its present time, however far ahead of the wall, on the operator's word. Does nothing
    /// unless the wall was set back: otherwise a clock that runs ahead would run ever further ahead.
    pub(crate) fn resume(&mut self, wall: Timestamp) {
        if self.earliest(wall) > self.horizon(wall) {
            self.exceed(wall);
        }
    }

    /// Takes the present time of the clock for the wall's.
    pub(crate) fn exceed(&mut self, wall: Timestamp) {
        self.resumed = self.earliest(wall);
    }

    /// No timestamp is issued while the wall shows less than this: it was set back too far.
    pub(crate) fn set_back_below(&self) -> Timestamp {
        let earliest = self.earliest(Timestamp::MIN);
        if earliest <= self.horizon(Timestamp::MIN) {
            Timestamp::MIN
        } else {
            earliest.before(self.max_drift)
        }
    }

    /// The greatest timestamp issued or accepted.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// The mark for the next run.
    pub(crate) fn mark(&self) -> ClockMark {
        // An issued timestamp may be issued again, for another key. A settled one may not.
        let continues = if self.settled < self.issued { self.issued } else { self.settled.next() };
        ClockMark { continues, resumed: self.resumed }
    }

    /// The least timestamp that may be issued.
    fn earliest(&self, wall: Timestamp) -> Timestamp {
        wall.max(self.last).max(self.settled.next())
    }

    /// The greatest timestamp that may be issued.
    fn horizon(&self, wall: Timestamp) -> Timestamp {
        wall.max(self.resumed).after(self.max_drift)
    }

    fn move_to(&mut self, timestamp: Timestamp) {
        if timestamp > self.last {
            self.last = timestamp;
            self.seen = OrdSet::new();
        }
    }
}

/// Why the clock issues no timestamp for a key at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The key is written faster than once a millisecond, and has used up the drift.
    BusyKey {
        /// The time until the wall has caught up.
        wait: Duration,
    },
    /// The wall shows less than this clock has issued, by more than the drift: it was set back.
    SetBack {
        /// How far the wall is behind.
        by: Duration,
        /// The time until the wall has caught up, if nobody sets it right.
        wait: Duration,
    },
}

impl Blocked {
    /// The same reason after `writes` more writes of the key, all made at once.
    pub(crate) fn and_more(self, writes: usize) -> Self {
        match self {
            Self::BusyKey { wait } => Self::BusyKey { wait: wait + Duration::from_millis(writes as u64) },
            set_back @ Self::SetBack { .. } => set_back,
        }
    }

    /// The longest time until the next attempt.
    pub(crate) fn wait(self) -> Duration {
        match self {
            Self::BusyKey { wait } | Self::SetBack { wait, .. } => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Bytes = Bytes::from_static(b"key");
    const OTHER: Bytes = Bytes::from_static(b"other");
    const DRIFT: u64 = 60_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn clock() -> Clock {
        Clock::new(Timestamp::MIN, ClockMark::default(), MAX_DRIFT)
    }

    #[test]
    fn different_keys_share_a_millisecond_and_one_key_does_not() {
        let mut clock = clock();
        assert_eq!(clock.issue(at(100), &KEY), Ok(at(100)));
        assert_eq!(clock.issue(at(100), &OTHER), Ok(at(100)));
        assert_eq!(clock.issue(at(100), &KEY), Ok(at(101)));
        assert_eq!(clock.issue(at(100), &OTHER), Ok(at(101)));
    }

    #[test]
    fn follows_what_it_accepts() {
        let mut clock = clock();
        clock.observe(at(100), &KEY, at(5_000));
        assert_eq!(clock.issue(at(100), &OTHER), Ok(at(5_000)));
        assert_eq!(clock.issue(at(100), &KEY), Ok(at(5_001)));
        assert_eq!(clock.last().max(at(100)), at(5_001));
    }

    #[test]
    fn what_a_client_chose_moves_nothing() {
        let mut clock = clock();
        clock.issue(at(100), &OTHER).unwrap();
        clock.note(&KEY, at(5_000));
        clock.note(&KEY, at(100));
        assert_eq!(clock.last().max(at(100)), at(100));
        assert_eq!(clock.issue(at(100), &KEY), Ok(at(101)), "it has an event at 100 already");
    }

    #[test]
    fn ignores_the_far_future() {
        let mut clock = clock();
        clock.observe(at(100), &KEY, at(100 + DRIFT + 1));
        assert_eq!(clock.issue(at(100), &KEY), Ok(at(100)));
    }

    #[test]
    fn stands_still_while_the_wall_runs_back() {
        let mut clock = clock();
        assert_eq!(clock.issue(at(9_000), &KEY), Ok(at(9_000)));
        assert_eq!(clock.issue(at(4_000), &OTHER), Ok(at(9_000)));
        assert_eq!(clock.issue(at(4_000), &KEY), Ok(at(9_001)));
    }

    #[test]
    fn a_busy_key_waits_and_the_others_do_not() {
        let mut clock = clock();
        let stamps = (0..).map_while(|_| clock.issue(at(100), &KEY).ok());
        assert_eq!(stamps.last(), Some(at(100 + DRIFT)));
        assert_eq!(clock.issue(at(100), &KEY), Err(Blocked::BusyKey { wait: Duration::from_millis(1) }));
        assert_eq!(clock.issue(at(100), &OTHER), Ok(at(100 + DRIFT)));
        assert_eq!(clock.set_back_below(), at(100));
        assert_eq!(clock.issue(at(101), &KEY), Ok(at(101 + DRIFT)));
    }

    #[test]
    fn issues_nothing_after_the_wall_was_set_back_too_far() {
        let mut clock = clock();
        clock.issue(at(DRIFT * 2), &KEY).unwrap();
        let back = at(DRIFT - 10);
        let wait = Duration::from_millis(10);
        let by = Duration::from_millis(DRIFT + 10);
        assert_eq!(clock.issue(back, &OTHER), Err(Blocked::SetBack { by, wait }));
        assert_eq!(clock.set_back_below(), at(DRIFT));
        assert_eq!(clock.last().max(back), at(DRIFT * 2), "what it has written stays visible");
        clock.resume(back);
        assert_eq!(clock.issue(back, &KEY), Ok(at(DRIFT * 2 + 1)));
        assert_eq!(clock.set_back_below(), Timestamp::MIN);
    }

    #[test]
    fn the_next_run_continues_after_the_mark() {
        let mut clock = clock();
        clock.issue(at(70_000), &KEY).unwrap();
        let next = Clock::new(Timestamp::MIN, clock.mark(), MAX_DRIFT);
        assert_eq!(next.set_back_below(), at(10_000));
        assert_eq!(next.last().max(at(9_000)), at(70_000));
    }

    #[test]
    fn what_is_settled_stays_so() {
        let mut clock = clock();
        clock.settle(at(500));
        assert_eq!(clock.issue(at(400), &KEY), Ok(at(501)));
        clock.settle(at(600));
        let mut next = Clock::new(Timestamp::MIN, clock.mark(), MAX_DRIFT);
        assert_eq!(next.issue(at(400), &KEY), Ok(at(601)));
    }

    #[test]
    fn a_clone_takes_back_what_was_issued_on_it() {
        let mut clock = clock();
        clock.issue(at(100), &KEY).unwrap();
        let mut tried = clock.clone();
        (0..10).for_each(|_| assert!(tried.issue(at(100), &KEY).is_ok()));
        assert_eq!((clock.last(), tried.last()), (at(100), at(110)));
    }
}
