//! A repair under way: what was opened, what has moved, and when it is over.
//!
//! There is no session and no script: each message is answered for what it says. What is kept here only bounds a
//! repair and notices its end, which is silence: when nothing came or went for a while, snapshots are compared again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::bounds::OPENED_NODES;
use crate::tree::{NodePosition, Shape};
use crate::{TimeSpan, Timestamp};

/// Silence that ends a repair, at least.
const QUIET: Duration = Duration::from_millis(50);

/// Silence that ends it for a side that has asked and not been answered, for every question is; and for one that has only
/// given, since the other stores what it was sent, and knows better when it is done. A frame that is arriving is no
/// silence, however long it takes.
pub(in crate::agent) const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may be late, beyond all patience: then it will not come.
const OWED: Duration = Duration::from_secs(120);

/// Spans of snapshots that messages may still be about.
const SPANS_REMEMBERED: usize = 256;

/// Repairs in a row that move nothing before the next one waits for its minute.
const FRUITLESS: u32 = 3;

/// How a repair has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something has moved.
    Moved,
    /// Nothing has, but not all was listed.
    Unfinished,
    /// Nothing has, in so many repairs in a row.
    InVain(u32),
}

/// What the repair with one neighbour has come to.
#[derive(Debug, Default)]
pub(super) struct RepairSession {
    /// When something last came or went, if a repair is under way.
    active: Option<Duration>,
    /// Spans of the snapshots that went either way lately.
    spans: VecDeque<TimeSpan>,
    /// Nodes whose children this side has named: the other may name theirs.
    opened: BTreeSet<NodePosition>,
    /// Whether some of them had to be forgotten: nobody can be accused any more.
    forgot_opened: bool,
    /// Events that came or went since snapshots were last compared.
    moved: u64,
    /// Questions of this side that were not answered to the end.
    unanswered: usize,
    /// Questions of earlier repairs that were not, and when something was last heard of them.
    owed: usize,
    given_up: Duration,
    /// Ends of answers in this repair that were taken for those. If nothing follows them they were not.
    late: usize,
    /// Whether this side has given, and received nothing.
    only_gave: bool,
    /// Whether something was listed of which the rest is to be listed in the next round.
    partial: bool,
    /// How far snapshots of the past reached that differ.
    differ_until: Option<Timestamp>,
    /// Whether a snapshot that differed was passed over meanwhile.
    passed_over: bool,
    /// How many repairs in a row moved nothing.
    fruitless: u32,
    /// Whether the next snapshot goes without digest: a repair has moved something, so that most likely both are equal
    /// now; or the neighbour's was passed over, which it does not know, so that it is to say again what it holds.
    pub(super) in_short: bool,
}

