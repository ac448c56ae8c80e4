//! Where the listing of an overfull span goes on.
//!
//! A span with more events than one answer can list is listed a part at a time: the latest millions of it first, and of
//! these a few shares of the ids in each answer. What one round leaves out the next one takes up, so that every event
//! gets its turn however many there are.

use crate::{TimeSpan, Timestamp};

/// How far the listing of one span has come.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Which span: that which begins here. Its end moves on with the present.
    of: Option<Timestamp>,
    /// Where the part that is listed at the moment ends; at the span's own end if nothing is said.
    until: Option<Timestamp>,
    /// The next share of that part.
    share: u32,
}

impl Rotation {
    /// The part of `span` that is to be counted and listed from its end backwards, as far as one may.
    pub(super) fn rest(&mut self, span: TimeSpan) -> TimeSpan {
        if self.of != Some(span.first()) {
            *self = Self { of: Some(span.first()), ..Self::default() };
        }
        self.until.and_then(|until| TimeSpan::new(span.first(), until.min(span.last()))).unwrap_or(span)
    }

    /// Takes the next shares of `part`, which was split in `of`: at most so many. Answers with them, and whether that
    /// was the last of the whole span.
    pub(super) fn take(&mut self, part: TimeSpan, of: u32, most: u32) -> (std::ops::Range<u32>, bool) {
        let first = if self.share < of { self.share } else { 0 };
        let end = of.min(first.saturating_add(most));
        self.share = end;
        if end < of {
            return (first..end, false);
        }
        self.share = 0;
        let begins = Some(part.first()) == self.of;
        self.until = if begins { None } else { Some(part.first().previous()) };
        (first..end, begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    #[test]
    fn every_share_of_every_part_has_its_turn() {
        let mut rotation = Rotation::default();
        let whole = span(100, 199);
        for _ in 0..2 {
            assert_eq!(rotation.rest(whole), whole);
            // The latest part begins at 150 and has three shares.
            assert_eq!(rotation.take(span(150, 199), 3, 2), (0..2, false));
            assert_eq!(rotation.rest(whole), whole);
            assert_eq!(rotation.take(span(150, 199), 3, 2), (2..3, false));
            assert_eq!(rotation.rest(whole), span(100, 149));
            assert_eq!(rotation.take(span(100, 149), 1, 2), (0..1, true));
        }
        // The span's end moves on, its beginning says which it is.
        assert_eq!(rotation.rest(span(100, 250)), span(100, 250));
        rotation.take(span(150, 250), 1, 2);
        assert_eq!(rotation.rest(span(100, 250)), span(100, 149));
        assert_eq!(rotation.rest(span(300, 400)), span(300, 400), "another span begins anew");
    }
}
