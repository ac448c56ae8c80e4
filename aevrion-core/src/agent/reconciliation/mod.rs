//! The reconciliation: snapshots are compared, and each side pulls the events that it lacks.
//!
//! The side that lacks something asks. A comparison makes a [plan](plan::Plan); one question of it is open at a time,
//! and an answer ends it. So nothing is asked for twice, and nothing has to be remembered about events under way. The
//! side with the smaller id shows cells of its sketch, the other one makes the plan and tells the first side which
//! events that one lacks: it asks for them in the same way.
//!
//! ```text
//! snapshot ──▶ act: plan, tell ──▶ advance: question ──▶ (answer: the neighbour's part) ──▶ on_…: store, plan ──▶ …
//! ```
//!
//! Its interface is [`Reconciliation::handle`] and the few functions after it. From the broadcast it needs only the
//! events [in transit](InTransit), so that they are not taken for a difference.

mod agreement;
mod answer;
mod differing;
#[cfg(test)]
mod endless;
mod era;
mod lists;
mod outcome;
mod plan;
mod pull;
mod question;
mod schedule;
mod snapshot;
mod suspects;
mod walk;

use std::sync::Arc;
use std::time::Duration;

pub use agreement::{Agreement, CatchUp};
use era::{ByEra, Era};
use outcome::Outcome;
use plan::{Means, Plan, Wanted};
use question::Open;
use schedule::{InTurn, Reach, Schedule};
use snapshot::Compared;

use super::broadcast::InTransit;
use super::common::{ClockReading, Common, Missed};
use super::pace::Bucket;
use super::tolerance::Mistakes;
use super::{HandleError, Now, Output, ReplicaView};
use crate::bounds::{LISTED_AT_ONCE, LOCATOR_LEAF_BITS};
use crate::message::{EventList, Events, Listed, Message, NeedEvents, Nodes};
use crate::random::SplitMix64;
use crate::{Event, TimeSpan, Timestamp};

/// How long a burst of new events from a repair must be over before it causes a comparison of snapshots.
const SETTLE: Duration = Duration::from_millis(200);

/// How long after the last message of a repair a side counts as giving, and its neighbour as asking.
const GIVING: Duration = Duration::from_secs(1);

/// Differing spans kept for display.
const DIFFERENCES_SHOWN: usize = 16;

/// Differing blocks counted for display: more than a digest has.
const BLOCKS: usize = 512;

/// An input of the reconciliation.
#[derive(Debug)]
pub(super) enum Input {
    /// The handshake is over.
    Settled,
    /// A message of the neighbour that belongs to a comparison.
    Received(Message),
    /// A commit of repaired events is done, with so many new ones.
    Stored(u64),
    /// Compare everything, including the future and regardless of events in flight.
    Compare,
    /// The time of [`Reconciliation::wake_at`] is reached.
    Woken,
}

/// The state of the reconciliation with one neighbour.
#[derive(Debug)]
pub(super) struct Reconciliation {
    common: Arc<Common>,
    clock: ClockReading,
    random: SplitMix64,
    /// The time of the next comparison.
    schedule: Schedule,
    /// How often the neighbour may make this side compare.
    pace: Bucket,
    compared: ByEra<Compared>,
    plan: Plan,
    open: Option<Open>,
    /// When to try again to get the turn to repair.
    turn_at: Option<Duration>,
    /// Pending commits of repaired events.
    stores: u32,
    /// Whether the next question for stretches may go out before the events of the last one are stored.
    fetches_ahead: bool,
    /// Events listed in a question for stretches at most. It follows the size of the answers.
    listed_at_once: usize,
    /// The means of the running repair.
    means: Means,
    outcome: Outcome,
    /// Answers in a row that brought nothing and were not complete.
    idle: u32,
    /// When to compare after the neighbour was told of events that it lacks. It compares itself when it has them.
    told: Option<Duration>,
    /// Until when this side counts as giving.
    giving_until: Option<Duration>,
    /// The estimate of the differences from the last snapshot.
    apart: u64,
    /// This side's events in the span of that snapshot.
    among: u64,
    /// The beginning of the future in the last comparison of it.
    future_from: Option<Timestamp>,
    /// The end of the past that differed last.
    differ_until: Option<Timestamp>,
    /// Whether the next snapshot goes without cells: the two sides are equal most likely.
    in_short: bool,
    mistakes: Mistakes,
    agreement: Agreement,
    /// The spans that differed in the last comparison, latest first; empty in agreement.
    differences: Arc<[TimeSpan]>,
    /// Tree nodes of this side in the last comparison.
    digested: usize,
    /// The blocks that differed in the last comparison, and its era.
    era: Era,
    blocks: Vec<TimeSpan>,
}

