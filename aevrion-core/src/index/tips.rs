//! The newest versions of keys that were read lately, so that reading them again costs no search in the store.
//!
//! An entry is never removed when its key is written: it carries the number of arrivals that its reader's state had,
//! every slot the number that the last write to one of its keys brought, and an entry older than that is not used.
//! So readers and the writer agree without waiting for each other, and a reader that was overtaken by a write cannot
//! bring the old value back.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::bounds::{TIP_BYTES, TIP_SLOTS};
use crate::{Event, Timestamp};

/// A bounded cache of newest versions. Keys that meet in a slot replace each other.
pub(crate) struct Tips {
    slots: Box<[Slot]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Slot {
    /// Arrivals of the state that the last write to a key of this slot made.
    written: AtomicU64,
    tip: ArcSwapOption<Tip>,
}

struct Tip {
    /// Arrivals of the state that the event was read from.
    arrivals: u64,
    event: Event,
}

impl Tips {
    pub(crate) fn new() -> Self {
        Self { slots: (0..TIP_SLOTS).map(|_| Slot::default()).collect(), hasher: RandomState::new() }
    }

    /// The newest version of `key`, if it is known and not later than `at`.
    pub(crate) fn get(&self, key: &[u8], at: Timestamp) -> Option<Event> {
        let slot = self.slot(key);
        let tip = slot.tip.load();
        let Tip { arrivals, event } = &**tip.as_ref()?;
        let valid = event.key() == key
            && event.timestamp() <= at
            && slot.written.load(Ordering::Acquire) <= *arrivals;
        valid.then(|| event.clone())
    }

    /// Keeps `event`, which a reader found to be the newest version of its key in a state of so many arrivals.
    pub(crate) fn keep(&self, event: &Event, arrivals: u64) {
        if event.weight() <= TIP_BYTES {
            let tip = Tip { arrivals, event: event.clone() };
            self.slot(event.key()).tip.store(Some(tip.into()));
        }
    }

    /// Says that `key` was written to by the commit that made a state of so many arrivals. Call it before that state
    /// is shown to anyone.
    pub(crate) fn note_write(&self, key: &[u8], arrivals: u64) {
        self.slot(key).written.fetch_max(arrivals, Ordering::AcqRel);
    }

    /// Says that anything may have been written.
    pub(crate) fn forget_all(&self, arrivals: u64) {
        for slot in &self.slots {
            slot.written.fetch_max(arrivals, Ordering::AcqRel);
            slot.tip.store(None);
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
        let tips = Tips::new();
        tips.keep(&event("key", 5), 10);
        assert_eq!(tips.get(b"key", Timestamp::from_millis(5)), Some(event("key", 5)));
        assert_eq!(tips.get(b"key", Timestamp::from_millis(4)), None, "not yet visible");
        tips.note_write(b"key", 11);
        assert_eq!(tips.get(b"key", Timestamp::MAX), None);
        tips.keep(&event("key", 5), 10);
        assert_eq!(tips.get(b"key", Timestamp::MAX), None, "a reader that was overtaken");
        tips.keep(&event("key", 6), 11);
        assert_eq!(tips.get(b"key", Timestamp::MAX), Some(event("key", 6)));
        tips.forget_all(11);
        assert_eq!(tips.get(b"key", Timestamp::MAX), None);
    }

    #[test]
    fn large_values_are_not_kept() {
        let tips = Tips::new();
        let large = Value::Data(vec![0; TIP_BYTES + 1].into());
        tips.keep(&Event::new("key".into(), large, Timestamp::MIN).unwrap(), 1);
        assert_eq!(tips.get(b"key", Timestamp::MAX), None);
    }
}
