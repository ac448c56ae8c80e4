//! The outcome of repairs with a neighbour. One that moves nothing is in vain, and the next one looks closer: first at
//! nodes and whole ids rather than cells; then stored hashes are checked; in the end one repair a minute is tried.

use super::suspects::Suspects;

/// Repairs in a row that moved nothing, after which the next one waits for its minute.
const FRUITLESS: u32 = 3;

/// The outcome of the running repair, and of those before it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Whether a repair was begun, and not ended yet.
    is_open: bool,
    /// Whether one has ended since the last comparison.
    has_ended: bool,
    /// Events moved since the repair began.
    moved: u64,
    /// Whether one side asked the other about events or nodes since the last comparison.
    is_asked: bool,
    /// Whether a repair with such questions was in vain.
    in_doubt: bool,
    /// Repairs in a row that moved nothing.
    fruitless: u32,
    /// Spans in which stored hashes may be wrong.
    pub(super) suspects: Suspects,
}

impl Outcome {
    /// A repair begins, unless one is open.
    pub(super) fn begin(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.moved = 0;
        }
    }

    /// The repair goes on.
    pub(super) fn go_on(&mut self) {
        self.is_open = true;
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// This side asks about events.
    pub(super) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// This side answers such a question: the repair is the neighbour's.
    pub(super) fn answer(&mut self) {
        (self.has_ended, self.is_asked) = (true, true);
    }

    /// So many events were moved, either way.
    pub(super) fn moved(&mut self, events: u64) {
        self.moved += events;
    }

    pub(super) fn has_moved(&self) -> bool {
        self.moved > 0
    }

    /// The repair is over.
    pub(super) fn end(&mut self) {
        self.is_open = false;
        self.has_ended = true;
    }

    /// All that differs may be in flight, and nothing is tried: so nothing is in vain. `is_open` tells whether an earlier
    /// step is left.
    pub(super) fn defer(&mut self, is_open: bool) {
        self.is_open = is_open;
        self.has_ended = false;
    }

    /// Judges what has ended since the last comparison. Returns whether anything has.
    pub(super) fn conclude(&mut self) -> bool {
        if !std::mem::take(&mut self.has_ended) {
            return false;
        }
        let is_asked = std::mem::take(&mut self.is_asked);
        if std::mem::take(&mut self.moved) > 0 {
            self.forget();
            self.suspects.dismiss();
            return true;
        }
        self.fruitless += 1;
        // Events that the neighbour was told of may be on their way to it: that proves nothing.
        if is_asked && std::mem::replace(&mut self.in_doubt, true) {
            self.suspects.confirm();
        } else if is_asked {
            self.suspects.doubt();
        }
        true
    }

    /// Repairs may succeed again.
    pub(super) fn forget(&mut self) {
        (self.fruitless, self.in_doubt) = (0, false);
    }

    /// Both sides agree.
    pub(super) fn settle(&mut self) {
        self.forget();
        self.has_ended = false;
    }

    /// A minute has passed: one more repair may be tried.
    pub(super) fn tick(&mut self) {
        self.fruitless = self.fruitless.min(FRUITLESS - 1);
    }

    /// Whether nodes and whole ids are compared.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether all else has failed: then all events of a span are compared.
    pub(super) fn is_last_resort(&self) -> bool {
        self.fruitless > 1
    }

    /// Whether the next repair waits for its minute.
    pub(super) fn waits(&self) -> bool {
        self.fruitless >= FRUITLESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeSpan;

    /// A repair that asks, and moves nothing.
    fn in_vain(outcome: &mut Outcome) {
        outcome.begin();
        outcome.ask();
        outcome.suspects.list(TimeSpan::ALL);
        outcome.end();
        assert!(outcome.conclude());
    }

    #[test]
    fn the_second_repair_in_vain_makes_suspects_and_the_third_waits() {
        let mut outcome = Outcome::default();
        in_vain(&mut outcome);
        assert!(outcome.is_in_doubt() && !outcome.is_last_resort() && !outcome.suspects.are_there());
        in_vain(&mut outcome);
        assert!(outcome.is_last_resort() && outcome.suspects.are_there() && !outcome.waits());
        in_vain(&mut outcome);
        assert!(outcome.waits());
        outcome.tick();
        assert!(!outcome.waits() && outcome.is_last_resort(), "one more");
        outcome.settle();
        assert!(!outcome.is_in_doubt() && !outcome.is_last_resort());
    }

    #[test]
    fn events_moved_by_either_side_end_all_doubt() {
        let mut outcome = Outcome::default();
        in_vain(&mut outcome);
        outcome.begin();
        outcome.moved(1);
        outcome.end();
        assert!(outcome.has_moved() && outcome.conclude() && !outcome.is_in_doubt());
        assert!(!outcome.conclude(), "once");
    }

    #[test]
    fn what_was_only_told_or_put_off_is_not_in_doubt() {
        let mut outcome = Outcome::default();
        outcome.begin();
        outcome.end();
        assert!(outcome.conclude() && !outcome.is_in_doubt());
        outcome.begin();
        outcome.end();
        outcome.defer(false);
        assert!(!outcome.is_open() && !outcome.conclude());
    }
}
