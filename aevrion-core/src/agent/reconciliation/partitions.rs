//! The position in the listing of an overfull span.
//!
//! A span with more events than one answer can list is listed part by part: the latest millions first, and of these a
//! few shares of the ids in each answer. The next round continues with the rest, so that every event gets its turn.

use std::ops::Range;

use crate::{TimeSpan, Timestamp};

/// The progress of the listing of one span.
#[derive(Debug, Default)]
pub(super) struct PartitionCursor {
    /// The start of the span, which identifies it: its end moves on with the present.
    of: Option<Timestamp>,
    /// The end of the current part; `None` for the end of the span.
    until: Option<Timestamp>,
    /// The division of the current part, once it is made.
    cut: Option<Cut>,
}

/// A part of a span, divided into shares. It stays as it is until each share had its turn: another salt or number
/// would distribute the ids anew, and some would never have a turn.
#[derive(Debug, Clone, Copy)]
struct Cut {
    part: TimeSpan,
    salt: u64,
    of: u32,
    next: u32,
}

/// The shares to list now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// The divided part of the span.
    pub(super) part: TimeSpan,
    /// The salt of the division.
    pub(super) salt: u64,
    /// The number of shares.
    pub(super) of: u32,
    /// The shares whose turn it is.
    pub(super) shares: Range<u32>,
    /// Whether these are the last of the whole span.
    pub(super) last: bool,
}

impl PartitionCursor {
    /// Orders overfull spans, given latest first, by their turns: first the span being listed, until all of it was
    /// listed, then those before it. Otherwise a span that cannot be repaired would keep the others from their turn.
    pub(super) fn in_turn(&self, mut spans: Vec<TimeSpan>) -> Vec<TimeSpan> {
        let next = |span: &TimeSpan| {
            self.of.is_none_or(|of| span.first() < of || self.is_under_way() && span.first() == of)
        };
        let next = spans.iter().position(next).unwrap_or(0);
        spans.rotate_left(next);
        spans
    }

    /// Whether a span is being listed, and part of it had no turn yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.cut.is_some() || self.until.is_some()
    }

    /// Whether this span has its turn after the last listed one, before the round begins anew.
    pub(super) fn is_to_come(&self, span: TimeSpan) -> bool {
        self.of.is_some_and(|of| span.first() < of)
    }

    /// The part of `span` to count and divide, from its end backwards; `None` while a divided part has shares without
    /// a turn.
    pub(super) fn uncut(&mut self, span: TimeSpan) -> Option<TimeSpan> {
        if self.of != Some(span.first()) {
            *self = Self { of: Some(span.first()), ..Self::default() };
        }
        self.cut = self.cut.filter(|cut| span.intersection(cut.part) == Some(cut.part));
        let rest = || self.until.and_then(|until| TimeSpan::new(span.first(), until.min(span.last())));
        self.cut.is_none().then(|| rest().unwrap_or(span))
    }

    /// Divides `part` into `of` shares.
    pub(super) fn cut(&mut self, part: TimeSpan, of: u32, salt: u64) {
        self.cut = Some(Cut { part, salt, of, next: 0 });
    }

    /// Takes the next shares of the divided part, at most `most`; `None` without one.
    pub(super) fn take(&mut self, most: u32) -> Option<Turn> {
        let Cut { part, salt, of, next } = self.cut?;
        let end = of.min(next.saturating_add(most));
        let begins = Some(part.first()) == self.of;
        self.cut = (end < of).then_some(Cut { part, salt, of, next: end });
        if self.cut.is_none() {
            self.until = if begins { None } else { Some(part.first().previous()) };
        }
        Some(Turn { part, salt, of, shares: next..end, last: begins && self.cut.is_none() })
    }

    /// The part has outgrown its shares: it must be counted and divided again.
    pub(super) fn outgrown(&mut self) {
        self.cut = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::EventId;
    use crate::message::Salted;

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn turn(cursor: &mut PartitionCursor) -> (TimeSpan, Range<u32>, bool) {
        let turn = cursor.take(2).unwrap();
        (turn.part, turn.shares, turn.last)
    }

    #[test]
    fn every_share_of_every_part_has_its_turn() {
        let mut cursor = PartitionCursor::default();
        let whole = span(100, 199);
        for _ in 0..2 {
            assert_eq!(cursor.uncut(whole), Some(whole));
            // The latest part begins at 150 and has three shares.
            cursor.cut(span(150, 199), 3, 1);
            assert_eq!(turn(&mut cursor), (span(150, 199), 0..2, false));
            assert_eq!(cursor.uncut(whole), None);
            assert_eq!(turn(&mut cursor), (span(150, 199), 2..3, false));
            assert_eq!(cursor.uncut(whole), Some(span(100, 149)));
            cursor.cut(span(100, 149), 1, 2);
            assert_eq!(turn(&mut cursor), (span(100, 149), 0..1, true));
        }
        // The span's end moves on; its beginning identifies it.
        assert_eq!(cursor.uncut(span(100, 250)), Some(span(100, 250)));
        cursor.cut(span(150, 250), 3, 3);
        turn(&mut cursor);
        assert_eq!(cursor.uncut(span(100, 300)), None, "what is cut stays as it is");
        cursor.outgrown();
        assert_eq!(cursor.uncut(span(100, 300)), Some(span(100, 300)));
        cursor.cut(span(150, 300), 1, 4);
        turn(&mut cursor);
        assert_eq!(cursor.uncut(span(100, 300)), Some(span(100, 149)));
        assert_eq!(cursor.uncut(span(300, 400)), Some(span(300, 400)), "another span begins anew");
    }

    #[test]
    fn every_span_has_its_turn_whatever_becomes_of_the_others() {
        let (late, early) = (span(200, 299), span(100, 199));
        let mut cursor = PartitionCursor::default();
        let mut listed = Vec::new();
        // Neither is ever repaired, and three shares are listed in a round.
        for _ in 0..8 {
            let mut room = 3;
            for span in cursor.in_turn(vec![late, early]) {
                if room == 0 {
                    break;
                }
                if let Some(part) = cursor.uncut(span) {
                    cursor.cut(part, 4, 1);
                }
                let turn = cursor.take(room).unwrap();
                room -= turn.shares.end - turn.shares.start;
                listed.extend(turn.shares.map(|share| (span == late, share)));
                if cursor.is_under_way() {
                    break;
                }
            }
        }
        let cycle: Vec<_> =
            [true, false].iter().flat_map(|late| (0..4).map(|share| (*late, share))).collect();
        assert_eq!(listed, [cycle.clone(), cycle.clone(), cycle].concat());
        assert!(!cursor.is_to_come(late) && !cursor.is_to_come(early), "the earlier one was the last");
    }

    #[test]
    fn every_id_has_a_turn_however_many_rounds_that_takes() {
        let ids: BTreeSet<_> = (0..1_000_u64)
            .map(|n| EventId::from_bytes([n.to_be_bytes(); 4].as_flattened().try_into().unwrap()))
            .collect();
        let mut cursor = PartitionCursor::default();
        let mut had = BTreeSet::new();
        for salt in 0.. {
            if cursor.uncut(TimeSpan::ALL).is_some() {
                cursor.cut(TimeSpan::ALL, 17, salt);
            }
            let turn = cursor.take(8).unwrap();
            let turns = |id: &&EventId| turn.shares.contains(&Salted::new(turn.salt, **id).part_of(turn.of));
            had.extend(ids.iter().filter(turns));
            if turn.last {
                break;
            }
        }
        assert_eq!(had, ids);
    }
}
