//! The agent: the protocol state machine for one neighbour.
//!
//! It consists of three machines; `common` is their only shared state. The `handshake` checks compatibility and
//! measures the clock offset; the `broadcast` carries new events; the `reconciliation` compares all of history and
//! repairs differences. [`Agent::handle`] takes an [`Input`], gives it to its machine and returns [`Output`]s.
//! [`Agent`] states the order of calls.
//!
//! The agent does no input or output of its own. Time comes in as a [`Now`], randomness as a seed, the replica as a
//! [`ReplicaView`]. Reads of the replica are `async`; no function waits for the network. So a thousand agents run in
//! one process under one clock, and every failure replays from its seed.

mod broadcast;
mod budget;
mod clocks;
mod common;
mod coordinator;
mod driver;
mod fault;
mod handshake;
mod metered;
mod outgoing;
mod pace;
mod progress;
mod reconciliation;
mod replica_view;
mod sources;
mod stall;
mod tolerance;

use std::sync::Arc;
use std::time::Duration;

use broadcast::Broadcast;
pub use budget::Budget;
pub use clocks::SAMPLES;
use common::{Common, Missed};
#[cfg(feature = "testkit")]
pub(crate) use coordinator::CHECK_EVERY;
pub use coordinator::RepairCoordinator;
use driver::Driver;
#[cfg(feature = "testkit")]
pub(crate) use driver::PAUSE;
pub use driver::{AgentError, ByLane, Input, LineState, most_waiting};
pub use fault::{Fault, Incompatible};
use handshake::Handshake;
pub use handshake::Introduction;
pub(crate) use handshake::hello;
use metered::Metered;
pub use pace::Rate;
pub use progress::{Activity, Progress};
use reconciliation::Reconciliation;
pub use reconciliation::{Agreement, CatchUp};
pub use replica_view::{CheckedHashes, ReplicaView, Walked};
pub use stall::StallTimeouts;

use crate::message::{EventList, Events, Message, NeedEvents, Reply, Snapshot};
pub use crate::news::{NewEvent, Origin};
use crate::random::SplitMix64;
use crate::transport::Lane;
use crate::tree::Shape;
use crate::{Event, Incarnation, NodeId, Parameters, ReadError, Timestamp};

/// The current time, as given to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since a fixed origin. All timeouts use it.
    pub steady: Duration,
    /// Wall-clock time. It may jump.
    pub wall: Timestamp,
}

/// An action of the agent. The caller carries them out in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a message to the neighbour.
    Send(Lane, Message),
    /// Store these events; [`Input::Stored`] reports the end.
    Store(Vec<Event>, Origin),
}

/// An error that interrupts the agent.
#[derive(Debug, thiserror::Error)]
enum HandleError {
    /// The neighbour is at fault: the connection must be closed with this reason. The agent cannot be used any more.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The replica could not be read. No answer was sent; the agent goes on with the next input.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// This node.
    pub node: NodeId,
    /// The incarnation of its store: new with each opening.
    pub incarnation: Incarnation,
    /// Known listen addresses of this node: at most [`LISTENS`](crate::bounds::LISTENS).
    pub listens: Vec<String>,
    /// The parameters of the cluster.
    pub parameters: Parameters,
    /// The synchronised space.
    pub space: String,
    /// Least age of the events in a snapshot: younger events may still be in flight.
    pub grace: Duration,
    /// Largest clock offset without an alarm.
    pub max_drift: Duration,
    /// Largest pushed event, in bytes of key and value. Larger events are announced.
    pub pushed: usize,
    /// Timeouts for a silent or stalled neighbour.
    pub timeouts: StallTimeouts,
}

/// The protocol state machine for one neighbour. See the [module](self).
///
/// **The order of calls.** [`Input::Connected`] comes first, [`Agent::disconnected`] last. In between come all other
/// inputs in any order, and [`Input::Woken`] at [`Agent::wake_at`]. The caller carries out all outputs, in order,
/// before the next input. It takes frames off the lanes only while [`Agent::reads`], and new events off the feed only
/// while [`Agent::takes_news`]. Unread frames hold the neighbour back; a comparison finds events lost from the feed.
/// Each call gets the current [`LineState`]. After each Hello and each [`Input::Woken`] the caller passes
/// [`Input::Conflict`].
pub struct Agent {
    common: Arc<Common>,
    driver: Driver,
    handshake: Handshake,
    broadcast: Broadcast,
    reconciliation: Reconciliation,
}

