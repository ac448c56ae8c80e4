//! Times in which stored hashes are suspected: two repairs in a row listed or gave all that there is, the second with
//! whole ids, and nothing moved either way. So both sides hold the same events there and a hash of one of them is wrong,
//! which it finds by checking. Short ids may hide a difference, and news may settle it: one repair in vain proves nothing.

use std::collections::VecDeque;

use crate::TimeSpan;
use crate::bounds::SUSPECTED_SPANS;

/// The suspicion of one pair of neighbours.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// What was listed or given in the repair that is under way.
    listed: VecDeque<TimeSpan>,
    /// The same in the one before, which was in vain.
    doubted: VecDeque<TimeSpan>,
    /// What is to be checked.
    suspected: VecDeque<TimeSpan>,
}

impl Suspects {
    /// One of the two lists what it holds in `span`, or gives it.
    pub(super) fn list(&mut self, span: TimeSpan) {
        if self.listed.len() < SUSPECTED_SPANS && !self.listed.contains(&span) {
            self.listed.push_back(span);
        }
    }

    /// The repair has moved something.
    pub(super) fn dismiss(&mut self) {
        self.listed.clear();
        self.doubted.clear();
    }

    /// The repair was in vain, which proves nothing.
    pub(super) fn doubt(&mut self) {
        self.doubted = std::mem::take(&mut self.listed);
    }

    /// The repair was in vain, and so was the one before.
    pub(super) fn confirm(&mut self) {
        self.suspected = std::mem::take(&mut self.listed);
        self.doubted.clear();
    }

    /// Both agree in `span`. Says whether nothing is left that was in vain: where clocks are far apart, so are the ends of
    /// what one side compares and the other, and that both agree about less settles nothing about more.
    pub(super) fn settle(&mut self, span: TimeSpan) -> bool {
        let mut all = [&mut self.listed, &mut self.doubted, &mut self.suspected];
        all.iter_mut().for_each(|spans| spans.retain(|other| other.intersection(span) != Some(*other)));
        all.iter().all(|spans| spans.is_empty())
    }

    /// Whether there is something to check.
    pub(super) fn are_there(&self) -> bool {
        !self.suspected.is_empty()
    }

    /// What to check next.
    pub(super) fn next(&mut self) -> Option<TimeSpan> {
        self.suspected.pop_front()
    }

    /// What is left to check of it.
    pub(super) fn go_on(&mut self, rest: TimeSpan) {
        self.suspected.push_front(rest);
    }
}
