//! The state of a repair: the opened nodes, the transferred events, and the end.
//!
//! There is no session and no script: each message is answered by its content. The state only bounds a repair and
//! detects its end, which is silence: after some time without a message in either direction, snapshots are compared
//! again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::agent::stall::REPLY_TIMEOUT;
use crate::bounds::OPENED_NODES;
use crate::tree::{NodePosition, Shape};
use crate::{TimeSpan, Timestamp};

/// The least silence that ends a repair.
const QUIET: Duration = Duration::from_millis(50);

/// The longest delay of an answer beyond its timeout: after this it will not come.
const OWED: Duration = Duration::from_secs(120);

/// Spans of snapshots that messages may still refer to.
const SPANS_REMEMBERED: usize = 256;

/// Repairs in a row without effect, after which the next one waits for its minute.
const FRUITLESS: u32 = 3;

/// The outcome of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Events were transferred.
    Moved,
    /// No events were transferred, but not all were listed.
    Unfinished,
    /// No events were transferred in this number of repairs in a row.
    InVain(u32),
}

/// The state of the repair with one neighbour.
#[derive(Debug, Default)]
pub(super) struct RepairSession {
    /// The time of the last message in either direction, during a repair.
    active: Option<Duration>,
    /// Spans of recent snapshots in either direction.
    spans: VecDeque<TimeSpan>,
    /// Nodes whose children this side has named: the neighbour may name theirs.
    opened: BTreeSet<NodePosition>,
    /// Whether some opened nodes were dropped: then no fault can be proven.
    forgot_opened: bool,
    /// Events transferred since the last comparison.
    moved: u64,
    /// Questions of this side that are not answered to the end.
    unanswered: usize,
    /// Unanswered questions of earlier repairs, and when their answers last showed a sign of life.
    owed: usize,
    given_up: Duration,
    /// Ends of answers in this repair that were attributed to earlier ones. If none follow, that was wrong.
    late: usize,
    /// Whether this side has only given, and received nothing.
    only_gave: bool,
    /// Whether a list was partial, and the next round lists the rest.
    partial: bool,
    /// The end of the differing snapshots of the past.
    differ_until: Option<Timestamp>,
    /// Whether a differing snapshot was passed over meanwhile.
    passed_over: bool,
    /// The number of repairs in a row without effect.
    fruitless: u32,
    /// Whether the next snapshot goes without a digest. Either a repair has transferred events, so that both sides are
    /// most likely equal. Or the neighbour's snapshot was passed over, which it does not know, so that it must send it
    /// again.
    pub(super) in_short: bool,
}

impl RepairSession {
    /// Notes a snapshot about `span`, in either direction.
    pub(super) fn compared(&mut self, span: TimeSpan) {
        self.spans.retain(|known| *known != span);
        if self.spans.len() == SPANS_REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// Whether a snapshot was about exactly `span`.
    pub(super) fn knows(&self, span: TimeSpan) -> bool {
        self.spans.contains(&span)
    }

    /// Whether a snapshot covered `span`.
    pub(super) fn knows_within(&self, span: TimeSpan) -> bool {
        self.span_around(span).is_some()
    }

    /// The span of a snapshot that covered `span`.
    pub(super) fn span_around(&self, span: TimeSpan) -> Option<TimeSpan> {
        self.spans.iter().copied().find(|known| known.intersection(span) == Some(span))
    }

    /// Whether there was a snapshot yet.
    pub(super) fn has_compared(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Snapshots about `span` differ.
    pub(super) fn differs(&mut self, span: TimeSpan) {
        if span.first() == Timestamp::MIN {
            self.differ_until = self.differ_until.max(Some(span.last()));
        }
    }

    /// Whether they differ later than `span`, on which both agree, by more than `grace`: distant clocks make the ends
    /// of the two sides' spans differ.
    pub(super) fn differs_after(&self, span: TimeSpan, grace: Duration) -> bool {
        self.differ_until.is_some_and(|until| until.ahead_of(span.last()) > grace)
    }

    /// The end of the differing past since the last repair or agreement.
    pub(super) fn differs_before(&self) -> Option<Timestamp> {
        self.differ_until.map(Timestamp::next)
    }

    /// The neighbour's snapshot about `span` differs; the difference is being repaired.
    pub(super) fn pass_over(&mut self, span: TimeSpan) {
        self.differs(span);
        self.passed_over = true;
    }

    /// Whether there was such a snapshot.
    pub(super) fn has_passed_over(&self) -> bool {
        self.passed_over
    }

    /// Notes a received repair message.
    pub(super) fn heard(&mut self, now: Duration) {
        self.active = Some(now);
    }

    /// Whether a question of this side is open.
    pub(super) fn awaits(&self) -> bool {
        self.unanswered > 0
    }

    /// Notes the end of an answer. Returns whether it belongs to this repair: answers arrive in the order of the
    /// questions, and a question that was given up may still be answered.
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

    /// Notes a repair message sent, with its number of questions.
    pub(super) fn said(&mut self, now: Duration, questions: usize) {
        self.active = Some(now);
        self.unanswered += questions;
    }

    /// The list was partial: a repair without effect is then not in vain.
    pub(super) fn listed_a_part(&mut self) {
        self.partial = true;
    }

    /// Notes events sent.
    pub(super) fn gave(&mut self, events: usize) {
        self.only_gave |= events > 0 && self.moved == 0;
        self.moved += events as u64;
    }

    /// Notes new events received.
    pub(super) fn received(&mut self, events: u64) {
        self.only_gave = false;
        self.moved += events;
    }

    /// Whether a repair is running.
    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// When the silence ends the repair, if no message arrives.
    pub(super) fn quiet_at(&self, round_trip: Duration) -> Option<Duration> {
        let patient = self.unanswered > 0 || self.only_gave;
        Some(self.active? + if patient { REPLY_TIMEOUT } else { QUIET.max(round_trip * 2) })
    }

    /// Whether the pause is long enough that a snapshot of the other side means the end.
    pub(super) fn has_paused(&self, now: Duration, round_trip: Duration) -> bool {
        let pause = if self.unanswered > 0 { REPLY_TIMEOUT } else { QUIET.max(round_trip * 2) };
        self.active.is_none_or(|active| active + pause <= now)
    }

    /// Ends the repair.
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
        // An end was attributed to an earlier answer, and silence followed: it was the end of a later answer, and the
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
        // Nodes stay open: an answer may come after a silence taken for the end.
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

    /// Allows another repair, however many were in vain.
    pub(super) fn retry(&mut self) {
        self.fruitless = self.fruitless.min(FRUITLESS - 1);
    }

    /// The cause of the vain repairs is gone, or an operator asks: counts them anew.
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
        let now = REPLY_TIMEOUT;
        session.said(now, 1);
        assert!(!session.answered(now) && session.awaits());
        assert!(session.answered(now) && !session.awaits());
    }
}
