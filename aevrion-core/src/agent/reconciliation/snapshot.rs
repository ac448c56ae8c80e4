//! Snapshots: their timing and content, and the steps after a difference.

use std::time::Duration;

use super::compare::{Step, compare_digests, differing_blocks};
use super::schedule::Reach;
use super::session::Outcome;
use super::{Era, Reconciliation};
use crate::agent::broadcast::InTransit;
use crate::agent::outgoing::send_live;
use crate::agent::pace::Rate;
use crate::agent::{Fault, HandleError, Now, Output, ReplicaView};
use crate::bounds::CHECKED_EVENTS;
use crate::fault_injection::{Bug, injected};
use crate::message::{Digest, Message, Snapshot};
use crate::tree::Root;
use crate::{Hash, ReadError, TimeSpan, Timestamp};

/// How long a sent digest counts as current, at least: its answer may be on the way.
const DIGEST_FRESH: Duration = Duration::from_millis(200);

/// Extra wait for a message that the other side usually sends first, or for events to become old enough.
const MARGIN: Duration = Duration::from_millis(100);

/// The longest interval of comparisons: leaves may close more often.
const TICK_MS: u64 = 60_000;

/// The time that a clock under correction may lose in a tick (500 ppm, as in adjtime(3)), and some more: by the check
/// after the tick, the leaf has closed.
const SLEWED: Duration = Duration::from_millis(50);

/// Differing spans kept for display.
const DIFFERENCES_SHOWN: usize = 16;

/// Snapshots in a row that may be ignored because events are in flight.
const DEFERRED: u32 = 3;

/// The comparison of one era.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The last digest sent.
    digest_sent: Option<DigestSent>,
    agreed: AgreedRoots,
    /// Snapshots in a row that were ignored because events were in flight.
    deferred: u32,
    /// The blocks of the last digests that still differ, as far as is known.
    pub(super) blocks_left: Vec<TimeSpan>,
}

