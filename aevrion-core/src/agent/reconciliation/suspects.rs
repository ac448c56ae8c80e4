//! Spans with suspected stored hashes: two repairs in a row listed or gave all events, the second with whole ids, and
//! no event moved either way. So both sides hold the same events there, and a hash of one of them is wrong; a check
//! finds it. Short ids may hide a difference, and new events may resolve it: one repair in vain proves nothing.

use std::collections::VecDeque;

use crate::TimeSpan;
use crate::bounds::SUSPECTED_SPANS;

/// The suspicion of one pair of neighbours.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Spans listed or given in the current repair.
    listed: VecDeque<TimeSpan>,
    /// Spans of the repair before, which was in vain.
    doubted: VecDeque<TimeSpan>,
    /// Spans to check.
    suspected: VecDeque<TimeSpan>,
}

impl Suspects {
    /// Either side lists or gives its events in `span`.
    pub(super) fn list(&mut self, span: TimeSpan) {
        if self.listed.len() < SUSPECTED_SPANS && !self.listed.contains(&span) {
            self.listed.push_back(span);
        }
    }

    /// The repair has transferred events.
    pub(super) fn dismiss(&mut self) {
        self.listed.clear();
        self.doubted.clear();
    }

    /// The repair was in vain, which alone proves nothing.
    pub(super) fn doubt(&mut self) {
        self.doubted = std::mem::take(&mut self.listed);
    }

    /// The repair was in vain, as was the one before.
    pub(super) fn confirm(&mut self) {
        self.suspected = std::mem::take(&mut self.listed);
        self.doubted.clear();
    }

    /// Both sides agree in `span`. Returns whether no span of a vain repair is left. With distant clocks the two sides
    /// compare spans of different ends, and an agreement about the shorter one does not settle the longer one.
    pub(super) fn settle(&mut self, span: TimeSpan) -> bool {
        let mut all = [&mut self.listed, &mut self.doubted, &mut self.suspected];
        all.iter_mut().for_each(|spans| spans.retain(|other| other.intersection(span) != Some(*other)));
        all.iter().all(|spans| spans.is_empty())
    }

    /// Whether a span must be checked.
    pub(super) fn are_there(&self) -> bool {
        !self.suspected.is_empty()
    }

    /// The next span to check.
    pub(super) fn next(&mut self) -> Option<TimeSpan> {
        self.suspected.pop_front()
    }

    /// The rest of the span must still be checked.
    pub(super) fn go_on(&mut self, rest: TimeSpan) {
        self.suspected.push_front(rest);
    }
}