impl Agent {
    /// An agent for the connection to `neighbour`. `seed` is the source of its randomness (salts of lists); all agents
    /// of the node share the `coordinator`.
    pub fn new(
        config: AgentConfig,
        neighbour: NodeId,
        coordinator: Arc<RepairCoordinator>,
        seed: u64,
    ) -> Self {
        let shape = Shape::new(&config.parameters);
        let common = Arc::new(Common { config, shape, neighbour, coordinator });
        Self {
            driver: Driver::new(&common.config),
            handshake: Handshake::new(Arc::clone(&common)),
            broadcast: Broadcast::new(Arc::clone(&common)),
            reconciliation: Reconciliation::new(Arc::clone(&common), SplitMix64::new(seed)),
            common,
        }
    }

    /// Gives a message to its machine.
    async fn on_message(
        &mut self,
        message: Message,
        now: Now,
        room_for_large: bool,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        use broadcast::Input as News;
        use reconciliation::Input as Repair;
        if !matches!(message, Message::Hello(_)) && !self.handshake.measured_enough() {
            return Err(Fault::Unsettled(message.name()).into());
        }
        if let Some(outputs) = self.refuse_beyond_budget(&message, now) {
            return Ok(outputs);
        }
        match message {
            Message::Hello(hello) => {
                let was_settled = self.is_settled();
                let answer = self.handshake.handle(hello, now)?;
                self.broadcast.measured(self.handshake.clock());
                self.reconciliation.measured(self.handshake.clock());
                let mut outputs: Vec<_> = answer.into_iter().collect();
                if !was_settled && self.is_settled() {
                    outputs.extend(self.reconcile(Repair::Settled, now, view).await?);
                }
                Ok(outputs)
            }
            Message::Push(push) => self.spread(News::Push(push), now, view).await,
            Message::EventList(EventList::Announced { source, event_keys }) => {
                self.spread(News::Announced { source, event_keys }, now, view).await
            }
            Message::NeedEvents(NeedEvents::At(event_keys)) => {
                self.spread(News::Requested { event_keys, room_for_large }, now, view).await
            }
            Message::Events(Events { reply: Reply::At { more }, events }) => {
                self.spread(News::Delivered { events, more }, now, view).await
            }
            message => self.reconcile(Repair::Received(message), now, view).await,
        }
    }

    /// Gives an input to the broadcast, and reports its losses to the reconciliation.
    async fn spread(
        &mut self,
        input: broadcast::Input,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let view = &Metered::new(view, &self.common, now);
        let effects = self.broadcast.handle(input, now, view).await?;
        if let Some(missed) = effects.missed {
            self.reconciliation.missed(missed, now.steady);
        }
        Ok(effects.outputs)
    }

    /// Gives an input to the reconciliation. A snapshot is sent after the announcements of its events.
    async fn reconcile(
        &mut self,
        input: reconciliation::Input,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let in_transit = self.broadcast.in_transit();
        // On the heap: its state is large, and callers nest it.
        let repair = Box::pin(self.reconciliation.handle(input, now, in_transit, view)).await;
        self.broadcast.agreed(self.reconciliation.agreement().until);
        let repair = repair?;
        let compares = repair.iter().any(|output| match output {
            // The bare answer of an agreement says nothing new.
            Output::Send(_, Message::Snapshot(Snapshot { cells, answer, .. })) => *answer || cells.is_some(),
            Output::Send(..) | Output::Store(..) => false,
        });
        let mut outputs = if compares { self.broadcast.announce() } else { Vec::new() };
        outputs.extend(repair);
        Ok(outputs)
    }

