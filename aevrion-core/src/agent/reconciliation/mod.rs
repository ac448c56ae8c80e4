//! The reconciliation: snapshots are compared, and differences repaired.
//!
//! Repair is a chain reaction of messages: there is no mode and no session script, and a side that falls silent in the
//! middle has broken nothing. When snapshots differ, each side asks for the spans in which it holds nothing, and the one
//! with the smaller id looks into those in which both hold something: otherwise both would repair the same difference at
//! once. The other side learns the rest from a snapshot. No events are sent unasked: only the asker knows what it waits
//! for.
//!
//! Its edge is [`Reconciliation::handle`] and the few functions after it. From the broadcast it needs one thing: which
//! events are [in transit](InTransit), so that they are not taken for drift.

mod agreement;
mod backfill;
mod compare;
#[cfg(test)]
mod endless;
mod era;
mod partitions;
mod repair;
mod response;
mod schedule;
mod session;
mod snapshot;
mod spans;
mod suspects;
mod want_list;

use std::sync::Arc;
use std::time::Duration;

pub use agreement::{Agreement, CatchUp};
use backfill::Backfill;
use era::{ByEra, Era};
use partitions::PartitionCursor;
use schedule::{InTurn, Reach, Schedule};
pub(super) use session::PATIENCE;
use session::RepairSession;
use snapshot::Compared;
use suspects::Suspects;
use want_list::WantList;

use super::broadcast::{InTransit, Missed};
use super::common::{ClockReading, Common};
use super::pace::Bucket;
use super::random::Random;
use super::tolerance::{Latecomers, Mistakes};
use super::{HandleError, Now, Output, ReplicaView};
use crate::message::{Listed, Nodes, Snapshot};
use crate::{Event, TimeSpan};

/// How long a burst of news from a repair has to be over before snapshots are compared because of it.
const SETTLE: Duration = Duration::from_millis(200);

/// What happens to the reconciliation.
#[derive(Debug)]
pub(super) enum Input {
    /// The handshake is over.
    Settled,
    /// The neighbour's state of a span.
    Snapshot(Snapshot),
    /// The neighbour's children of tree nodes that differ.
    Nodes(Nodes),
    /// The ids that the neighbour holds.
    Listed(Vec<Listed>),
    /// The neighbour wants events by the ids that this side listed.
    Requested(Vec<Listed>),
    /// Events that this side wanted by the ids that the neighbour listed. `more` of them may be had, and this is the
    /// `last` frame of the answer.
    Delivered { events: Vec<Event>, more: bool, last: bool },
    /// Events of a span that this side lacked. The neighbour holds more in `rest`; this is the `last` frame of the answer.
    Block { span: TimeSpan, rest: Option<TimeSpan>, last: bool, events: Vec<Event> },
    /// A store of repaired events is done: so many were new.
    Stored(u64),
    /// A store of broadcast events is done.
    NewsStored,
    /// Compare everything, the future included and without regard to what is in flight.
    Compare,
    /// The time of [`Reconciliation::wake_at`] has come.
    Woken,
}

/// The state of the reconciliation with one neighbour.
#[derive(Debug)]
pub(super) struct Reconciliation {
    common: Arc<Common>,
    clock: ClockReading,
    random: Random,
    /// When snapshots are compared next.
    schedule: Schedule,
    /// How often the neighbour may make this side compare.
    pace: Bucket,
    compared: ByEra<Compared>,
    session: RepairSession,
    /// Events asked for because a list named them.
    want_list: WantList,
    /// Events that repairs bring.
    backfill: Backfill,
    /// Where the listing of a span with many events goes on.
    cursor: PartitionCursor,
    /// Where stored hashes may be wrong.
    suspects: Suspects,
    latecomers: Latecomers,
    mistakes: Mistakes,
    agreement: Agreement,
    /// Where the last digest differed, the latest first; nothing in agreement.
    differences: Arc<[TimeSpan]>,
}

impl Reconciliation {
    pub(super) fn new(common: Arc<Common>, random: Random) -> Self {
        Self {
            common,
            clock: ClockReading::UNKNOWN,
            random,
            schedule: Schedule::default(),
            pace: Bucket::default(),
            compared: ByEra::default(),
            session: RepairSession::default(),
            want_list: WantList::default(),
            backfill: Backfill::default(),
            cursor: PartitionCursor::default(),
            suspects: Suspects::default(),
            latecomers: Latecomers::default(),
            mistakes: Mistakes::default(),
            agreement: Agreement::default(),
            differences: Arc::default(),
        }
    }

