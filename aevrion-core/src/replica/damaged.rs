//! Damaged events: the event keys of stored copies that do not match their ids, as reads found them. A neighbour is
//! asked for a sound copy of each event as long as it is on the list.
//!
//! The list is in memory only. After a restart reads, the scrub and `verify` find the damage again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::bounds::DAMAGED_EVENTS;
use crate::store::Table;
use crate::tables::parse_event_key;
use crate::{EventKey, ReadError, Timestamp};

/// The events whose stored copy is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DamagedEvents {
    /// The event keys of those that are not mended, in the order of time, each with the time of its discovery. At most
    /// [`bounds::DAMAGED_EVENTS`](DAMAGED_EVENTS).
    pub standing: Vec<(EventKey, Timestamp)>,
    /// Whether the list had no room for some. They are found again.
    pub more: bool,
    /// Events mended from a sound copy since the replica was opened.
    pub mended: u64,
}

/// The list of one replica.
pub(super) struct DamageList {
    entries: Mutex<Entries>,
    /// The length of the list, known without the lock.
    standing: AtomicUsize,
    mended: AtomicU64,
    /// The number of changes so far.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    found: BTreeMap<EventKey, Timestamp>,
    more: bool,
}

impl DamageList {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::default(),
            standing: AtomicUsize::new(0),
            mended: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }

    /// Adds the event if `error` names a damaged one.
    pub(super) fn note(&self, error: &ReadError, now: Timestamp) {
        if let Some(event_key) = damaged_event(error) {
            self.found([event_key], now);
        }
    }

    /// Adds these events, whose stored copies are damaged.
    pub(super) fn found(&self, event_keys: impl IntoIterator<Item = EventKey>, now: Timestamp) {
        let mut entries = self.entries();
        let before = entries.found.len();
        for event_key in event_keys {
            if entries.found.len() < DAMAGED_EVENTS {
                entries.found.entry(event_key).or_insert(now);
            } else if !entries.found.contains_key(&event_key) && !std::mem::replace(&mut entries.more, true) {
                tracing::error!("over {DAMAGED_EVENTS} events are damaged: the others are found again later");
            }
        }
        if entries.found.len() > before {
            self.publish(&entries);
        }
    }

    /// Removes these events, which were written anew from a sound copy.
    pub(super) fn mended(&self, event_keys: &[EventKey]) {
        self.mended.fetch_add(event_keys.len() as u64, Ordering::Relaxed);
        self.sound(event_keys);
    }

    /// Removes these events, whose stored copies are sound.
    pub(super) fn sound(&self, event_keys: &[EventKey]) {
        if event_keys.is_empty() || self.is_empty() {
            return;
        }
        let mut entries = self.entries();
        let before = entries.found.len();
        for event_key in event_keys {
            entries.found.remove(event_key);
        }
        if entries.found.len() < before {
            entries.more = false;
            self.publish(&entries);
        }
    }

    /// Whether this event is on the list.
    pub(super) fn contains(&self, event_key: EventKey) -> bool {
        !self.is_empty() && self.entries().found.contains_key(&event_key)
    }

    /// Whether the list is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.standing.load(Ordering::Acquire) == 0
    }

    /// The list as it stands.
    pub(super) fn listed(&self) -> DamagedEvents {
        let entries = self.entries();
        DamagedEvents {
            standing: entries.found.iter().map(|(event_key, found)| (*event_key, *found)).collect(),
            more: entries.more,
            mended: self.mended.load(Ordering::Relaxed),
        }
    }

    /// The event keys on the list.
    pub(super) fn event_keys(&self) -> Vec<EventKey> {
        self.entries().found.keys().copied().collect()
    }

    /// A channel that changes with the list.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn publish(&self, entries: &Entries) {
        self.standing.store(entries.found.len(), Ordering::Release);
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic leaves no entry half written.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event key of the damaged event, if `error` names one.
pub(super) fn damaged_event(error: &ReadError) -> Option<EventKey> {
    match error {
        ReadError::Damaged(damage) if damage.table == Table::Events => parse_event_key(&damage.key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventId;

    fn event_key(number: usize) -> EventKey {
        let timestamp = Timestamp::from_millis(number as u64);
        EventKey { timestamp, id: EventId::from_bytes([7; 32]) }
    }

    #[test]
    fn the_list_is_bounded_and_what_is_mended_makes_room() {
        let list = DamageList::new();
        list.found((0..DAMAGED_EVENTS + 5).map(event_key), Timestamp::MIN);
        assert_eq!(list.entries().found.len(), DAMAGED_EVENTS);
        assert!(list.entries().more && !list.contains(event_key(DAMAGED_EVENTS)));
        list.mended(&[event_key(0)]);
        assert!(!list.entries().more && !list.contains(event_key(0)));
        list.found([event_key(DAMAGED_EVENTS)], Timestamp::MIN);
        assert!(list.contains(event_key(DAMAGED_EVENTS)));
    }

    #[test]
    fn only_a_damaged_event_is_noted_and_once() {
        let list = DamageList::new();
        let changes = list.changed.subscribe();
        let key = crate::tables::encode_event_key(event_key(1));
        list.note(&ReadError::damaged(Table::Nodes, &[0; 9], "spoilt"), Timestamp::MIN);
        list.note(&ReadError::damaged(Table::Events, &key[1..], "no event key"), Timestamp::MIN);
        assert!(list.is_empty() && *changes.borrow() == 0);
        for _ in 0..2 {
            list.note(&ReadError::damaged(Table::Events, &key, "spoilt"), Timestamp::MIN);
        }
        assert_eq!((*changes.borrow(), list.contains(event_key(1))), (1, true));
        list.sound(&[event_key(1), event_key(2)]);
        assert!(list.is_empty() && list.mended.load(Ordering::Relaxed) == 0);
    }
}
