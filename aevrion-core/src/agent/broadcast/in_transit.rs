//! Events under way on this connection, which a comparison must not take for a difference.
//!
//! Snapshots leave out the last seconds, and with them most events in flight. But an event may carry an old timestamp:
//! an import, or a write of a node whose clock is slow. Where such events were sent or received just now, a difference
//! may be nothing but their delay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fetches::Fetches;
use crate::bounds::{LEAVES_IN_FLIGHT, LOCATOR_LEAF_BITS};
use crate::fault_injection::{Bug, injected};
use crate::sketch::Locator;
use crate::tree::Shape;
use crate::{EventKey, TimeSpan};

/// Events on their way to or from the neighbour.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct InTransit<'b> {
    fetches: &'b Fetches,
    travelling: &'b Travelling,
    shape: Shape,
}

impl<'b> InTransit<'b> {
    pub(super) fn new(fetches: &'b Fetches, travelling: &'b Travelling, shape: Shape) -> Self {
        Self { fetches, travelling, shape }
    }

    /// Whether a requested event of `span` is large and on its way, or is being stored.
    pub(in crate::agent) fn is_coming(self, span: TimeSpan) -> bool {
        self.fetches.is_coming(span)
    }

    /// The leaves of events that are on their way or being stored; `may`: also those that may be under way.
    pub(in crate::agent) fn leaves(self, may: bool, now: Duration) -> LeavesInTransit {
        let coming = self.fetches.coming().map(|event_key| self.shape.node_at(0, event_key.timestamp).index);
        let travelling = self.travelling.leaves.iter().filter(|(_, until)| may && **until > now);
        let part = |leaf: u64| leaf & ((1 << LOCATOR_LEAF_BITS) - 1);
        LeavesInTransit {
            all: may && self.travelling.overflowed > now,
            parts: coming.chain(travelling.map(|(leaf, _)| *leaf)).map(part).collect(),
        }
    }

    /// Whether events of `span` may be under way.
    pub(in crate::agent) fn may_travel(self, span: TimeSpan, now: Duration) -> bool {
        self.travelling.touches(span, self.shape, now)
    }
}

/// The leaves of events that may be under way, as locators tell them.
#[derive(Debug)]
pub(in crate::agent) struct LeavesInTransit {
    all: bool,
    /// Numbers of leaves, modulo 2²⁰.
    parts: BTreeSet<u64>,
}

impl LeavesInTransit {
    /// Whether the event of this locator may be under way.
    pub(in crate::agent) fn may_hold(&self, locator: Locator) -> bool {
        self.holds_leaf(locator.leaf())
    }

    /// Whether an event of the leaf with this number, modulo 2²⁰, may be under way.
    pub(in crate::agent) fn holds_leaf(&self, leaf: u64) -> bool {
        self.all || self.parts.contains(&leaf)
    }
}

/// The leaves of events sent or received lately.
#[derive(Debug, Default)]
pub(super) struct Travelling {
    /// For each leaf, until when its events may be under way.
    leaves: BTreeMap<u64, Duration>,
    /// Until when events of further leaves may be under way: the list was full.
    overflowed: Duration,
}

impl Travelling {
    /// Notes that these events may be under way until `until`.
    pub(super) fn note(
        &mut self,
        event_keys: impl IntoIterator<Item = EventKey>,
        shape: Shape,
        now: Duration,
        until: Duration,
    ) {
        if injected(Bug::FlightIgnored) {
            return;
        }
        for event_key in event_keys {
            let leaf = shape.node_at(0, event_key.timestamp).index;
            if self.leaves.len() >= LEAVES_IN_FLIGHT && !self.leaves.contains_key(&leaf) {
                self.leaves.retain(|_, until| *until > now);
                if self.leaves.len() >= LEAVES_IN_FLIGHT {
                    self.overflowed = until;
                    return;
                }
            }
            self.leaves.insert(leaf, until);
        }
    }

    /// Whether events of `span` may be under way.
    pub(super) fn touches(&self, span: TimeSpan, shape: Shape, now: Duration) -> bool {
        let leaf = |at| shape.node_at(0, at).index;
        let leaves = leaf(span.first())..=leaf(span.last());
        self.overflowed > now || self.leaves.range(leaves).any(|(_, until)| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, Parameters, Timestamp};

    const NOW: Duration = Duration::from_secs(10);
    const UNTIL: Duration = Duration::from_secs(12);

    fn at(leaf: u64) -> EventKey {
        EventKey { timestamp: Timestamp::from_millis(leaf * 60_000 + 7), id: EventId::from_bytes([0; 32]) }
    }

    fn span(leaf: u64) -> TimeSpan {
        let first = Timestamp::from_millis(leaf * 60_000);
        TimeSpan::new(first, Timestamp::from_millis(leaf * 60_000 + 59_999)).unwrap()
    }

    #[test]
    fn many_events_of_one_leaf_say_nothing_of_another() {
        let shape = Shape::new(&Parameters::default());
        let mut flight = Travelling::default();
        flight.note((0..100_000).map(|_| at(5)), shape, NOW, UNTIL);
        assert!(flight.touches(span(5), shape, NOW) && flight.touches(TimeSpan::ALL, shape, NOW));
        assert!(!flight.touches(span(4), shape, NOW));
        assert!(!flight.touches(span(5), shape, UNTIL), "it has arrived by then");
    }

    #[test]
    fn what_is_not_remembered_is_everywhere() {
        let shape = Shape::new(&Parameters::default());
        let mut flight = Travelling::default();
        flight.note((0..=LEAVES_IN_FLIGHT as u64).map(at), shape, NOW, UNTIL);
        assert!(flight.touches(span(9_999_999), shape, NOW));
        flight.note([at(3)], shape, UNTIL, UNTIL + NOW);
        assert!(!flight.touches(span(9_999_999), shape, UNTIL));
        assert!(flight.touches(span(3), shape, UNTIL));
    }
}
