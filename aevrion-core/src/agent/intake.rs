//! What this side takes in from the neighbour: where it has asked for all that it lacks, where to ask on, and what of it
//! is being stored. Several questions may begin it; it goes on as one, for two chains of answers about the same time
//! would bring the same twice.

use std::collections::BTreeMap;

use crate::bounds::{LISTS_AT_ONCE, MESSAGE_SPANS};
use crate::{Event, TimeSpan, Timestamp};

/// The intake of one neighbour's events.
#[derive(Debug, Default)]
pub(super) struct Intake {
    asked: Spans,
    rest: Option<TimeSpan>,
    /// Stores that are not done, and the time in which their events lie.
    stores: u32,
    storing: Option<TimeSpan>,
}

impl Intake {
    /// All that this side lacks in `span` is asked for.
    pub(super) fn ask(&mut self, span: TimeSpan) {
        self.asked.add(span);
    }

    /// Whether something of `span` was asked for and may still come.
    pub(super) fn awaits(&self, span: TimeSpan) -> bool {
        self.asked.meets(span)
    }

    /// The neighbour holds more of what was asked for in `span`.
    pub(super) fn leave(&mut self, span: TimeSpan) {
        self.rest = Some(span);
    }

    /// Where the neighbour holds more.
    pub(super) fn rest(&self) -> Option<TimeSpan> {
        self.rest
    }

    /// Nothing is awaited any more.
    pub(super) fn forget(&mut self) {
        self.asked = Spans::default();
        self.rest = None;
    }

    /// These are handed over to be stored.
    pub(super) fn store(&mut self, events: &[Event]) {
        self.stores += 1;
        let times = events.iter().map(Event::timestamp);
        let span = times.clone().min().zip(times.max()).and_then(|(first, last)| TimeSpan::new(first, last));
        self.storing = match (self.storing, span) {
            (Some(storing), Some(span)) => Some(storing.hull(span)),
            (storing, span) => storing.or(span),
        };
    }

    /// One of the stores is done.
    pub(super) fn stored(&mut self) {
        self.stores = self.stores.saturating_sub(1);
        if self.stores == 0 {
            self.storing = None;
        }
    }

    /// Stores that are not done.
    pub(super) fn stores(&self) -> u32 {
        self.stores
    }

    /// Whether something that is being stored may lie in `span`.
    pub(super) fn is_storing(&self, span: TimeSpan) -> bool {
        self.storing.is_some_and(|storing| storing.intersection(span).is_some())
    }
}

/// Spans that are remembered one by one.
const SPANS: usize = MESSAGE_SPANS * LISTS_AT_ONCE;

/// A set of moments, as spans that do not meet. If they become too many, what lies between them counts, too.
#[derive(Debug, Default)]
struct Spans(BTreeMap<Timestamp, Timestamp>);

impl Spans {
    fn add(&mut self, mut span: TimeSpan) {
        while let Some(met) = self.latest_within(span) {
            self.0.remove(&met.first());
            span = span.hull(met);
        }
        self.0.insert(span.first(), span.last());
        if self.0.len() > SPANS
            && let (Some((first, _)), Some((_, last))) = (self.0.first_key_value(), self.0.last_key_value())
        {
            self.0 = BTreeMap::from([(*first, *last)]);
        }
    }

    fn meets(&self, span: TimeSpan) -> bool {
        self.latest_within(span).is_some()
    }

    /// The latest of those that meet `span`.
    fn latest_within(&self, span: TimeSpan) -> Option<TimeSpan> {
        let (first, last) = self.0.range(..=span.last()).next_back()?;
        TimeSpan::new(*first, *last).filter(|met| met.intersection(span).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Value;

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn event(ms: u64) -> Event {
        Event::new("key".into(), Value::Deletion, Timestamp::from_millis(ms)).unwrap()
    }

    proptest! {
        #[test]
        fn a_span_meets_what_it_has_a_moment_in_common_with(
            added in prop::collection::vec((0_u64..60, 0_u64..8), 0..20),
            (first, len) in (0_u64..60, 0_u64..8),
        ) {
            let mut spans = Spans::default();
            for (first, len) in &added {
                spans.add(span(*first, first + len));
            }
            let holds = |ms: u64| added.iter().any(|(first, len)| (*first..=first + len).contains(&ms));
            prop_assert_eq!(spans.meets(span(first, first + len)), (first..=first + len).any(holds));
        }
    }

    #[test]
    fn too_many_spans_are_one() {
        let mut spans = Spans::default();
        for number in 0..=SPANS as u64 {
            spans.add(span(number * 10, number * 10));
        }
        assert_eq!(spans.0.len(), 1);
        assert!(spans.meets(span(5, 5)) && !spans.meets(span(SPANS as u64 * 10 + 1, u64::MAX)));
    }

    #[test]
    fn what_is_being_stored_is_known_until_all_of_it_is() {
        let mut intake = Intake::default();
        intake.store(&[event(30), event(20)]);
        intake.store(&[event(15)]);
        assert!(intake.is_storing(span(16, 19)) && !intake.is_storing(span(0, 14)));
        intake.stored();
        assert!(intake.is_storing(span(30, 40)), "which of the two is done is not known");
        intake.stored();
        assert!(!intake.is_storing(span(0, 100)) && intake.stores() == 0);
    }
}