#[derive(Debug, Clone, Copy)]
struct DigestSent {
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
    ) -> Result<Vec<Output>, HandleError> {
        if injected(Bug::NoSnapshots) {
            return Ok(Vec::new());
        }
        let mut snapshots = Vec::new();
        let everything = reach == Reach::Everything;
        let (past, future) = match reach {
            Reach::Everything => (TimeSpan::before(now.wall.next()), TimeSpan::from(now.wall.next())),
            Reach::Settled => {
                // A neighbour whose clock is far ahead has compared more than this side's own past, and was put off.
                let end = self.session.differs_before().max(Some(self.settled(now.wall)));
                (end.and_then(TimeSpan::before), self.future(now.wall))
            }
            Reach::Closed => (TimeSpan::before(self.closed(self.settled(now.wall))), self.future(now.wall)),
        };
        let in_short = std::mem::take(&mut self.session.in_short) && !everything;
        if let Some(past) = past {
            let (root, digest) = view.digest(past).await?.answer;
            snapshots.push(self.snapshot(past, root, (!in_short).then_some(digest), true, now));
        }
        let (root, digest) = view.digest(future).await?.answer;
        if injected(Bug::FutureIgnored) {
            self.agreement.future = Some(true);
        } else if everything || root.count > 0 || self.agreement.future == Some(false) {
            // Before the neighbour answers nothing is known of it. An operator's request does not rely on an earlier
            // answer: the neighbour may have learned of more events since.
            let known = self.agreement.future.filter(|_| !everything);
            self.agreement.future = Some(known.unwrap_or(false));
            snapshots.push(self.snapshot(future, root, (!in_short).then_some(digest), true, now));
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

    /// A snapshot of `span`. Its digest is left out if nothing has changed since both sides agreed, and if an answer
    /// will report any change.
    fn snapshot(
        &mut self,
        span: TimeSpan,
        root: Root,
        digest: Option<Digest>,
        answer: bool,
        now: Now,
    ) -> Output {
        self.session.compared(span);
        let compared = self.compared.of_mut(Era::of(span));
        let digest = digest.filter(|_| !answer || !compared.agreed.contains(root.hash));
        if digest.is_some() {
            compared.digest_sent = Some(DigestSent { at: now.steady, span });
        }
        send_live(Message::Snapshot(Snapshot { span, root: root.hash, count: root.count, digest, answer }))
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
        if !self.pace.allows(now.steady, Rate::of_snapshots(self.common.config.grace)) {
            // One comparison of this side, a little later, answers all excessive snapshots.
            self.compare_again(now);
            return Ok(Vec::new());
        }
        self.session.compared(span);
        let (root, digest) = view.digest(span).await?.answer;
        let same_count = root.count == theirs.count;
        if root.hash == theirs.root || (injected(Bug::CountIsEquality) && same_count) {
            self.note_agreement(span, now);
            if same_count {
                self.compared.of_mut(era).agreed.note(theirs.root, theirs.answer);
                self.rest_assured(span, now);
                let equal = Snapshot { digest: None, answer: false, ..theirs };
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
        let steps = theirs.digest.map(|theirs| self.steps(span, &digest, &theirs));
        if !self.session.has_paused(now.steady, self.clock.round_trip) {
            // The difference is being repaired; afterwards snapshots are compared again.
            self.session.pass_over(span);
            return Ok(Vec::new());
        }
        self.conclude();
        self.session.differs(span);
        let Some(steps) = steps else {
            // The neighbour believed both equal. This is the digest; it must send its own.
            return Ok(self.tell(span, (root, digest), true, now));
        };
        let (mine, left): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| self.is_mine(*step));
        let mut outputs = Vec::new();
        if theirs.answer && self.is_to_know(&left, span, now) {
            // Before the questions: a side that has begun to answer those ignores snapshots.
            outputs.extend(self.tell(span, (root, digest), false, now));
        }
        outputs.extend(self.act(mine, span, now, in_transit, view).await?);
        Ok(outputs)
    }

    /// The steps for two differing digests, for either side. Notes the difference in events.
    fn steps(&mut self, span: TimeSpan, mine: &Digest, theirs: &Digest) -> Vec<Step> {
        let steps = compare_digests(self.common.shape, span, mine, theirs);
        self.differences =
            steps.iter().map(|step| step.span(self.common.shape)).take(DIFFERENCES_SHOWN).collect();
        let blocks = differing_blocks(self.common.shape, mine, theirs);
        self.agreement.compared(Era::of(span), &blocks);
        self.compared.of_mut(Era::of(span)).blocks_left = blocks.differing;
        steps
    }

    /// Whether the neighbour, which takes these steps, needs this side's digest. It does not if it has the digest. If
    /// another neighbour delivers the same events, snapshots are compared later.
    fn is_to_know(&mut self, left: &[Step], span: TimeSpan, now: Now) -> bool {
        if left.is_empty() || self.digest_is_fresh(span, now) {
            return false;
        }
        // Giving hinders no other repair. Receiving from two sides at once would bring the same events twice.
        let only_gives = left.iter().all(|step| matches!(step, Step::Give(_)));
        let in_turn = only_gives || self.common.coordinator.is_free_for(self.common.neighbour, now.steady);
        if !in_turn {
            self.compare_in_turn(now);
        }
        in_turn
    }

    /// Sends this side's digest, for the neighbour to act on.
    fn tell(
        &mut self,
        span: TimeSpan,
        (root, digest): (Root, Digest),
        answer: bool,
        now: Now,
    ) -> Vec<Output> {
        vec![self.snapshot(span, root, Some(digest), answer, now)]
    }

    /// Begins a repair, unless the difference may be in flight or another neighbour delivers it.
    async fn act(
        &mut self,
        mut steps: Vec<Step>,
        span: TimeSpan,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        if steps.is_empty() || self.session.is_given_up() {
            return Ok(Vec::new());
        }
        let shape = self.common.shape;
        let all = steps.len();
        steps.retain(|step| !in_transit.is_coming(step.span(shape)));
        if steps.is_empty() && all > 0 {
            self.schedule.look_again(now.steady + self.grace());
            return Ok(Vec::new());
        }
        let deferred = &mut self.compared.of_mut(Era::of(span)).deferred;
        if *deferred < DEFERRED {
            steps.retain(|step| !in_transit.may_travel(step.span(shape), now.steady));
            if steps.is_empty() {
                *deferred += 1;
                self.schedule.look_again(now.steady + self.grace());
                return Ok(Vec::new());
            }
        }
        *deferred = 0;
        if !self.common.coordinator.may_repair(self.common.neighbour, now.steady) {
            self.compare_in_turn(now);
            return Ok(Vec::new());
        }
        self.take(steps, span, now, view).await
    }

    /// Ends the running repair, if any.
    fn conclude(&mut self) {
        if self.session.is_active() {
            match self.session.end() {
                Outcome::Unfinished => {}
                Outcome::InVain(2..) => self.suspects.confirm(),
                Outcome::InVain(_) => self.suspects.doubt(),
                Outcome::Moved => self.suspects.dismiss(),
            }
            self.forget_requests();
            self.backfill.forget();
            self.common.coordinator.repaired(self.common.neighbour);
            // Digests sent before it are out of date.
            (self.compared.past.digest_sent, self.compared.future.digest_sent) = (None, None);
        }
    }

    /// Checks stored hashes where repairs were in vain, if it is time, and compares again if some were wrong.
    pub(super) async fn check_suspects(
        &mut self,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<(), ReadError> {
        let due = !self.session.is_active() && self.common.coordinator.checks_at() <= now.steady;
        if !due || !self.suspects.are_there() {
            return Ok(());
        }
        // The agents of other neighbours wait from now on.
        self.common.coordinator.checked(0, now.steady);
        let (mut events, mut wrong) = (0, 0);
        while events < CHECKED_EVENTS as u64
            && let Some(span) = self.suspects.next()
        {
            let checked = view.check_hashes(span).await?;
            events += checked.events;
            wrong += checked.wrong;
            if let Some(rest) = checked.rest {
                self.suspects.go_on(rest);
            }
        }
        self.common.coordinator.checked(events, now.steady);
        if wrong > 0 {
            self.session.begin_anew();
            self.schedule.compare_by(now.steady);
        }
        Ok(())
    }

    /// The repair has fallen silent: snapshots tell whether it is complete.
    pub(super) fn end_session(&mut self, now: Now) {
        self.conclude();
        if !self.session.is_given_up() {
            // One of the two waits a little longer: usually the other one's snapshot comes first.
            let wait = if self.looks_into() { self.clock.round_trip * 2 + MARGIN } else { Duration::ZERO };
            self.schedule.compare(now.steady + wait);
        }
    }

    /// Both sides hold the same events in `span`.
    fn note_agreement(&mut self, span: TimeSpan, now: Now) {
        self.agreement.agree(Era::of(span));
        self.compared.of_mut(Era::of(span)).deferred = 0;
        if Era::of(span) == Era::Past {
            self.differences = std::sync::Arc::default();
            // The side whose clock is ahead names a time for which the other may still write events.
            let until = span.last().next().min(now.wall.min(self.clock.neighbours_wall(now.wall)).next());
            self.agreement.until = self.agreement.until.max(Some(until));
        } else {
            self.agreement.future = Some(true);
        }
    }

    /// Cancels further steps for `span`, and for all other spans, unless the two differ about the future or about more
    /// of the past. Then a paused repair of it is over, because the neighbour would not compare.
    fn rest_assured(&mut self, span: TimeSpan, now: Now) {
        let reach = TimeSpan::new(span.first(), span.last().after(self.grace())).unwrap_or(span);
        let settled = self.suspects.settle(reach);
        if Era::of(span) == Era::Future {
            return;
        }
        let differ = self.agreement.future == Some(false) || self.session.differs_after(span, self.grace());
        if differ || !settled {
            if self.session.is_active() && self.session.has_paused(now.steady, self.clock.round_trip) {
                self.end_session(now);
            }
            return;
        }
        if self.session.is_active() {
            if self.session.has_passed_over() {
                self.compare_again(now);
            }
            self.backfill.forget();
            self.common.coordinator.repaired(self.common.neighbour);
        }
        self.session.agreed();
    }

    fn note_difference(&mut self, span: TimeSpan, by: u64, now: Now) {
        let era = Era::of(span);
        self.compared.of_mut(era).agreed = AgreedRoots::default();
        self.agreement.differ(era, by, now.steady);
        if era == Era::Future {
            self.agreement.future = Some(false);
        }
    }

    /// Whether this side takes the step. The side that lacks events requests them, because it knows the outstanding
    /// ones. One side alone examines the spans in which both hold events.
    fn is_mine(&self, step: Step) -> bool {
        match step {
            Step::Ask(_) => !injected(Bug::NobodyActs),
            Step::Drill(_) | Step::List(_) => self.looks_into(),
            Step::Give(_) => false,
        }
    }

    /// Whether this side examines the differing spans in which both hold events.
    fn looks_into(&self) -> bool {
        (self.common.config.node < self.common.neighbour || injected(Bug::BothAct))
            && !injected(Bug::NobodyActs)
    }

    fn digest_is_fresh(&self, span: TimeSpan, now: Now) -> bool {
        // With distant clocks spans differ: the sent digest must be about the same time.
        let era = Era::of(span);
        let end = |span: TimeSpan| if era == Era::Past { span.last() } else { span.first() };
        let near =
            |sent: TimeSpan| end(sent).ahead_of(end(span)).max(end(span).ahead_of(end(sent))) <= self.grace();
        let is_fresh = |sent: DigestSent| sent.at + self.freshness() > now.steady && near(sent.span);
        self.compared.of(era).digest_sent.is_some_and(is_fresh)
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

    /// A time at which the neighbour must answer again: it treats its own digest as known while that is current. The
    /// time differs between the agents of a node.
    fn again_at(&mut self, now: Now) -> Duration {
        now.steady + self.freshness() + Duration::from_millis(self.random.next() % 50)
    }

    /// How long a sent digest counts as current.
    fn freshness(&self) -> Duration {
        DIGEST_FRESH.max(self.clock.round_trip * 4)
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