    /// The refusal of a question while the neighbour's budget is used up; `None` to handle the message.
    fn refuse_beyond_budget(&mut self, message: &Message, now: Now) -> Option<Vec<Output>> {
        let Common { coordinator, neighbour, .. } = &*self.common;
        coordinator.budgets.used_up_until(*neighbour, now.steady)?;
        let outputs = match message {
            // One comparison of this side answers them all.
            Message::Snapshot(_) => {
                self.reconciliation.answer_later(now);
                Vec::new()
            }
            Message::EventList(EventList::Announced { .. }) => {
                self.reconciliation.missed(Missed::Announced, now.steady);
                Vec::new()
            }
            message => driver::decline(message)?,
        };
        coordinator.budgets.decline(*neighbour, now.steady);
        Some(outputs)
    }

    /// A commit is done; `new` counts its new events.
    async fn stored(
        &mut self,
        new: u64,
        origin: Origin,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        match origin {
            Origin::Repaired(_) => self.reconcile(reconciliation::Input::Stored(new), now, view).await,
            Origin::Local | Origin::Pushed(_) => self.spread(broadcast::Input::Stored, now, view).await,
        }
    }

    /// The Hello of the minute, if it is due.
    fn tick(&mut self, now: Now) -> Option<Output> {
        (self.is_settled() && self.reconciliation.ticks(now)).then(|| self.handshake.start(now))
    }

    /// Runs the due timers.
    async fn wake(&mut self, now: Now, view: &impl ReplicaView) -> Result<Vec<Output>, HandleError> {
        if !self.is_settled() {
            return Ok(Vec::new());
        }
        let mut outputs = self.spread(broadcast::Input::Woken, now, view).await?;
        outputs.extend(self.reconcile(reconciliation::Input::Woken, now, view).await?);
        Ok(outputs)
    }

    /// The next time [`Agent::wake`] is due without other input.
    fn due_at(&self) -> Option<Duration> {
        let due = [self.broadcast.wake_at(), self.reconciliation.wake_at()];
        due.into_iter().flatten().min().filter(|_| self.is_settled())
    }

    /// Whether an answer to a question of the repair lane is awaited.
    fn awaits_answer(&self) -> bool {
        self.reconciliation.awaits()
    }

    /// Bytes of a long answer arrive, but no whole frame yet: the neighbour is not silent.
    fn arriving(&mut self, now: Now) {
        self.reconciliation.arriving(now);
        self.broadcast.arriving(now.steady);
    }

    /// The feed overflowed: a comparison finds the lost events.
    fn overflowed(&mut self, now: Now) {
        self.broadcast.drop_announcements();
        self.reconciliation.missed(Missed::News, now.steady);
    }

    /// The connection is over: other neighbours may be asked for the events requested here.
    pub fn disconnected(&mut self) {
        let unanswered = self.broadcast.end();
        self.common.coordinator.leave(self.common.neighbour, &unanswered);
    }

    /// Whether data may flow: both sides have measured the other's clock.
    pub fn is_settled(&self) -> bool {
        self.handshake.is_settled()
    }

    /// The neighbour's id.
    pub fn neighbour(&self) -> NodeId {
        self.common.neighbour
    }

    /// The neighbour's introduction, from its last Hello.
    pub fn introduction(&self) -> Option<&Introduction> {
        self.handshake.introduction()
    }

    /// The progress with the neighbour.
    pub fn progress(&self) -> Progress {
        let activity = if !self.is_settled() {
            Activity::Settling
        } else if self.reconciliation.is_repairing() {
            Activity::Repairing
        } else {
            Activity::Idle
        };
        Progress {
            activity,
            incarnation: self.introduction().map(|introduction| introduction.incarnation),
            clock_offset: self.handshake.clock().offset,
            round_trip: self.handshake.clock().round_trip,
            agreement: self.reconciliation.agreement(),
            differences: Arc::clone(self.reconciliation.differences()),
        }
    }

    /// Pending requests and announcements: none when both sides agree and idle.
    #[cfg(feature = "testkit")]
    pub(crate) fn open_ends(&self) -> usize {
        self.broadcast.open_ends() + self.reconciliation.open_ends()
    }
}