impl Reconciliation {
    pub(super) fn new(common: Arc<Common>, random: SplitMix64) -> Self {
        Self {
            common,
            clock: ClockReading::UNKNOWN,
            random,
            schedule: Schedule::default(),
            pace: Bucket::default(),
            compared: ByEra::default(),
            plan: Plan::default(),
            open: None,
            turn_at: None,
            stores: 0,
            fetches_ahead: false,
            listed_at_once: LISTED_AT_ONCE / 4,
            means: Means::Cells,
            outcome: Outcome::default(),
            idle: 0,
            told: None,
            giving_until: None,
            apart: 0,
            among: 0,
            future_from: None,
            differ_until: None,
            in_short: false,
            mistakes: Mistakes::default(),
            agreement: Agreement::default(),
            differences: Arc::default(),
            digested: 0,
            era: Era::Past,
            blocks: Vec::new(),
        }
    }

    /// Handles an input. The broadcast reports the events `in_transit`. Reads for an answer are charged to the
    /// neighbour, reads for a question are not.
    ///
    /// # Errors
    /// [`HandleError`].
    pub(super) async fn handle(
        &mut self,
        input: Input,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let handled = self.on_input(input, now, in_transit, view).await;
        if matches!(handled, Err(HandleError::Read(_))) && self.open.is_none() {
            // The step is lost: a comparison finds what it was about.
            self.give_up(now);
        }
        handled
    }

    async fn on_input(
        &mut self,
        input: Input,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        match input {
            Input::Settled => {
                self.compare_soon(now.steady);
                self.schedule.tick(now.steady + self.until_tick(now.wall));
                Ok(Vec::new())
            }
            Input::Received(message) => self.receive(message, now, in_transit, view).await,
            Input::Stored(new) => {
                self.on_stored(new, now.steady);
                Ok(self.advance(now, view).await?)
            }
            Input::Compare => self.compare_now(now, view).await,
            Input::Woken => Ok(self.wake(now, view).await?),
        }
    }

    async fn receive(
        &mut self,
        message: Message,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let answer = match message {
            Message::Snapshot(snapshot) => return self.on_snapshot(snapshot, now, in_transit, view).await,
            // Answers to this side's questions.
            Message::Nodes(Nodes::Differing(differing)) => {
                return self.on_differing(differing, now, in_transit, view).await;
            }
            Message::EventList(EventList::Cells(cells)) => {
                return self.on_cells(cells, now, in_transit, view).await;
            }
            Message::Events(Events { reply, events }) => {
                return self.on_events(reply, events, now, view).await;
            }
            // The neighbour's questions.
            Message::Nodes(Nodes::Cover { span, digest, counts }) => {
                self.on_cover((span, digest, counts), now, view).await?
            }
            Message::Nodes(Nodes::Children { span, parents }) => {
                self.on_children((span, parents), now, view).await?
            }
            Message::NeedEvents(NeedEvents::Cells { span, from, len }) => {
                self.on_more_cells((span, from, len), now, view).await?
            }
            Message::EventList(EventList::Held(lists)) => self.on_held(lists, now, in_transit, view).await?,
            Message::NeedEvents(NeedEvents::Of(lists)) => self.on_requested(lists, now, view).await?,
            // What the neighbour tells.
            Message::EventList(EventList::Lacked(lists)) => {
                self.on_lacked(lists, now, in_transit);
                Vec::new()
            }
            Message::EventList(EventList::LackedIn(spans)) => {
                self.on_lacked_in(spans, now, in_transit);
                Vec::new()
            }
            // These belong to the other machines.
            Message::Hello(_)
            | Message::Push(_)
            | Message::EventList(EventList::Announced { .. })
            | Message::NeedEvents(NeedEvents::At(_)) => Vec::new(),
        };
        // The neighbour has acted on the cells that it was shown.
        (self.compared.past.cells_sent, self.compared.future.cells_sent) = (None, None);
        self.giving_until = Some(now.steady + GIVING);
        self.told = self.told.and(self.giving_until);
        Ok(answer.into_iter().chain(self.advance(now, view).await?).collect())
    }

