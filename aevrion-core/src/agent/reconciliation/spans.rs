//! A set of moments, stored as spans.

use std::collections::BTreeMap;

use crate::bounds::{LISTS_AT_ONCE, MESSAGE_SPANS};
use crate::{TimeSpan, Timestamp};

/// The maximum number of spans.
const SPANS: usize = MESSAGE_SPANS * LISTS_AT_ONCE;

/// Disjoint spans. Beyond the maximum, the gaps between them count as well.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<Timestamp, Timestamp>);

impl Spans {
    pub(super) fn add(&mut self, mut span: TimeSpan) {
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

    /// Whether any moment of the set lies in `span`.
    pub(super) fn meets(&self, span: TimeSpan) -> bool {
        self.latest_within(span).is_some()
    }

    /// The latest of the spans that overlap `span`.
    fn latest_within(&self, span: TimeSpan) -> Option<TimeSpan> {
        let (first, last) = self.0.range(..=span.last()).next_back()?;
        TimeSpan::new(*first, *last).filter(|met| met.intersection(span).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
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
}
