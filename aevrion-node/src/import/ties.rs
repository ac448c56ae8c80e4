//! Several values of one key at one time. Their ids decide which one counts, because every node has to decide alike;
//! most people expect the order of the file to decide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use aevrion_core::{Event, Timestamp};

use crate::cli::Ties;

/// Most pairs of key and time that are remembered: a table of 2^22 slots holds as many, some 100 MB.
const REMEMBERED: usize = 3_600_000;

/// A prefix of an id, long enough to tell two events of one time apart, even in a malicious file.
type ShortId = [u8; 16];

/// The state of a file so far.
pub(super) struct Moments {
    ties: Option<Ties>,
    remembered: usize,
    hasher: RandomState,
    /// The event at each time of each key, by a hash of both.
    seen: HashMap<u64, ShortId>,
    /// From a taken time to a later one; all times between them are taken for the same key. Without it, each value of a
    /// time would step over all before it.
    taken_until: HashMap<u64, Timestamp>,
    /// Hashes of keys with several values at one time.
    tied: HashSet<u64>,
    /// Events repeated in the file.
    pub(super) repeated: u64,
    /// Events moved to a later time, and the farthest move.
    pub(super) moved: u64,
    pub(super) farthest: u64,
    /// Whether there were too many times to remember.
    pub(super) overflowed: bool,
}

impl Moments {
    pub(super) fn new(ties: Option<Ties>) -> Self {
        Self::remembering(REMEMBERED, ties)
    }

    /// Detects nothing, and takes no memory: for several such files at once.
    pub(super) fn none() -> Self {
        Self::remembering(0, None)
    }

    fn remembering(remembered: usize, ties: Option<Ties>) -> Self {
        Self {
            ties,
            remembered,
            hasher: RandomState::new(),
            seen: HashMap::new(),
            taken_until: HashMap::new(),
            tied: HashSet::new(),
            repeated: 0,
            moved: 0,
            farthest: 0,
            overflowed: false,
        }
    }

    /// Keys with several values at one time.
    pub(super) fn tied(&self) -> u64 {
        self.tied.len() as u64
    }

    /// Places the next event of the file; nothing if it is a repetition.
    pub(super) fn place(&mut self, event: Event) -> Option<Event> {
        match self.ties {
            Some(Ties::FileOrder) => self.place_in_order(event),
            None => self.place_as_it_is(event),
        }
    }

    fn place_as_it_is(&mut self, event: Event) -> Option<Event> {
        let moment = self.moment_of(&event);
        match self.seen.get(&moment) {
            Some(id) if *id == short_id(&event) => return self.repeat(),
            Some(_) => drop(self.tied.insert(self.hasher.hash_one(event.key()))),
            None => drop(self.remember(moment, &event)),
        }
        Some(event)
    }

    /// Moves an event to the first time, from its own on, that is free for its key. It is a repetition if it equals the
    /// event before that time in all but the time.
    fn place_in_order(&mut self, mut event: Event) -> Option<Event> {
        let first = event.timestamp();
        let (mut passed, mut repeats) = (Vec::new(), false);
        let mut moment = self.moment_of(&event);
        while let Some(id) = self.seen.get(&moment) {
            repeats = *id == short_id(&event);
            if !repeats {
                self.tied.insert(self.hasher.hash_one(event.key()));
            }
            let later = self.taken_until.get(&moment).copied().or_else(|| next(event.timestamp()));
            passed.push((moment, event.timestamp()));
            // At the end of time several events share one time.
            let Some(later) = later.and_then(|at| at_moment(&event, at)) else { break };
            event = later;
            moment = self.moment_of(&event);
        }
        let is_free = passed.last().is_none_or(|(taken, _)| *taken != moment);
        let taken = match is_free && !repeats && self.remember(moment, &event) {
            true => Some(event.timestamp()),
            false => passed.pop().map(|(_, at)| at),
        };
        if let Some(taken) = taken {
            self.taken_until.extend(passed.into_iter().map(|(moment, _)| (moment, taken)));
        }
        if repeats {
            return self.repeat();
        }
        let moved = event.timestamp().as_millis() - first.as_millis();
        self.moved += u64::from(moved > 0);
        self.farthest = self.farthest.max(moved);
        Some(event)
    }

