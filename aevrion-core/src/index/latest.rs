//! The latest-value cache: the newest versions of recently read keys, so that reading them again needs no search in the
//! store.
//!
//! A write does not remove an entry: the entry carries the number of arrivals in its reader's state, every slot the
//! number after the last write to one of its keys, and an entry older than that is not used. So readers and the writer
//! agree without waiting for each other, and a reader overtaken by a write cannot bring the old value back.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::bounds::{LATEST_BYTES, LATEST_SLOTS};
use crate::{Event, Timestamp};

/// A bounded cache of newest versions. Keys in the same slot replace each other.
pub(crate) struct LatestCache {
    slots: Box<[Slot]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Slot {
    /// The number of arrivals after the last write to a key of this slot.
    written: AtomicU64,
    cached: ArcSwapOption<Cached>,
}

struct Cached {
    /// The number of arrivals in the state of the event's reader.
    arrivals: u64,
    event: Event,
}

impl LatestCache {
    pub(crate) fn new() -> Self {
        Self { slots: (0..LATEST_SLOTS).map(|_| Slot::default()).collect(), hasher: RandomState::new() }
    }

    /// The newest version of `key`, if it is cached and not later than `at`.
    pub(crate) fn get(&self, key: &[u8], at: Timestamp) -> Option<Event> {
        let slot = self.slot(key);
        let cached = slot.cached.load();
        let Cached { arrivals, event } = &**cached.as_ref()?;
        let valid = event.key() == key
            && event.timestamp() <= at
            && slot.written.load(Ordering::Acquire) <= *arrivals;
        valid.then(|| event.clone())
    }

    /// Caches `event`, the newest version of its key in a state with `arrivals` arrivals.
    pub(crate) fn keep(&self, event: &Event, arrivals: u64) {
        if event.weight() <= LATEST_BYTES {
            let cached = Cached { arrivals, event: event.clone() };
            self.slot(event.key()).cached.store(Some(cached.into()));
        }
    }

    /// Records a write to `key` by the commit that led to a state with `arrivals` arrivals. Must be called before that
    /// state is published.
    pub(crate) fn note_write(&self, key: &[u8], arrivals: u64) {
        self.slot(key).written.fetch_max(arrivals, Ordering::AcqRel);
    }

    /// Invalidates all entries.
    pub(crate) fn forget_all(&self, arrivals: u64) {
        for slot in &self.slots {
            slot.written.fetch_max(arrivals, Ordering::AcqRel);
            slot.cached.store(None);
        }
    }

    fn slot(&self, key: &[u8]) -> &Slot {
        let slots = self.slots.len() as u64;
        let number = usize::try_from(self.hasher.hash_one(key) % slots);
        &self.slots[number.unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn event(key: &'static str, ms: u64) -> Event {
        Event::new(key.into(), Value::Deletion, Timestamp::from_millis(ms)).unwrap()
    }

    #[test]
    fn a_write_makes_what_was_read_before_it_useless() {
        let latest = LatestCache::new();
        latest.keep(&event("key", 5), 10);
        assert_eq!(latest.get(b"key", Timestamp::from_millis(5)), Some(event("key", 5)));
        assert_eq!(latest.get(b"key", Timestamp::from_millis(4)), None, "not yet visible");
        latest.note_write(b"key", 11);
        assert_eq!(latest.get(b"key", Timestamp::MAX), None);
        latest.keep(&event("key", 5), 10);
        assert_eq!(latest.get(b"key", Timestamp::MAX), None, "a reader that was overtaken");
        latest.keep(&event("key", 6), 11);
        assert_eq!(latest.get(b"key", Timestamp::MAX), Some(event("key", 6)));
        latest.forget_all(11);
        assert_eq!(latest.get(b"key", Timestamp::MAX), None);
    }

    #[test]
    fn large_values_are_not_kept() {
        let latest = LatestCache::new();
        let large = Value::Data(vec![0; LATEST_BYTES + 1].into());
        latest.keep(&Event::new("key".into(), large, Timestamp::MIN).unwrap(), 1);
        assert_eq!(latest.get(b"key", Timestamp::MAX), None);
    }
}
