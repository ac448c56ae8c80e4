//! Snapshots: their timing and content, and the plan after a difference.

use std::time::Duration;

use super::differing::{self, Digests};
use super::plan::Means;
use super::question::FEW_DIFFERENCES;
use super::schedule::Reach;
use super::{Era, Reconciliation};
use crate::agent::broadcast::InTransit;
use crate::agent::metered::Metered;
use crate::agent::outgoing::send_live;
use crate::agent::pace::Rate;
use crate::agent::{Fault, HandleError, Now, Output, ReplicaView};
use crate::bounds::{CHECKED_EVENTS, FIRST_CELLS};
use crate::fault_injection::{Bug, injected};
use crate::message::{Message, Snapshot};
use crate::sketch::{Cells, Decoder, Mapping, estimate};
use crate::tree::Root;
use crate::{Hash, ReadError, TimeSpan, Timestamp};

/// How long sent cells count as current, at least: the answer may be on the way.
const CELLS_FRESH: Duration = Duration::from_millis(200);

/// Extra wait for events to become old enough.
const MARGIN: Duration = Duration::from_millis(100);

/// The longest interval of comparisons: leaves may close more often.
const TICK_MS: u64 = 60_000;

/// The time that a clock under correction may lose in a tick (500 ppm, as in adjtime(3)), and some more: by the check
/// after the tick, the leaf has closed.
const SLEWED: Duration = Duration::from_millis(50);

/// Snapshots in a row that may be ignored because events are in flight.
const DEFERRED: u32 = 3;

/// The comparison of one era.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The last cells sent.
    pub(super) cells_sent: Option<CellsSent>,
    agreed: AgreedRoots,
    /// Snapshots in a row that were ignored because events were in flight.
    deferred: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct CellsSent {
    at: Duration,
    span: TimeSpan,
}

/// The roots of the last agreements. With distant clocks the two spans have little in common.
#[derive(Debug, Default)]
struct AgreedRoots {
    /// The root of a span that the neighbour named.
    of_theirs: Option<Hash>,
    /// The root of a span that this side named.
    of_ours: Option<Hash>,
}

impl AgreedRoots {
    /// Both sides hold events of this root. If the neighbour asks for an answer, it named the span.
    fn note(&mut self, root: Hash, asks: bool) {
        *(if asks { &mut self.of_theirs } else { &mut self.of_ours }) = Some(root);
    }

    fn contains(&self, root: Hash) -> bool {
        [self.of_theirs, self.of_ours].contains(&Some(root))
    }
}

impl Reconciliation {
    /// Snapshots of the past and, if any, of the future.
    pub(super) async fn compare(
        &mut self,
        now: Now,
        view: &impl ReplicaView,
        reach: Reach,
    ) -> Result<Vec<Output>, ReadError> {
        if injected(Bug::NoSnapshots) {
            return Ok(Vec::new());
        }
        self.conclude();
        let mut snapshots = Vec::new();
        let everything = reach == Reach::Everything;
        let (past, future) = match reach {
            Reach::Everything => (TimeSpan::before(now.wall.next()), TimeSpan::from(now.wall.next())),
            Reach::Settled => {
                // A neighbour whose clock is far ahead has compared more than this side's own past.
                let end = self.differ_until.map(Timestamp::next).max(Some(self.settled(now.wall)));
                (end.and_then(TimeSpan::before), self.future(now.wall))
            }
            Reach::Closed => (TimeSpan::before(self.closed(self.settled(now.wall))), self.future(now.wall)),
        };
        let in_short = std::mem::take(&mut self.in_short) && !everything;
        if let Some(past) = past {
            let root = view.digest(past).await?.answer.0;
            snapshots.push(self.snapshot(past, root, !in_short, true, now, view).await?);
        }
        let root = view.digest(future).await?.answer.0;
        if injected(Bug::FutureIgnored) {
            self.agreement.future = Some(true);
        } else if everything || root.count > 0 || self.agreement.future == Some(false) {
            // Before the neighbour answers nothing is known of it. An operator's request does not rely on an earlier
            // answer: the neighbour may have learned of more events since.
            let known = self.agreement.future.filter(|_| !everything);
            self.agreement.future = Some(known.unwrap_or(false));
            snapshots.push(self.snapshot(future, root, !in_short, true, now, view).await?);
        } else if self.agreement.future.is_none() {
            // The neighbour reports any events there.
            self.agreement.future = Some(true);
        }
        if everything {
            // The answer about the past must be the last.
            snapshots.reverse();
        }
        Ok(snapshots)
    }

