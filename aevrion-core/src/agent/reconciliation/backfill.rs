//! Backfill: receives the events of spans that this side lacks. It tracks the requested spans, the rest to request,
//! and pending commits. Several questions may start it; it continues as one, because two chains of answers about the
//! same time would bring the same events twice.

use super::spans::Spans;
use crate::{Event, TimeSpan};

/// The backfill from one neighbour.
#[derive(Debug, Default)]
pub(super) struct Backfill {
    asked: Spans,
    rest: Option<TimeSpan>,
    /// Pending commits, and the span of their events.
    stores: u32,
    storing: Option<TimeSpan>,
}

impl Backfill {
    /// All missing events in `span` are requested.
    pub(super) fn ask(&mut self, span: TimeSpan) {
        self.asked.add(span);
    }

    /// Whether events of `span` are requested and may still arrive.
    pub(super) fn awaits(&self, span: TimeSpan) -> bool {
        self.asked.meets(span)
    }

    /// The neighbour holds more of the requested events in `span`.
    pub(super) fn leave(&mut self, span: TimeSpan) {
        self.rest = Some(span);
    }

    /// The span in which the neighbour holds more events.
    pub(super) fn rest(&self) -> Option<TimeSpan> {
        self.rest
    }

    /// Ends the wait for all answers.
    pub(super) fn forget(&mut self) {
        self.asked = Spans::default();
        self.rest = None;
    }

    /// Notes events handed over for a commit.
    pub(super) fn store(&mut self, events: &[Event]) {
        self.stores += 1;
        let times = events.iter().map(Event::timestamp);
        let span = times.clone().min().zip(times.max()).and_then(|(first, last)| TimeSpan::new(first, last));
        self.storing = match (self.storing, span) {
            (Some(storing), Some(span)) => Some(storing.hull(span)),
            (storing, span) => storing.or(span),
        };
    }

    /// One of the commits is done.
    pub(super) fn stored(&mut self) {
        self.stores = self.stores.saturating_sub(1);
        if self.stores == 0 {
            self.storing = None;
        }
    }

    /// The number of pending commits.
    pub(super) fn stores(&self) -> u32 {
        self.stores
    }

    /// Whether events of pending commits may lie in `span`.
    pub(super) fn is_storing(&self, span: TimeSpan) -> bool {
        self.storing.is_some_and(|storing| storing.intersection(span).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, Value};

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn event(ms: u64) -> Event {
        Event::new("key".into(), Value::Deletion, Timestamp::from_millis(ms)).unwrap()
    }

    #[test]
    fn what_is_being_stored_is_known_until_all_of_it_is() {
        let mut backfill = Backfill::default();
        backfill.store(&[event(30), event(20)]);
        backfill.store(&[event(15)]);
        assert!(backfill.is_storing(span(16, 19)) && !backfill.is_storing(span(0, 14)));
        backfill.stored();
        assert!(backfill.is_storing(span(30, 40)), "which of the two is done is not known");
        backfill.stored();
        assert!(!backfill.is_storing(span(0, 100)) && backfill.stores() == 0);
    }
}
