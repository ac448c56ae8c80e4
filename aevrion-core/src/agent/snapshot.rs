//! Snapshots: when they are sent, what they say, and what follows when they differ.

use std::time::Duration;

use super::compare::{Step, compare_digests};
use super::exchange::FRUITLESS;
use super::live::send_live;
use super::{Agent, Fault, Halt, Holdings, Moment, Output};
use crate::message::{Message, Snapshot};
use crate::planted::{Bug, planted};
use crate::{TimeSpan, Timestamp};

/// How long a digest that was sent stands for a fresh one, at least: its answer may be on the way.
const DIGEST_FRESH: Duration = Duration::from_millis(200);

/// How soon a snapshot that could not be acted upon is compared again.
const AGAIN: Duration = Duration::from_millis(100);

/// Differing spans that are shown to whoever asks.
const DIFFERENCES_SHOWN: usize = 16;

/// Snapshots in a row that may be left alone because events are in flight.
const DEFERRED: u32 = 3;

impl Agent {
    /// Snapshots of the past and, where there is any, of the future.
    pub(super) async fn compare(
        &mut self,
        now: Moment,
        holdings: &impl Holdings,
        everything: bool,
    ) -> Result<Vec<Output>, Halt> {
        if planted(Bug::NoSnapshots) {
            return Ok(Vec::new());
        }
        // A snapshot follows the news that it covers.
        let mut outputs = self.announce(now);
        let (past, future) = if everything {
            (TimeSpan::before(now.wall.next()), TimeSpan::from(now.wall.next()))
        } else {
            (self.past(now.wall), self.future(now.wall))
        };
        if let Some(past) = past {
            outputs.push(self.snapshot(past, now, holdings, true).await?);
        }
        let root = holdings.root(future).await?;
        if planted(Bug::FutureIgnored) {
            self.agreement.future = Some(true);
        } else if everything || root.count > 0 || self.agreement.future == Some(false) {
            outputs.push(self.snapshot(future, now, holdings, true).await?);
        } else if self.agreement.future.is_none() {
            // The neighbour speaks up if it holds any.
            self.agreement.future = Some(true);
        }
        Ok(outputs)
    }

    /// A snapshot of `span`, with its digest unless nothing has changed since both agreed.
    async fn snapshot(
        &mut self,
        span: TimeSpan,
        now: Moment,
        holdings: &impl Holdings,
        answer: bool,
    ) -> Result<Output, Halt> {
        self.exchange.compared(span);
        let root = holdings.root(span).await?;
        let agreed = self.agreed_root[kind(span)].contains(&Some(root.hash));
        let (root, digest) = if agreed && answer {
            (root, None)
        } else {
            let (root, digest) = holdings.digest(span).await?;
            self.digest_sent[kind(span)] = Some((now.steady, span));
            (root, Some(digest))
        };
        let snapshot = Snapshot { span, root: root.hash, count: root.count, digest, answer };
        Ok(send_live(Message::Snapshot(snapshot)))
    }

    pub(super) async fn on_snapshot(
        &mut self,
        snapshot: Snapshot,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let Snapshot { span, root: theirs, count, digest, answer } = snapshot;
        if !is_past(span) && span.last() != Timestamp::MAX {
            return Err(Fault::StrangeSpan(span).into());
        }
        self.exchange.compared(span);
        let mine = holdings.root(span).await?;
        if mine.hash == theirs || (planted(Bug::CountIsEquality) && mine.count == count) {
            self.note_agreement(span, theirs, !answer, now);
            let equal = Snapshot { span, root: theirs, count, digest: None, answer: false };
            return Ok(answer.then(|| send_live(Message::Snapshot(equal))).into_iter().collect());
        }
        self.note_difference(span, mine.count.abs_diff(count));
        let mut steps = Vec::new();
        if let Some(theirs) = &digest {
            let (_, mine) = holdings.digest(span).await?;
            steps = compare_digests(self.shape, span, &mine, theirs);
            self.differences =
                steps.iter().map(|step| step.span(self.shape)).take(DIFFERENCES_SHOWN).collect();
        }
        if !self.exchange.has_paused(now.steady, self.round_trip()) {
            // What differs is being repaired; when that is over, snapshots are compared again.
            return Ok(Vec::new());
        }
        self.conclude();
        match digest {
            // It thought that nothing had changed. Here is what has.
            None => Ok(vec![self.snapshot(span, now, holdings, false).await?]),
            Some(_) if self.acts() => self.act(steps, span, now, holdings).await,
            // The neighbour acts, once it knows what this side holds.
            Some(_) if self.digest_is_fresh(span, now) => Ok(Vec::new()),
            Some(_) if !self.desk.is_free_for(self.neighbour, now.steady) => {
                self.compare_again(now);
                Ok(Vec::new())
            }
            Some(_) => Ok(vec![self.snapshot(span, now, holdings, false).await?]),
        }
    }