    /// Takes what has happened. `in_transit` is what the broadcast knows to be on its way.
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
        match input {
            Input::Settled => {
                self.compare_soon(now.steady);
                self.schedule.tick(now.steady + self.until_tick(now.wall));
                Ok(Vec::new())
            }
            Input::Snapshot(snapshot) => self.on_snapshot(snapshot, now, in_transit, view).await,
            Input::Nodes(nodes) => self.on_nodes(nodes, now, view).await,
            Input::Listed(lists) => self.on_lists(lists, now, in_transit, view).await,
            Input::Requested(lists) => self.on_wished(&lists, now, view).await,
            Input::Delivered { events, more, last } => {
                self.on_wished_events(events, (more, last), now, view).await
            }
            Input::Block { span, rest, last, events } => {
                self.on_block((span, rest, last), events, now, view).await
            }
            Input::Stored(new) => {
                self.on_stored(new, now.steady);
                Ok(self.go_on(now, view).await?)
            }
            Input::NewsStored => Ok(self.go_on(now, view).await?),
            Input::Compare => self.compare_now(now, view).await,
            Input::Woken => Ok(self.wake(now, view).await?),
        }
    }

    /// The neighbour's clock was measured again.
    pub(super) fn measured(&mut self, clock: ClockReading) {
        self.clock = clock;
    }

    /// Something was not broadcast: a comparison finds it.
    pub(super) fn missed(&mut self, missed: Missed, now: Duration) {
        match missed {
            Missed::News | Missed::Announced => self.compare_soon(now),
            Missed::Burst => self.schedule.compare(now + SETTLE),
        }
        if missed != Missed::Announced {
            self.agreement.miss();
        }
    }

    /// A snapshot of the neighbour is not answered now. A comparison of this side, a little later, answers it.
    pub(super) fn answer_later(&mut self, now: Now) {
        self.compare_again(now);
    }

    /// Bytes of a long answer arrive, though no whole frame. A repeated question would bring the same events twice.
    pub(super) fn arriving(&mut self, now: Now) {
        if self.session.awaits() {
            self.join_repair(now);
        }
    }

    /// Whether the tick of a minute has come with this [`Input::Woken`]: then the neighbour is greeted, too.
    pub(super) fn ticks(&self, now: Duration) -> bool {
        self.schedule.is_tick(now)
    }

    /// When [`Input::Woken`] is due, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let quiet = self.session.quiet_at(self.clock.round_trip).filter(|_| self.backfill.stores() == 0);
        let planned = self.schedule.wake_at(self.session.is_active());
        let checks = self.suspects.are_there() && !self.session.is_active();
        let check = checks.then(|| self.common.coordinator.checks_at());
        [quiet, planned, check].into_iter().flatten().min()
    }

    /// Whether a repair is under way.
    pub(super) fn is_repairing(&self) -> bool {
        self.session.is_active() || self.backfill.stores() > 0
    }

    pub(super) fn agreement(&self) -> Agreement {
        self.agreement
    }

    pub(super) fn differences(&self) -> &Arc<[TimeSpan]> {
        &self.differences
    }

    /// Questions and stores that wait for something.
    #[cfg(feature = "testkit")]
    pub(super) fn open_ends(&self) -> usize {
        self.want_list.len() + self.backfill.stores() as usize
    }

    fn on_stored(&mut self, new: u64, now: Duration) {
        self.backfill.stored();
        self.session.received(new);
        self.session.heard(now);
        self.common.coordinator.may_repair(self.common.neighbour, now);
        self.agreement.received(new);
    }

    async fn compare_now(&mut self, now: Now, view: &impl ReplicaView) -> Result<Vec<Output>, HandleError> {
        if self.session.is_active() {
            // A repair ends with a comparison; this has it ask about the future, too.
            self.agreement.future = Some(false);
            return Ok(Vec::new());
        }
        self.session.begin_anew();
        self.compare(now, view, Reach::Everything).await
    }

    async fn wake(&mut self, now: Now, view: &impl ReplicaView) -> Result<Vec<Output>, HandleError> {
        let quiet_at = self.session.quiet_at(self.clock.round_trip);
        if quiet_at.is_some_and(|at| at <= now.steady) && self.backfill.stores() == 0 {
            self.end_of_exchange(now);
        }
        self.check_suspects(now, view).await?;
        if self.schedule.ticks(now.steady) {
            self.schedule.tick(now.steady + self.until_tick(now.wall));
            self.session.retry();
        }
        let Common { coordinator, neighbour, .. } = &*self.common;
        let used_up = coordinator.budgets.used_up_until(*neighbour, now.steady);
        match self.schedule.due(now.steady).filter(|_| !self.session.is_active()) {
            None => {}
            Some(_) if used_up.is_some() => self.schedule.put_off(used_up.unwrap_or(now.steady)),
            Some(InTurn(true)) if !coordinator.is_free_for(*neighbour, now.steady) => self.compare_again(now),
            Some(_) => {
                let reach = self.schedule.compared();
                return self.compare(now, view, reach).await;
            }
        }
        Ok(Vec::new())
    }
}
