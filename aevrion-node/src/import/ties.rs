//! Several values of one key in one moment: which of them counts is decided by their ids, for every node has to decide
//! alike, and not by the order of the file, which most people mean.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use aevrion_core::{Event, Timestamp};

use crate::cli::Ties;

/// Moments of keys that are remembered: as many as a table of 2^22 places takes, some 100 MB.
const REMEMBERED: usize = 3_600_000;

/// As much of an id as tells two events of one moment apart, also in a file that was made to deceive.
type ShortId = [u8; 16];

/// What was seen of the file so far.
pub(super) struct Moments {
    ties: Option<Ties>,
    remembered: usize,
    hasher: RandomState,
    /// The event at each moment of each key, by a hash of both.
    seen: HashMap<u64, ShortId>,
    /// Keys with several values in one moment, by a hash of each.
    tied: HashSet<u64>,
    /// Events that stand in the file more than once.
    pub(super) repeated: u64,
    /// Events that were put later, and by how much at most.
    pub(super) moved: u64,
    pub(super) farthest: u64,
    /// There were too many to remember.
    pub(super) overflowed: bool,
}

impl Moments {
    pub(super) fn new(ties: Option<Ties>) -> Self {
        Self::remembering(REMEMBERED, ties)
    }

    /// Looks for nothing: several such files at once are to take no memory.
    pub(super) fn none() -> Self {
        Self::remembering(0, None)
    }

    fn remembering(remembered: usize, ties: Option<Ties>) -> Self {
        Self {
            ties,
            remembered,
            hasher: RandomState::new(),
            seen: HashMap::new(),
            tied: HashSet::new(),
            repeated: 0,
            moved: 0,
            farthest: 0,
            overflowed: false,
        }
    }

    /// Keys that have several values in one moment.
    pub(super) fn tied(&self) -> u64 {
        self.tied.len() as u64
    }

    /// What becomes of the next event of the file; nothing if it stands there already.
    pub(super) fn place(&mut self, event: Event) -> Option<Event> {
        let first = event.timestamp();
        let mut event = event;
        // Whether the event at the moment before is the same but for its time.
        let mut repeats = false;
        loop {
            let moment = self.hasher.hash_one((event.key(), event.timestamp().as_millis()));
            let full = self.seen.len() >= self.remembered;
            match self.seen.entry(moment) {
                Entry::Vacant(_) if repeats => return self.repeat(),
                Entry::Vacant(_) if full => self.overflowed = true,
                Entry::Vacant(entry) => drop(entry.insert(short_id(&event))),
                Entry::Occupied(entry) => {
                    repeats = *entry.get() == short_id(&event);
                    if !repeats {
                        self.tied.insert(self.hasher.hash_one(event.key()));
                    }
                    match later(&event).filter(|_| self.ties == Some(Ties::FileOrder)) {
                        Some(later) => {
                            event = later;
                            continue;
                        }
                        None if repeats => return self.repeat(),
                        None => {}
                    }
                }
            }
            break;
        }
        let moved = event.timestamp().as_millis() - first.as_millis();
        self.moved += u64::from(moved > 0);
        self.farthest = self.farthest.max(moved);
        Some(event)
    }

    fn repeat(&mut self) -> Option<Event> {
        self.repeated += 1;
        None
    }
}

fn short_id(event: &Event) -> ShortId {
    let id = event.id();
    let (short, _) = id.as_bytes().split_first_chunk().expect("an id has 32 bytes");
    *short
}

/// The same a millisecond later, unless time ends there.
fn later(event: &Event) -> Option<Event> {
    let at = Timestamp::from_millis(event.timestamp().as_millis().checked_add(1)?);
    Event::new(event.key().clone(), event.value().clone(), at).ok()
}

#[cfg(test)]
mod tests {
    use aevrion_core::Value;

    use super::*;

    fn event(key: &'static str, value: &'static str, ms: u64) -> Event {
        Event::new(key.into(), Value::Data(value.into()), Timestamp::from_millis(ms)).unwrap()
    }

    fn placed(moments: &mut Moments, events: &[(&'static str, &'static str, u64)]) -> Vec<Option<u64>> {
        let place = |(key, value, ms): &(&'static str, &'static str, u64)| {
            moments.place(event(key, value, *ms)).map(|event| event.timestamp().as_millis())
        };
        events.iter().map(place).collect()
    }

    #[test]
    fn ties_are_counted_by_key_and_repeats_by_event() {
        let mut moments = Moments::new(None);
        let file = [("a", "1", 5), ("a", "2", 5), ("a", "3", 5), ("b", "1", 5), ("a", "1", 5), ("b", "2", 6)];
        let times = [Some(5), Some(5), Some(5), Some(5), None, Some(6)];
        assert_eq!(placed(&mut moments, &file), times);
        assert_eq!((moments.tied(), moments.repeated, moments.moved), (1, 1, 0));
    }

    #[test]
    fn in_the_order_of_the_file_the_last_one_counts() {
        let mut moments = Moments::new(Some(Ties::FileOrder));
        let file = [("a", "done", 5), ("a", "half", 5), ("a", "more", 6), ("a", "done", 5), ("b", "done", 5)];
        assert_eq!(placed(&mut moments, &file), [Some(5), Some(6), Some(7), Some(8), Some(5)]);
        assert_eq!((moments.tied(), moments.moved, moments.farthest), (1, 3, 3));
        // The last one once more is nothing new.
        assert_eq!(placed(&mut moments, &[("a", "done", 5), ("b", "done", 5)]), [None, None]);
    }

    #[test]
    fn what_cannot_be_remembered_is_said() {
        let mut moments = Moments::remembering(2, None);
        placed(&mut moments, &[("a", "1", 1), ("a", "1", 2), ("a", "1", 3), ("a", "2", 3)]);
        assert!(moments.overflowed && moments.tied() == 0);
    }
}
