//! The order of a history. Its records follow each other, even against their times: clocks were wrong, commits were
//! rebased. But the value of a key is that of its latest timestamp, so the last change of a history may not count.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use aevrion_core::{Event, Timestamp};

/// Most keys that are remembered: a table of 2^22 slots holds as many, some 200 MB.
const REMEMBERED: usize = 3_600_000;

/// The state of a history so far.
pub(super) struct Succession {
    remembered: usize,
    hasher: RandomState,
    /// The keys, by their hashes.
    keys: HashMap<u64, Seen>,
    /// Events equal to their predecessors.
    pub(super) repeated: u64,
    /// Events moved to a later time, and the farthest move.
    pub(super) moved: u64,
    pub(super) farthest: u64,
    /// Whether there were too many keys to remember.
    pub(super) overflowed: bool,
}

/// The state of a key.
struct Seen {
    /// The value of the latest time.
    latest: State,
    /// The value of the last record.
    last: State,
    /// The time of that record.
    said: Timestamp,
    moved: bool,
}

/// A value, by its hash, and its time.
#[derive(Clone, Copy)]
struct State {
    at: Timestamp,
    value: u64,
}

impl Succession {
    pub(super) fn new() -> Self {
        Self::remembering(REMEMBERED)
    }

    fn remembering(remembered: usize) -> Self {
        let (hasher, keys) = (RandomState::new(), HashMap::new());
        Self { remembered, hasher, keys, repeated: 0, moved: 0, farthest: 0, overflowed: false }
    }

    /// Notes the next event of the history.
    pub(super) fn note(&mut self, event: &Event) {
        let now = self.state(event);
        let full = self.keys.len() >= self.remembered;
        match self.keys.entry(self.hasher.hash_one(event.key())) {
            Entry::Vacant(_) if full => self.overflowed = true,
            Entry::Vacant(entry) => drop(entry.insert(Seen::first(now))),
            Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                seen.last = now;
                // Ties at one time are counted in `ties.rs`.
                if seen.latest.at <= now.at {
                    seen.latest = now;
                }
            }
        }
    }

    /// Moves the next event of the history behind its predecessor; nothing if it is a repetition.
    pub(super) fn place(&mut self, event: Event) -> Option<Event> {
        let now = self.state(&event);
        let full = self.keys.len() >= self.remembered;
        let mut entry = match self.keys.entry(self.hasher.hash_one(event.key())) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                if full {
                    self.overflowed = true;
                } else {
                    entry.insert(Seen::first(now));
                }
                return Some(event);
            }
        };
        let seen = entry.get_mut();
        if seen.last.value == now.value && seen.said == now.at {
            self.repeated += 1;
            return None;
        }
        seen.said = now.at;
        // At the end of time no later moment exists: `overtaken` then reports the key.
        let event = match later(&event, seen.last.at).filter(|_| now.at <= seen.last.at) {
            Some(later) => {
                self.moved += 1;
                self.farthest = self.farthest.max(later.timestamp().as_millis() - now.at.as_millis());
                seen.moved = true;
                later
            }
            None => event,
        };
        seen.last = State { at: event.timestamp(), ..now };
        if seen.latest.at <= seen.last.at {
            seen.latest = seen.last;
        }
        Some(event)
    }

    /// Keys whose last change has an earlier time than a different change before it.
    pub(super) fn overtaken(&self) -> u64 {
        self.count(|seen| seen.last.at < seen.latest.at && seen.last.value != seen.latest.value)
    }

    /// Keys with a change moved to a later time.
    pub(super) fn keys_moved(&self) -> u64 {
        self.count(|seen| seen.moved)
    }

    fn count(&self, of: impl Fn(&Seen) -> bool) -> u64 {
        self.keys.values().filter(|seen| of(seen)).count() as u64
    }

    fn state(&self, event: &Event) -> State {
        let value = self.hasher.hash_one((event.value().data(), event.value().expires_at()));
        State { at: event.timestamp(), value }
    }
}

impl Seen {
    fn first(state: State) -> Self {
        Self { latest: state, last: state, said: state.at, moved: false }
    }
}

/// The event a millisecond after this time, or nothing at the end of time.
fn later(event: &Event, at: Timestamp) -> Option<Event> {
    let at = Timestamp::from_millis(at.as_millis().checked_add(1)?);
    Event::new(event.key().clone(), event.value().clone(), at).ok()
}

#[cfg(test)]
mod tests {
    use aevrion_core::Value;

    use super::*;

    fn event(key: &'static str, value: &'static str, ms: u64) -> Event {
        let value = if value.is_empty() { Value::Deletion } else { Value::Data(value.into()) };
        Event::new(key.into(), value, Timestamp::from_millis(ms)).unwrap()
    }

    fn placed(order: &mut Succession, events: &[(&'static str, &'static str, u64)]) -> Vec<Option<u64>> {
        let place = |(key, value, ms): &(&'static str, &'static str, u64)| {
            order.place(event(key, value, *ms)).map(|event| event.timestamp().as_millis())
        };
        events.iter().map(place).collect()
    }

    fn overtaken(events: &[(&'static str, &'static str, u64)]) -> u64 {
        let mut order = Succession::new();
        for (key, value, ms) in events {
            order.note(&event(key, value, *ms));
        }
        order.overtaken()
    }

    #[test]
    fn keys_whose_last_change_does_not_count_are_counted() {
        assert_eq!(overtaken(&[("a", "1", 5), ("a", "2", 6), ("b", "1", 2)]), 0);
        assert_eq!(overtaken(&[("a", "1", 5), ("a", "2", 4), ("b", "1", 5), ("b", "", 4)]), 2);
        // A value that came back, in time.
        assert_eq!(overtaken(&[("a", "1", 5), ("a", "2", 4), ("a", "3", 5)]), 0);
        // The same value, in any order of times.
        assert_eq!(overtaken(&[("a", "1", 5), ("a", "2", 4), ("a", "1", 3)]), 0);
    }

    #[test]
    fn each_change_is_put_after_the_one_before_it() {
        let mut order = Succession::new();
        let history =
            [("a", "1", 9), ("a", "2", 9), ("b", "1", 1), ("a", "", 3), ("a", "2", 10), ("a", "3", 20)];
        assert_eq!(placed(&mut order, &history), [Some(9), Some(10), Some(1), Some(11), Some(12), Some(20)]);
        assert_eq!((order.moved, order.farthest, order.keys_moved(), order.overtaken()), (3, 8, 1, 0));
    }

    #[test]
    fn the_same_once_more_is_nothing_new() {
        let mut order = Succession::new();
        let history = [("a", "1", 5), ("a", "1", 5), ("a", "2", 5), ("a", "2", 5), ("a", "1", 5)];
        assert_eq!(placed(&mut order, &history), [Some(5), None, Some(6), None, Some(7)]);
        assert_eq!((order.repeated, order.moved), (2, 2));
    }

    #[test]
    fn where_time_ends_and_memory_too_it_is_said() {
        let mut order = Succession::new();
        placed(&mut order, &[("a", "1", u64::MAX), ("a", "2", 5)]);
        assert_eq!((order.moved, order.overtaken()), (0, 1));
        let mut order = Succession::remembering(1);
        placed(&mut order, &[("a", "1", 5), ("b", "1", 5), ("b", "2", 4), ("a", "2", 4)]);
        assert!(order.overflowed && order.moved == 1);
    }
}