    /// The neighbour's clock was measured again.
    pub(super) fn measured(&mut self, clock: ClockReading) {
        self.clock = clock;
    }

    /// Some events were not broadcast: a comparison finds them.
    pub(super) fn missed(&mut self, missed: Missed, now: Duration) {
        match missed {
            Missed::News | Missed::Announced => self.compare_soon(now),
            Missed::Burst => self.schedule.compare(now + SETTLE),
        }
        if missed != Missed::Announced {
            self.agreement.miss();
        }
    }

    /// A snapshot of the neighbour is not answered now. A comparison of this side answers it a little later.
    pub(super) fn answer_later(&mut self, now: Now) {
        self.compare_again(now);
    }

    /// Bytes of a long answer arrive, but no whole frame yet: this neighbour keeps its turn.
    pub(super) fn arriving(&mut self, now: Now) {
        if self.awaits() {
            self.repair(now);
        }
    }

    /// Whether a question is open.
    pub(super) fn awaits(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the minute has passed. Then a comparison is due with the next [`Input::Woken`], and the next minute begins.
    pub(super) fn ticks(&mut self, now: Now) -> bool {
        let ticks = self.schedule.ticks(now.steady);
        if ticks {
            self.schedule.tick(now.steady + self.until_tick(now.wall));
            self.outcome.tick();
        }
        ticks
    }

    /// When [`Input::Woken`] is due, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let planned = self.schedule.wake_at(self.is_busy());
        let turn = self.turn_at.filter(|_| self.open.is_none() && !self.plan.is_empty());
        let checks = self.outcome.suspects.are_there() && !self.is_busy();
        let check = checks.then(|| self.common.coordinator.checks_at());
        let told = self.told.filter(|_| !self.is_busy());
        [planned, turn, check, told, self.giving_until].into_iter().flatten().min()
    }

    /// Whether this side asks, stores, or has a plan.
    fn is_busy(&self) -> bool {
        self.awaits() || self.stores > 0 || !self.plan.is_empty()
    }

    /// Whether events are moving, in either direction.
    pub(super) fn is_repairing(&self) -> bool {
        self.is_busy() || self.giving_until.is_some()
    }

    pub(super) fn agreement(&self) -> Agreement {
        self.agreement
    }

    pub(super) fn differences(&self) -> &Arc<[TimeSpan]> {
        &self.differences
    }

    /// The number of pending questions and commits.
    #[cfg(feature = "testkit")]
    pub(super) fn open_ends(&self) -> usize {
        usize::from(self.awaits()) + self.stores as usize
    }

    /// Plans for events that the neighbour holds and this side lacks.
    fn hint(&mut self, wanted: Wanted, now: Now) {
        if !wanted.numbers.is_empty() {
            self.plan.want(wanted);
            self.begin_repair(now);
        }
    }

    /// The neighbour tells of events that this side lacks. Those on their way are left alone.
    fn on_lacked(&mut self, lists: Vec<Listed>, now: Now, in_transit: InTransit<'_>) {
        let leaves = in_transit.leaves(false, now.steady);
        for mut wanted in lists.into_iter().map(Wanted::all_of) {
            let shift = u32::from(wanted.bits).saturating_sub(LOCATOR_LEAF_BITS);
            let all = wanted.numbers.len();
            wanted.numbers.retain(|number| !leaves.holds_leaf(number >> shift));
            if wanted.numbers.len() < all {
                self.schedule.look_again(now.steady + self.grace());
            }
            let era = self.era_of(wanted.stretch.span);
            self.agreement.differ(era, wanted.numbers.len() as u64, now.steady);
            self.hint(wanted, now);
        }
    }

    /// The neighbour tells of spans in which this side lacks all events.
    fn on_lacked_in(&mut self, mut spans: Vec<TimeSpan>, now: Now, in_transit: InTransit<'_>) {
        spans.retain(|span| !in_transit.is_coming(*span));
        let Some(latest) = spans.first() else { return };
        let era = self.era_of(*latest);
        self.agreement.differ(era, 1, now.steady);
        self.agreement.compared(era, spans.len(), spans.len(), 0);
        self.show_differing(era, spans.clone());
        spans.iter().for_each(|span| self.outcome.suspects.list(*span));
        // Some of these events may be on their way into the store.
        self.fetches_ahead = false;
        differing::joined(spans).into_iter().for_each(|span| self.plan.fetch(span));
        self.begin_repair(now);
    }

