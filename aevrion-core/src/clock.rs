//! The local clock: timestamps that never run backwards, whatever the wall clock does.
//!
//! It issues `max(wall, last)`, where `last` is the greatest timestamp this node has issued or accepted. So a write
//! made after seeing another node's write to the same key wins over it everywhere. It is strictly increasing per key,
//! not per node: a clock that moved on for every write would cap a node at 1,000 writes a second. Accepted events
//! more than `max_drift` ahead of the wall do not count, so that one node with a fast clock cannot drag the others
//! along.
//!
//! Pure: the wall's time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::Timestamp;

/// How far ahead of the wall an event may be and still count as the present.
pub const MAX_DRIFT: Duration = Duration::from_secs(60);

/// The state from which timestamps are issued.
#[derive(Debug, Clone)]
pub struct Clock {
    last: Timestamp,
    /// The keys that have an event at exactly `last`.
    seen: BTreeSet<Bytes>,
    max_drift: Duration,
}

impl Clock {
    /// A clock that continues after `last`, the greatest timestamp known that is no more than `max_drift` ahead.
    pub fn new(last: Timestamp, max_drift: Duration) -> Self {
        Self { last, seen: BTreeSet::new(), max_drift }
    }

    /// Whether local writes may be stamped. Ask once for a batch: its own timestamps may run ahead.
    ///
    /// # Errors
    /// [`TooFarAhead`] if the clock runs more than `max_drift` ahead of the wall: ask again after the time named.
    pub fn ready(&self, wall: Timestamp) -> Result<(), TooFarAhead> {
        let ahead = self.last.ahead_of(wall);
        if ahead > self.max_drift {
            return Err(TooFarAhead { wait: ahead.saturating_sub(self.max_drift) });
        }
        Ok(())
    }

    /// The timestamp for a local write of `key`, greater than any this clock has issued or accepted for it.
    pub fn issue(&mut self, wall: Timestamp, key: &Bytes) -> Timestamp {
        self.follow(wall);
        if self.seen.contains(key) {
            self.move_to(self.last.next());
        }
        self.seen.insert(key.clone());
        self.last
    }

    /// Takes note of an event accepted from elsewhere, or found in the store.
    pub fn observe(&mut self, wall: Timestamp, key: &Bytes, timestamp: Timestamp) {
        if timestamp > wall.after(self.max_drift) {
            return;
        }
        if timestamp > self.last {
            self.move_to(timestamp);
        }
        if timestamp == self.last {
            self.seen.insert(key.clone());
        }
    }

    /// The time at which reads happen: never before the wall, nor before what this node has written.
    pub fn now(&self, wall: Timestamp) -> Timestamp {
        self.last.max(wall)
    }

    /// The greatest timestamp issued or accepted.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    fn follow(&mut self, wall: Timestamp) {
        if wall > self.last {
            self.move_to(wall);
        }
    }

    fn move_to(&mut self, timestamp: Timestamp) {
        self.last = timestamp;
        self.seen.clear();
    }
}

/// The clock cannot issue a timestamp yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFarAhead {
    /// Until the wall has caught up.
    pub wait: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Bytes = Bytes::from_static(b"key");
    const OTHER: Bytes = Bytes::from_static(b"other");

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn clock() -> Clock {
        Clock::new(Timestamp::MIN, MAX_DRIFT)
    }

    #[test]
    fn different_keys_share_a_millisecond_and_one_key_does_not() {
        let mut clock = clock();
        assert_eq!(clock.issue(at(100), &KEY), at(100));
        assert_eq!(clock.issue(at(100), &OTHER), at(100));
        assert_eq!(clock.issue(at(100), &KEY), at(101));
        assert_eq!(clock.issue(at(100), &OTHER), at(101));
    }

    #[test]
    fn follows_what_it_accepts() {
        let mut clock = clock();
        clock.observe(at(100), &KEY, at(5_000));
        assert_eq!(clock.issue(at(100), &OTHER), at(5_000));
        assert_eq!(clock.issue(at(100), &KEY), at(5_001));
        assert_eq!(clock.now(at(100)), at(5_001));
    }

    #[test]
    fn ignores_the_far_future() {
        let mut clock = clock();
        clock.observe(at(100), &KEY, at(100 + 60_001));
        assert_eq!(clock.issue(at(100), &KEY), at(100));
    }

    #[test]
    fn stands_still_while_the_wall_runs_back() {
        let mut clock = clock();
        assert_eq!(clock.issue(at(9_000), &KEY), at(9_000));
        assert_eq!(clock.issue(at(4_000), &OTHER), at(9_000));
        assert_eq!(clock.issue(at(4_000), &KEY), at(9_001));
    }

    #[test]
    fn waits_rather_than_running_away() {
        let mut clock = Clock::new(at(70_000), MAX_DRIFT);
        assert_eq!(clock.ready(at(0)), Err(TooFarAhead { wait: Duration::from_secs(10) }));
        assert_eq!(clock.ready(at(10_000)), Ok(()));
        assert_eq!(clock.issue(at(10_000), &KEY), at(70_000));
    }
}