    /// A snapshot of `span`. One side alone shows cells, and not if nothing has changed since both sides agreed and an
    /// answer will report any change.
    async fn snapshot(
        &mut self,
        span: TimeSpan,
        root: Root,
        with_cells: bool,
        answer: bool,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Output, ReadError> {
        let compared = self.compared.of_mut(Era::of(span));
        let shows = with_cells && (!answer || !compared.agreed.contains(root.hash));
        let cells = if shows && self.shows_cells() {
            self.compared.of_mut(Era::of(span)).cells_sent = Some(CellsSent { at: now.steady, span });
            Some(view.cells(span, Mapping::Regular, 0..FIRST_CELLS).await?.answer)
        } else {
            None
        };
        let snapshot = Snapshot { span, root: root.hash, count: root.count, cells, answer };
        Ok(send_live(Message::Snapshot(snapshot)))
    }

    pub(super) async fn on_snapshot(
        &mut self,
        theirs: Snapshot,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let span = theirs.span;
        let era = Era::of_compared(span).ok_or(Fault::StrangeSpan(span))?;
        if era == Era::Future {
            self.future_from = Some(span.first());
        }
        if !self.pace.allows(now.steady, Rate::of_snapshots(self.common.config.grace)) {
            // One comparison of this side, a little later, answers all excessive snapshots.
            self.compare_again(now);
            return Ok(Vec::new());
        }
        let metered = Metered::new(view, &self.common, now);
        let root = metered.digest(span).await?.answer.0;
        let same_count = root.count == theirs.count;
        if root.hash == theirs.root || (injected(Bug::CountIsEquality) && same_count) {
            self.note_agreement(span, now);
            if same_count {
                self.compared.of_mut(era).agreed.note(theirs.root, theirs.answer);
                self.rest_assured(span);
                let equal = Snapshot { cells: None, answer: false, ..theirs };
                return Ok(theirs.answer.then(|| send_live(Message::Snapshot(equal))).into_iter().collect());
            }
            // Equal events with different counts: the stored data of one side is wrong, and is found like a
            // difference.
            self.compared.of_mut(era).agreed = AgreedRoots::default();
            if era == Era::Future {
                // An agreement about the past does not end the search.
                self.agreement.future = Some(false);
            }
        } else {
            self.note_difference(span, root.count.abs_diff(theirs.count), now);
        }
        if self.is_busy() {
            // The difference is being repaired; afterwards snapshots are compared again.
            return Ok(Vec::new());
        }
        let Some(cells) = theirs.cells.as_ref().filter(|_| !injected(Bug::NobodyActs)) else {
            return Ok(self.show_cells(span, root, theirs.answer, now, view).await?);
        };
        self.conclude();
        if self.outcome.waits() {
            return Ok(Vec::new());
        }
        if !self.common.coordinator.may_repair(self.common.neighbour, now.steady) {
            self.compare_in_turn(now);
            return Ok(Vec::new());
        }
        let theirs = (cells, theirs.count);
        self.plan_for(span, root, theirs, now, in_transit, view).await
    }

    /// Answers a snapshot without cells that differs: with cells, or so that the neighbour shows its own.
    async fn show_cells(
        &mut self,
        span: TimeSpan,
        root: Root,
        is_asked: bool,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, ReadError> {
        if self.shows_cells() {
            // Its answer may be on the way.
            let fresh = self.cells_are_fresh(span, now);
            return if fresh { Ok(Vec::new()) } else { self.show(span, root, false, now, view).await };
        }
        if is_asked { self.show(span, root, true, now, view).await } else { Ok(Vec::new()) }
    }

    /// A snapshot in answer to one that differs.
    async fn show(
        &mut self,
        span: TimeSpan,
        root: Root,
        answer: bool,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, ReadError> {
        self.conclude();
        Ok(vec![self.snapshot(span, root, true, answer, now, view).await?])
    }

    /// Makes a plan for a span that differs.
    async fn plan_for(
        &mut self,
        span: TimeSpan,
        root: Root,
        (theirs, count): (&Cells, u64),
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        self.begin_repair(now);
        self.differs(span);
        let mut outputs = Vec::new();
        self.means = if self.outcome.is_in_doubt() { Means::Nodes } else { Means::CellsOrNodes };
        if count == 0 {
            let digest = view.digest(span).await?.answer.1;
            let differences = differing::differences(
                self.common.shape,
                span,
                &differing::of_digest(&digest),
                &Digests::new(),
            );
            self.note_blocks(span, &digest, &differences);
            let spans = differences.iter().map(|it| (it.span, it.ours, it.theirs)).collect();
            outputs = self.take(span, spans, now, in_transit);
        } else if root.count == 0 || self.means == Means::Nodes {
            self.plan.compare(span, Means::Nodes);
        } else {
            let range = theirs.from()..theirs.from() + theirs.len();
            let metered = Metered::new(view, &self.common, now);
            let mut difference = metered.cells(span, theirs.mapping(), range).await?.answer;
            self.apart = estimate(Mapping::Regular, difference.counts(), theirs.counts(), root.count, count);
            self.among = root.count;
            let mut decoder = Decoder::new(Mapping::Regular);
            let fits = difference.subtract(theirs).and_then(|()| decoder.add(difference));
            fits.map_err(|_| Fault::StrangeCells)?;
            match decoder.decode() {
                Ok(decoded) if !decoded.is_empty() => {
                    outputs = self.act(span, decoded, now, in_transit, view).await?;
                }
                // Two events of one locator, or a stored hash that is wrong.
                Ok(_) => self.plan.compare(span, Means::Nodes),
                Err(_) if self.apart <= FEW_DIFFERENCES => self.plan.compare(span, Means::Cells),
                Err(_) => self.plan.compare(span, Means::CellsOrNodes),
            }
        }
        outputs.extend(self.advance(now, view).await?);
        Ok(outputs)
    }

    /// Judges the repair since the last comparison, if there was one.
    fn conclude(&mut self) {
        if self.outcome.conclude() {
            self.told = None;
        }
    }

    /// Checks stored hashes where repairs were in vain, if it is time, and compares again if some were wrong.
    pub(super) async fn check_suspects(
        &mut self,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<(), ReadError> {
        let due = !self.is_busy() && self.common.coordinator.checks_at() <= now.steady;
        if !due || !self.outcome.suspects.are_there() {
            return Ok(());
        }
        // The agents of other neighbours wait from now on.
        self.common.coordinator.checked(0, now.steady);
        let (mut events, mut wrong) = (0, 0);
        while events < CHECKED_EVENTS as u64
            && let Some(span) = self.outcome.suspects.next()
        {
            let checked = view.check_hashes(span).await?;
            events += checked.events;
            wrong += checked.wrong;
            if let Some(rest) = checked.rest {
                self.outcome.suspects.go_on(rest);
            }
        }
        self.common.coordinator.checked(events, now.steady);
        if wrong > 0 {
            self.outcome.forget();
            self.schedule.compare_by(now.steady);
        }
        Ok(())
    }

    /// Both sides hold the same events in `span`.
    fn note_agreement(&mut self, span: TimeSpan, now: Now) {
        self.agreement.agree(Era::of(span));
        self.compared.of_mut(Era::of(span)).deferred = 0;
        if Era::of(span) == Era::Past {
            self.differences = std::sync::Arc::default();
            self.blocks = Vec::new();
            // The side whose clock is ahead names a time for which the other may still write events.
            let until = span.last().next().min(now.wall.min(self.clock.neighbours_wall(now.wall)).next());
            self.agreement.until = self.agreement.until.max(Some(until));
        } else {
            self.agreement.future = Some(true);
        }
    }

    /// Whether differences of this span may be left alone because they may be in flight.
    pub(super) fn may_defer(&self, span: TimeSpan) -> bool {
        self.compared.of(self.era_of(span)).deferred < DEFERRED
    }

    /// Notes whether all or some differences of a span were left alone: those are compared once more.
    pub(super) fn defer(&mut self, span: TimeSpan, all: bool, some: bool, now: Now) {
        let era = self.era_of(span);
        let deferred = &mut self.compared.of_mut(era).deferred;
        *deferred = if all { *deferred + 1 } else { 0 };
        if some {
            self.schedule.look_again(now.steady + self.grace());
        }
        if all {
            self.outcome.defer(!self.plan.is_empty() || self.awaits());
            self.common.coordinator.repaired(self.common.neighbour);
        }
    }

    /// Cancels further steps for `span`: both sides agree. With distant clocks the two sides compare spans of different
    /// ends, and an agreement about the shorter one does not settle the longer one.
    fn rest_assured(&mut self, span: TimeSpan) {
        let grace = self.grace();
        let reach = TimeSpan::new(span.first(), span.last().after(grace)).unwrap_or(span);
        let settled = self.outcome.suspects.settle(reach);
        if Era::of(span) == Era::Future {
            return;
        }
        let differs_later = self.differ_until.is_some_and(|until| until.ahead_of(span.last()) > grace);
        if self.agreement.future != Some(false) && !differs_later && settled {
            self.differ_until = None;
            self.outcome.settle();
            self.told = None;
        }
    }

    fn differs(&mut self, span: TimeSpan) {
        if Era::of(span) == Era::Past {
            self.differ_until = self.differ_until.max(Some(span.last()));
        }
    }

    fn note_difference(&mut self, span: TimeSpan, by: u64, now: Now) {
        let era = Era::of(span);
        self.compared.of_mut(era).agreed = AgreedRoots::default();
        self.agreement.differ(era, by, now.steady);
        if era == Era::Future {
            self.agreement.future = Some(false);
        }
    }

    /// Whether this side shows its cells. The other one, with the greater id, makes the plan.
    fn shows_cells(&self) -> bool {
        self.common.config.node < self.common.neighbour
    }

    fn cells_are_fresh(&self, span: TimeSpan, now: Now) -> bool {
        // With distant clocks spans differ: the cells must be about the same time.
        let era = Era::of(span);
        let end = |span: TimeSpan| if era == Era::Past { span.last() } else { span.first() };
        let near =
            |sent: TimeSpan| end(sent).ahead_of(end(span)).max(end(span).ahead_of(end(sent))) <= self.grace();
        let is_fresh = |sent: CellsSent| sent.at + self.freshness() > now.steady && near(sent.span);
        self.compared.of(era).cells_sent.is_some_and(is_fresh)
    }

    /// Compares again after any other neighbour's repair: before that it would find the same difference.
    pub(super) fn compare_in_turn(&mut self, now: Now) {
        let at = self.again_at(now);
        self.schedule.compare_in_turn(at);
    }

    pub(super) fn compare_again(&mut self, now: Now) {
        let at = self.again_at(now);
        self.schedule.compare(at);
    }

    /// A time at which the neighbour must answer again: it takes its own cells for known while they are current. The
    /// time differs between the agents of a node.
    fn again_at(&mut self, now: Now) -> Duration {
        now.steady + self.freshness() + Duration::from_millis(self.random.next() % 50)
    }

    /// How long sent cells count as current.
    fn freshness(&self) -> Duration {
        CELLS_FRESH.max(self.clock.round_trip * 4)
    }

    /// Compares at once, and again when the lost events are old enough for a snapshot.
    pub(super) fn compare_soon(&mut self, now: Duration) {
        self.schedule.look_again(now + self.grace() + MARGIN);
        self.schedule.compare_by(now);
    }

    /// How far snapshots stay behind the present.
    pub(super) fn grace(&self) -> Duration {
        self.clock.grace(&self.common.config)
    }

    /// The latest time that lies before the grace on both sides.
    fn settled(&self, wall: Timestamp) -> Timestamp {
        self.passed_by_both(wall).before(self.grace())
    }

    /// The latest time that has passed on both sides.
    fn passed_by_both(&self, wall: Timestamp) -> Timestamp {
        let behind = Duration::from_millis(self.clock.offset.unwrap_or(0).min(0).unsigned_abs());
        // A clock that is far off must not exclude this side's own events from the comparison.
        wall.before(if behind > self.common.config.max_drift { Duration::ZERO } else { behind })
    }

    /// The end of the last leaf that closed before `moment`, or of the last minute, whichever is shorter.
    fn closed(&self, moment: Timestamp) -> Timestamp {
        Timestamp::from_millis(moment.as_millis() / self.step() * self.step())
    }

    /// Milliseconds from one tick to the next.
    fn step(&self) -> u64 {
        self.common.config.parameters.granularity.min(TICK_MS)
    }

    /// The time that neither side reaches soon, within the clock offset without an alarm. It starts at the beginning
    /// of a minute, or of a shorter leaf, so that it stays the same for a while.
    fn future(&self, wall: Timestamp) -> TimeSpan {
        let ahead = Duration::from_millis(self.clock.offset.unwrap_or(0).max(0).unsigned_abs());
        let out_of_reach = wall.after(ahead).after(self.common.config.max_drift).as_millis();
        let step = self.step();
        TimeSpan::from(Timestamp::from_millis((out_of_reach / step + 1).saturating_mul(step)))
    }

    /// The time until the leaf of this moment, or the minute if that is shorter, has closed on both sides, and its
    /// events have had time to arrive.
    pub(super) fn until_tick(&self, wall: Timestamp) -> Duration {
        let passed = self.passed_by_both(wall);
        let closes =
            Timestamp::from_millis((passed.as_millis() / self.step() + 1).saturating_mul(self.step()));
        closes.ahead_of(passed) + self.grace() + SLEWED
    }
}