impl RepairSession {
    /// A snapshot about `span` came or went.
    pub(super) fn compared(&mut self, span: TimeSpan) {
        self.spans.retain(|known| *known != span);
        if self.spans.len() == SPANS_REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// Whether a snapshot was about `span`.
    pub(super) fn knows(&self, span: TimeSpan) -> bool {
        self.spans.contains(&span)
    }

    /// Whether a snapshot was about `span` or more.
    pub(super) fn knows_within(&self, span: TimeSpan) -> bool {
        self.span_around(span).is_some()
    }

    /// What a snapshot was about that was about `span` or more.
    pub(super) fn span_around(&self, span: TimeSpan) -> Option<TimeSpan> {
        self.spans.iter().copied().find(|known| known.intersection(span) == Some(span))
    }

    /// Whether there was any snapshot yet.
    pub(super) fn has_compared(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Snapshots about `span` differ.
    pub(super) fn differs(&mut self, span: TimeSpan) {
        if span.first() == Timestamp::MIN {
            self.differ_until = self.differ_until.max(Some(span.last()));
        }
    }

    /// Whether they differ in a time that `span`, in which both agree, does not reach by more than `grace`: where the
    /// clocks are far apart so are the ends of what one side compares and the other.
    pub(super) fn differs_after(&self, span: TimeSpan, grace: Duration) -> bool {
        self.differ_until.is_some_and(|until| until.ahead_of(span.last()) > grace)
    }

    /// The end of the past in which snapshots were found to differ since the last repair or agreement.
    pub(super) fn differs_before(&self) -> Option<Timestamp> {
        self.differ_until.map(Timestamp::next)
    }

    /// The neighbour's snapshot about `span` differs, which is being repaired.
    pub(super) fn pass_over(&mut self, span: TimeSpan) {
        self.differs(span);
        self.passed_over = true;
    }

    /// Whether there was such a snapshot.
    pub(super) fn has_passed_over(&self) -> bool {
        self.passed_over
    }

    /// Something of a repair came.
    pub(super) fn heard(&mut self, now: Duration) {
        self.active = Some(now);
    }

    /// Whether a question of this side is not answered to the end.
    pub(super) fn awaits(&self) -> bool {
        self.unanswered > 0
    }

    /// One of this side's questions was answered to the end. Says whether it is one of this repair: answers come in the
    /// order of the questions, and one that was given up may be answered after all.
    pub(super) fn answered(&mut self, now: Duration) -> bool {
        if self.owed > 0 && now < self.given_up + OWED {
            self.owed -= 1;
            self.late += 1;
            return false;
        }
        self.owed = 0;
        self.unanswered = self.unanswered.saturating_sub(1);
        true
    }

    /// Something of a repair goes out, so many questions among it.
    pub(super) fn said(&mut self, now: Duration, questions: usize) {
        self.active = Some(now);
        self.unanswered += questions;
    }

    /// What was listed is not all that differs: a repair that moves nothing has not been in vain.
    pub(super) fn listed_a_part(&mut self) {
        self.partial = true;
    }

    /// So many events went out.
    pub(super) fn gave(&mut self, events: usize) {
        self.only_gave |= events > 0 && self.moved == 0;
        self.moved += events as u64;
    }

    /// So many events came that were new.
    pub(super) fn received(&mut self, events: u64) {
        self.only_gave = false;
        self.moved += events;
    }

    /// Whether a repair is under way.
    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// When the silence has lasted long enough, if nothing comes.
    pub(super) fn quiet_at(&self, round_trip: Duration) -> Option<Duration> {
        let patient = self.unanswered > 0 || self.only_gave;
        Some(self.active? + if patient { PATIENCE } else { QUIET.max(round_trip * 2) })
    }

    /// Whether the repair has paused long enough that a snapshot of the other side means: it is over.
    pub(super) fn has_paused(&self, now: Duration, round_trip: Duration) -> bool {
        let pause = if self.unanswered > 0 { PATIENCE } else { QUIET.max(round_trip * 2) };
        self.active.is_none_or(|active| active + pause <= now)
    }

    /// The repair is over.
    pub(super) fn end(&mut self) -> Outcome {
        self.in_short = self.moved > 0 || self.passed_over;
        let outcome = match (self.moved > 0, self.partial) {
            (true, _) => Outcome::Moved,
            (false, true) => Outcome::Unfinished,
            (false, false) => Outcome::InVain(self.fruitless + 1),
        };
        match outcome {
            Outcome::Moved => self.fruitless = 0,
            Outcome::Unfinished => {}
            Outcome::InVain(times) => self.fruitless = times,
        }
        self.moved = 0;
        // An end that was taken for that of an earlier answer, and then silence: it was the end of a later one, and the
        // earlier one never comes.
        let unanswered = self.unanswered.saturating_sub(self.late);
        if unanswered > 0 {
            self.owed += unanswered;
            self.given_up = self.active.unwrap_or(self.given_up);
        }
        self.unanswered = 0;
        self.late = 0;
        self.partial = false;
        self.passed_over = false;
        self.differ_until = None;
        self.only_gave = false;
        self.active = None;
        // What was opened stays open: an answer may come after a silence that was taken for the end.
        outcome
    }

    /// The two sides agree.
    pub(super) fn agreed(&mut self) {
        if self.is_active() {
            self.end();
        }
        self.differ_until = None;
        self.begin_anew();
    }

    /// Another repair may be tried, however many were in vain.
    pub(super) fn retry(&mut self) {
        self.fruitless = self.fruitless.min(FRUITLESS - 1);
    }

    /// What kept repairs from moving anything is over, or a person asks.
    pub(super) fn begin_anew(&mut self) {
        self.fruitless = 0;
    }

    /// Whether so many repairs were in vain that the next one waits for its minute.
    pub(super) fn is_given_up(&self) -> bool {
        self.fruitless >= FRUITLESS
    }

    /// Whether the last repair was in vain.
    pub(super) fn was_in_vain(&self) -> bool {
        self.fruitless > 0
    }

    /// Notes that the children of these nodes are named to the neighbour.
    pub(super) fn open(&mut self, nodes: impl IntoIterator<Item = NodePosition>) {
        if self.opened.len() > OPENED_NODES {
            self.opened.clear();
            self.forgot_opened = true;
        }
        self.opened.extend(nodes);
    }

    /// Whether the neighbour may name the children of `node`: it covers a span that was compared, or is a child of a
    /// node whose children were named to it.
    pub(super) fn may_open(&self, shape: Shape, span: TimeSpan, node: NodePosition) -> bool {
        let covers = || {
            shape.cover(span).into_iter().any(|(level, row)| level == node.level && row.contains(&node.index))
        };
        let below = shape.parent(node).is_some_and(|parent| self.opened.contains(&parent));
        self.forgot_opened || below || covers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_never_comes_is_missed_once() {
        let mut session = RepairSession::default();
        let at = |repair: u64| Duration::from_secs(repair * 12);
        session.said(at(0), 1);
        session.end();
        let mut ended = Vec::new();
        for repair in 1..5 {
            session.said(at(repair), 1);
            ended.push(session.answered(at(repair)));
            session.end();
        }
        assert_eq!(ended, [false, true, true, true]);
    }

    #[test]
    fn an_answer_that_comes_late_is_not_the_end_of_the_next_one() {
        let mut session = RepairSession::default();
        session.said(Duration::ZERO, 1);
        session.end();
        let now = PATIENCE;
        session.said(now, 1);
        assert!(!session.answered(now) && session.awaits());
        assert!(session.answered(now) && !session.awaits());
    }
}