    fn begin_repair(&mut self, now: Now) {
        self.outcome.begin();
        self.turn_at = Some(now.steady);
    }

    /// Goes on with the repair, and keeps the turn.
    fn repair(&mut self, now: Now) {
        self.outcome.go_on();
        self.common.coordinator.may_repair(self.common.neighbour, now.steady);
    }

    /// All questions are answered, and all events stored: a comparison tells whether anything is left.
    fn end_repair(&mut self, now: Now) {
        if !self.outcome.is_open() {
            return;
        }
        self.outcome.end();
        self.common.coordinator.repaired(self.common.neighbour);
        self.in_short |= self.outcome.has_moved();
        match self.told {
            Some(_) => {}
            None if self.outcome.has_moved() => self.schedule.compare_by(now.steady),
            // The neighbour takes its cells for current.
            None => self.compare_again(now),
        }
    }

    /// Drops the plan. A comparison makes another one, a little later.
    fn give_up(&mut self, now: Now) {
        self.plan.clear();
        self.open = None;
        self.outcome.end();
        self.idle = 0;
        self.told = None;
        self.common.coordinator.repaired(self.common.neighbour);
        self.schedule.compare(now.steady + GIVING);
    }

    /// Notes events sent in an answer.
    fn gave(&mut self, events: &[Event], now: Now) {
        let count = events.len() as u64;
        self.outcome.moved(count);
        self.agreement.sent(count);
        self.agreement.carried(events);
        self.giving_until = Some(now.steady + GIVING);
    }

    fn on_stored(&mut self, new: u64, now: Duration) {
        self.stores = self.stores.saturating_sub(1);
        self.outcome.moved(new);
        if self.outcome.is_open() {
            self.common.coordinator.may_repair(self.common.neighbour, now);
        }
        self.agreement.received(new);
    }

    async fn compare_now(&mut self, now: Now, view: &impl ReplicaView) -> Result<Vec<Output>, HandleError> {
        self.outcome.forget();
        if self.is_busy() {
            // A repair ends with a comparison.
            self.schedule.reach_everything();
            return Ok(Vec::new());
        }
        Ok(self.compare(now, view, Reach::Everything).await?)
    }

    async fn wake(&mut self, now: Now, view: &impl ReplicaView) -> Result<Vec<Output>, crate::ReadError> {
        self.giving_until = self.giving_until.filter(|until| now.steady < *until);
        let mut outputs = Vec::new();
        if self.turn_at.take_if(|at| *at <= now.steady).is_some() {
            outputs = self.advance(now, view).await?;
        }
        if !self.is_busy() && self.told.take_if(|at| *at <= now.steady).is_some() {
            self.schedule.compare_by(now.steady);
        }
        self.check_suspects(now, view).await?;
        let Common { coordinator, neighbour, .. } = &*self.common;
        match self.schedule.due(now.steady).filter(|_| !self.is_busy()) {
            None => {}
            Some(InTurn(true)) if !coordinator.is_free_for(*neighbour, now.steady) => self.compare_again(now),
            Some(_) => {
                let reach = self.schedule.compared();
                let snapshots = self.compare(now, view, reach).await;
                if snapshots.is_err() && reach == Reach::Everything {
                    self.schedule.reach_everything();
                }
                outputs.extend(snapshots?);
            }
        }
        Ok(outputs)
    }

    /// The era of a part of a compared span.
    fn era_of(&self, part: TimeSpan) -> Era {
        let is_future = part.first() > Timestamp::MIN
            && (part.last() == Timestamp::MAX || self.future_from.is_some_and(|from| from <= part.first()));
        if is_future { Era::Future } else { Era::Past }
    }

    /// Shows these spans as differing.
    fn show_differing(&mut self, era: Era, mut spans: Vec<TimeSpan>) {
        self.era = era;
        spans.sort_unstable_by_key(|span| std::cmp::Reverse(*span));
        spans.truncate(BLOCKS);
        self.blocks = spans;
        self.differences = self.blocks.iter().take(DIFFERENCES_SHOWN).copied().collect();
    }
}
