//! The reconciliation: snapshots are compared, and differences repaired.
//!
//! Repair is a chain of messages: there is no mode and no session script, and a side that falls silent in the middle
//! breaks nothing. When snapshots differ, each side requests the spans in which it holds nothing. The side with the
//! smaller id examines the spans in which both hold events: otherwise both would repair the same difference at once.
//! The other side learns the rest from a snapshot. No events are sent unasked: only the asker knows its outstanding
//! requests.
//!
//! Its interface is [`Reconciliation::handle`] and the few functions after it. From the broadcast it needs only the
//! events [in transit](InTransit), so that they are not taken for a difference.

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
use session::RepairSession;
use snapshot::Compared;
use suspects::Suspects;
use want_list::WantList;

use super::broadcast::InTransit;
use super::common::{ClockReading, Common, Missed};
use super::pace::Bucket;
use super::tolerance::{Latecomers, Mistakes};
use super::{HandleError, Now, Output, ReplicaView};
use crate::message::{Listed, Nodes, Snapshot};
use crate::random::SplitMix64;
use crate::{Event, TimeSpan};

/// How long a burst of new events from a repair must be over before it causes a comparison of snapshots.
const SETTLE: Duration = Duration::from_millis(200);

/// An input of the reconciliation.
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
    /// The neighbour requests events by the ids that this side listed.
    Requested(Vec<Listed>),
    /// Events requested by the ids that the neighbour listed. `more`: the neighbour has more of them. `last`: this is
    /// the last frame of the answer.
    Delivered { events: Vec<Event>, more: bool, last: bool },
    /// Events of a span that this side lacked. The neighbour holds more in `rest`; this is the `last` frame of the
    /// answer.
    Block { span: TimeSpan, rest: Option<TimeSpan>, last: bool, events: Vec<Event> },
    /// A commit of repaired events is done, with so many new ones.
    Stored(u64),
    /// A commit of broadcast events is done.
    NewsStored,
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
    session: RepairSession,
    /// Events requested from lists of the neighbour.
    want_list: WantList,
    /// The requested spans, and the commits of their events.
    backfill: Backfill,
    /// The position in the listing of a span with many events.
    cursor: PartitionCursor,
    /// Spans in which stored hashes may be wrong.
    suspects: Suspects,
    latecomers: Latecomers,
    mistakes: Mistakes,
    agreement: Agreement,
    /// The spans that differed in the last digest, latest first; empty in agreement.
    differences: Arc<[TimeSpan]>,
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

    /// Handles an input. The broadcast reports the events `in_transit`.
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
            Input::Requested(lists) => self.on_requested(&lists, now, view).await,
            Input::Delivered { events, more, last } => {
                self.on_requested_events(events, (more, last), now, view).await
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

    /// Bytes of a long answer arrive, but no whole frame yet. A repeated question would bring the same events twice.
    pub(super) fn arriving(&mut self, now: Now) {
        if self.session.awaits() {
            self.join_repair(now);
        }
    }

    /// Whether the tick of the minute comes with this [`Input::Woken`]: then a Hello is sent, too.
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

    /// Whether a repair is running.
    pub(super) fn is_repairing(&self) -> bool {
        self.session.is_active() || self.backfill.stores() > 0
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
            // A repair ends with a comparison; this makes it include the future.
            self.agreement.future = Some(false);
            return Ok(Vec::new());
        }
        self.session.begin_anew();
        self.compare(now, view, Reach::Everything).await
    }

    async fn wake(&mut self, now: Now, view: &impl ReplicaView) -> Result<Vec<Output>, HandleError> {
        let quiet_at = self.session.quiet_at(self.clock.round_trip);
        if quiet_at.is_some_and(|at| at <= now.steady) && self.backfill.stores() == 0 {
            self.end_session(now);
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