    fn moment_of(&self, event: &Event) -> u64 {
        self.hasher.hash_one((event.key(), event.timestamp().as_millis()))
    }

    /// Whether there is room for one more.
    fn remember(&mut self, moment: u64, event: &Event) -> bool {
        let has_room = self.seen.len() < self.remembered;
        self.overflowed |= !has_room;
        if has_room {
            self.seen.insert(moment, short_id(event));
        }
        has_room
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

/// The next millisecond, or nothing at the end of time.
fn next(at: Timestamp) -> Option<Timestamp> {
    at.as_millis().checked_add(1).map(Timestamp::from_millis)
}

/// The event at another time.
fn at_moment(event: &Event, at: Timestamp) -> Option<Event> {
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
        // The last event again is a repetition.
        assert_eq!(placed(&mut moments, &[("a", "done", 5), ("b", "done", 5)]), [None, None]);
    }

    #[test]
    fn many_values_of_one_moment_do_not_pass_by_each_other() {
        let mut moments = Moments::new(Some(Ties::FileOrder));
        let mut place = |value: u64, ms: u64| {
            let value = Value::Data(value.to_string().into());
            let event = Event::new("k".into(), value, Timestamp::from_millis(ms)).unwrap();
            moments.place(event).map(|event| event.timestamp().as_millis())
        };
        const MANY: u64 = 50_000;
        for number in 0..MANY {
            assert_eq!(place(number, 5), Some(5 + number));
        }
        for number in 0..MANY {
            assert_eq!(place(MANY + number, 5 + number), Some(5 + MANY + number));
        }
        for number in 0..MANY {
            assert_eq!(place(2 * MANY - 1, 5 + MANY + number), None);
        }
        assert_eq!(place(0, 5), Some(5 + 2 * MANY));
    }

    /// A naive model of the placement: each event of a key behind its predecessor.
    fn walked(file: &[(u8, u64)]) -> Vec<Option<u64>> {
        let mut taken = HashMap::new();
        let walk = |(value, ms): &(u8, u64)| {
            let (mut at, mut before) = (*ms, None);
            while let Some(there) = taken.get(&at) {
                (at, before) = (at + 1, Some(*there));
            }
            (before != Some(*value)).then(|| {
                taken.insert(at, *value);
                at
            })
        };
        file.iter().map(walk).collect()
    }

    proptest::proptest! {
        #[test]
        fn what_is_passed_at_once_is_what_would_be_passed_one_by_one(
            file in proptest::collection::vec((0..4_u8, 0..16_u64), 0..60)
        ) {
            let mut moments = Moments::new(Some(Ties::FileOrder));
            let values = ["0", "1", "2", "3"];
            let events: Vec<_> = file.iter().map(|(value, ms)| ("k", values[usize::from(*value)], *ms)).collect();
            proptest::prop_assert_eq!(placed(&mut moments, &events), walked(&file));
        }
    }

    #[test]
    fn where_time_ends_several_values_stay_at_one_moment() {
        let mut moments = Moments::new(Some(Ties::FileOrder));
        let file =
            [("a", "1", u64::MAX), ("a", "2", u64::MAX), ("a", "1", u64::MAX), ("a", "2", u64::MAX - 1)];
        let (end, before) = (Some(u64::MAX), Some(u64::MAX - 1));
        assert_eq!(placed(&mut moments, &file), [end, end, None, before]);
        assert_eq!(placed(&mut moments, &[("a", "3", u64::MAX - 1)]), [end]);
    }

    #[test]
    fn what_cannot_be_remembered_is_said() {
        let mut moments = Moments::remembering(2, None);
        placed(&mut moments, &[("a", "1", 1), ("a", "1", 2), ("a", "1", 3), ("a", "2", 3)]);
        assert!(moments.overflowed && moments.tied() == 0);
    }
}