    /// Begins a repair, unless another one is under way or what differs may be in flight.
    async fn act(
        &mut self,
        mut steps: Vec<Step>,
        span: TimeSpan,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        if self.exchange.fruitless >= FRUITLESS {
            return Ok(Vec::new());
        }
        if self.deferred < DEFERRED {
            let shape = self.shape;
            steps.retain(|step| !self.flight.touches(step.span(shape), now.steady));
            if steps.is_empty() {
                self.deferred += 1;
                self.compare_at = Some(now.steady + self.grace());
                return Ok(Vec::new());
            }
        }
        self.deferred = 0;
        // Giving hinders nobody. Receiving from two sides at once would bring the same events twice.
        let only_gives = steps.iter().all(|step| matches!(step, Step::Give(_)));
        if !only_gives && !self.desk.may_repair(self.neighbour, now.steady) {
            self.compare_again(now);
            return Ok(Vec::new());
        }
        self.exchange.said(now.steady, false);
        self.take(steps, span, now, holdings).await
    }

    /// The repair that was under way, if any, is over.
    fn conclude(&mut self) {
        if self.exchange.is_active() {
            self.exchange.end();
            self.forget_wishes();
            self.desk.repaired(self.neighbour);
        }
    }

    /// The repair has fallen silent: snapshots tell whether it is complete.
    pub(super) fn end_of_exchange(&mut self, now: Moment) {
        self.conclude();
        if self.exchange.fruitless < FRUITLESS {
            // Whoever acts on a difference waits a little longer: usually the other side's snapshot comes first.
            let wait = if self.acts() { self.round_trip() * 2 + AGAIN } else { Duration::ZERO };
            self.compare_at = Some(now.steady + wait);
        }
    }

    /// Both agree about `span`, which is this side's `own` or the neighbour's.
    fn note_agreement(&mut self, span: TimeSpan, root: crate::Hash, own: bool, now: Moment) {
        self.agreed_root[kind(span)][usize::from(own)] = Some(root);
        if is_past(span) {
            self.differences = std::sync::Arc::default();
            // A neighbour whose clock is ahead speaks of a time in which this side has yet to write.
            let until = span.last().next().min(now.wall.next());
            self.agreement.until = self.agreement.until.max(Some(until));
            self.agreement.behind = 0;
        } else {
            self.agreement.future = Some(true);
        }
        if self.exchange.is_active() && is_past(span) {
            self.exchange.agreed();
            self.desk.repaired(self.neighbour);
        }
        self.exchange.fruitless = 0;
        self.deferred = 0;
    }

    fn note_difference(&mut self, span: TimeSpan, by: u64) {
        self.agreed_root[kind(span)] = [None; 2];
        self.agreement.differed += 1;
        self.agreement.behind = self.agreement.behind.max(by.max(1));
        if !is_past(span) {
            self.agreement.future = Some(false);
        }
    }

    /// Whether this side acts when snapshots differ.
    fn acts(&self) -> bool {
        (self.terms.node < self.neighbour || planted(Bug::BothAct)) && !planted(Bug::NobodyActs)
    }

    fn digest_is_fresh(&self, span: TimeSpan, now: Moment) -> bool {
        let fresh = DIGEST_FRESH.max(self.round_trip() * 4);
        // Clocks that are far apart make spans that are: what was sent must be about the same time.
        let end = |span: TimeSpan| if is_past(span) { span.last() } else { span.first() };
        let near =
            |sent: TimeSpan| end(sent).ahead_of(end(span)).max(end(span).ahead_of(end(sent))) <= self.grace();
        self.digest_sent[kind(span)].is_some_and(|(at, sent)| at + fresh > now.steady && near(sent))
    }

    fn compare_again(&mut self, now: Moment) {
        // Not all agents of a node at the same moment.
        let jitter = Duration::from_millis(self.draw() % 50);
        self.compare_at = Some(now.steady + AGAIN + jitter);
    }

    /// Compares at once, and once more when what was missed just now is old enough for a snapshot to cover it.
    pub(super) fn compare_soon(&mut self, now: Duration) {
        self.look_again_at = Some(now + self.grace() + AGAIN);
        self.compare_at = Some(self.compare_at.map_or(now, |at| at.min(now)));
    }

    /// How far snapshots stay behind the present.
    pub(super) fn grace(&self) -> Duration {
        self.terms.grace.max(self.round_trip() * 4)
    }

    /// The time that both sides have passed by more than the grace.
    fn past(&self, wall: Timestamp) -> Option<TimeSpan> {
        let behind = Duration::from_millis(self.clock_offset().unwrap_or(0).min(0).unsigned_abs());
        // A clock that is far off must not keep this side's own events from being compared.
        let behind = if behind > self.terms.max_drift { Duration::ZERO } else { behind };
        TimeSpan::before(wall.before(behind).before(self.grace()))
    }

    /// The time that neither side reaches within a minute, from a leaf's beginning on.
    fn future(&self, wall: Timestamp) -> TimeSpan {
        let ahead = Duration::from_millis(self.clock_offset().unwrap_or(0).max(0).unsigned_abs());
        let leaf = self.shape.node_at(0, wall.after(ahead).after(self.terms.max_drift));
        TimeSpan::from(self.shape.last(leaf).next())
    }

    /// Until the leaf of this moment has closed, and its events have had time to arrive.
    pub(super) fn until_tick(&self, wall: Timestamp) -> Duration {
        let leaf = self.shape.node_at(0, wall);
        self.shape.last(leaf).ahead_of(wall) + self.grace() + Duration::from_millis(1)
    }
}

fn is_past(span: TimeSpan) -> bool {
    span.first() == Timestamp::MIN
}

/// The past is 0, the future 1.
fn kind(span: TimeSpan) -> usize {
    usize::from(!is_past(span))
}
