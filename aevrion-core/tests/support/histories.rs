//! Histories, and differences between them, for measurements of what reconciling costs. The same in each run.

use aevrion_core::{Event, Timestamp, Value};

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const YEAR: u64 = 365 * 24 * 60 * MINUTE;
/// The moment at which the measurements are made.
pub(crate) const NOW: u64 = 56 * YEAR;

/// An event of a moment in milliseconds, whose number is in its value of `len` bytes.
pub(crate) fn event(ms: u64, number: u64, len: usize) -> Event {
    let mut data = format!("{number}:").into_bytes();
    data.resize(len, b'v');
    let key = format!("key {:08}", number % 5_000);
    Event::new(key.into_bytes().into(), Value::Data(data.into()), Timestamp::from_millis(ms)).unwrap()
}

/// `count` events spread evenly over `span` milliseconds from `begin` on.
pub(crate) fn spread(begin: u64, span: u64, count: u64, len: usize) -> Vec<Event> {
    (0..count).map(|number| event(begin + span / count * number, number, len)).collect()
}

/// The length of the events in bytes, in their canonical encoding.
pub(crate) fn weight(events: &[Event]) -> u64 {
    events.iter().map(|event| event.canonical_bytes().len() as u64).sum()
}

/// An event that no other call makes.
pub(crate) fn other(ms: u64, number: u64) -> Event {
    event(ms, 1_000_000_000 + number, 60)
}

/// `count` events, for each side in turn, at random moments in `span` milliseconds from `begin` on.
pub(crate) fn scattered(begin: u64, span: u64, count: u64, seed: u64) -> [Vec<Event>; 2] {
    let mut random = seed;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 16
    };
    let mut sides = [Vec::new(), Vec::new()];
    for number in 0..count {
        let at = begin + next() % span;
        sides[usize::from(number % 2 == 1)].push(other(at, seed * 10_000_000 + number));
    }
    sides
}
