//! The driver: all logic between decoded frames on one side, and the store and the link on the other.
//!
//! The caller passes in [`Input`]s and carries out the returned [`Output`]s; on an [`AgentError`] it closes the
//! connection. The driver decides when a snapshot waits for earlier events, how far to read ahead, how to handle a full
//! lane, which errors are the neighbour's fault, and how long it may be silent. So a server, a simulation and a test
//! are three short loops around the same machine.

use std::time::Duration;

use super::broadcast;
use super::outgoing::send_repair;
use super::reconciliation;
use super::stall::{LastReceived, PendingReply};
use super::{Agent, AgentConfig, Fault, HandleError, NewEvent, Now, Origin, Output, ReplicaView};
use crate::bounds::{LANE_BYTES, STORES_AT_ONCE};
use crate::message::{End, EventList, Events, Message, NeedEvents, Nodes, Reply, longest_frame};
use crate::transport::Lane;
use crate::{EventKey, Parameters, ReadError, Timestamp, WriteError};

/// Timeout of the handshake.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// Pause after a failed read or write of the replica.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// An input of an agent.
#[derive(Debug)]
pub enum Input {
    /// The connection is established.
    Connected,
    /// A message was received on this lane.
    Received(Lane, Message),
    /// An [`Output::Store`] of this origin is done, with its number of new events.
    Stored(Origin, Result<u64, WriteError>),
    /// Events are new on this node, and durable.
    News(Vec<NewEvent>),
    /// There was more news than could be told.
    NewsMissed,
    /// The complete current list of damaged events on this node.
    Damaged(Vec<EventKey>),
    /// Compare everything until this moment, and everything after it.
    Compare(Timestamp),
    /// The address of another machine with the neighbour's identity, if one was met.
    Conflict(Option<String>),
    /// The transport has not taken a frame within [`StallTimeouts::stalled`](super::StallTimeouts::stalled).
    Stalled,
    /// The time of [`Agent::wake_at`] has come.
    Woken,
}

/// One value for each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByLane<T> {
    /// Of [`Lane::Live`].
    pub live: T,
    /// Of [`Lane::Repair`].
    pub repair: T,
}

impl<T> ByLane<T> {
    /// The value of a lane.
    pub fn of(self, lane: Lane) -> T {
        match lane {
            Lane::Live => self.live,
            Lane::Repair => self.repair,
        }
    }

    /// Borrows both values.
    pub fn as_ref(&self) -> ByLane<&T> {
        ByLane { live: &self.live, repair: &self.repair }
    }
}

/// The state of the link to the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineState {
    /// Whether another answer may be queued.
    pub has_room: ByLane<bool>,
    /// Whether more than [`most_waiting`] waits on a lane.
    pub is_overfull: bool,
    /// Whether received frames wait to be read.
    pub unread: ByLane<bool>,
    /// Bytes received so far, including those of incomplete frames.
    pub received: u64,
}

impl LineState {
    /// A link without any backlog.
    pub const IDLE: Self = Self {
        has_room: ByLane { live: true, repair: true },
        is_overfull: false,
        unread: ByLane { live: false, repair: false },
        received: 0,
    };
}

/// The close reason of a connection. The agent cannot be used any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The neighbour misbehaved, or does not fit.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The neighbour is silent: not even its Hello of each minute came.
    #[error("it says nothing any more")]
    Silent,
    /// The neighbour has not answered a question, although its line was free.
    #[error("it does not answer")]
    DoesNotAnswer,
    /// The neighbour makes this node queue more and more without reading, or reads almost nothing for too long.
    #[error("it does not read what it is sent")]
    DoesNotRead,
    /// The handshake took too long.
    #[error("the clocks were not settled within {} seconds", SETTLE_WITHIN.as_secs())]
    NotSettled,
    /// The neighbour's certificate has expired. It may have another one by now.
    #[error("its certificate has run out: it has to show a new one")]
    Expired,
    /// The replica was closed.
    #[error("this node ended the connection")]
    Closed,
}

/// The state of the driver.
#[derive(Debug)]
pub(super) struct Driver {
    /// Expiry of the neighbour's proof of identity. The connection ends then, too.
    proven_until: Option<Duration>,
    connected_at: Duration,
    /// Running commits.
    stores: usize,
    /// A snapshot that waits for the commits of earlier events.
    held: Option<Message>,
    /// Whether a large event may be put on the repair lane.
    room_for_large: bool,
    /// End of the pause after a failure of the replica.
    paused_until: Option<Duration>,
    last_received: LastReceived,
    pending_reply: PendingReply,
    /// Timeout of the longest frame.
    longest: Duration,
    /// Unanswered questions, and rests not asked for, because a lane was full.
    shed: u64,
}

impl Driver {
    pub(super) fn new(config: &AgentConfig) -> Self {
        Self {
            proven_until: None,
            connected_at: Duration::ZERO,
            stores: 0,
            held: None,
            room_for_large: true,
            paused_until: None,
            last_received: LastReceived::default(),
            pending_reply: PendingReply::default(),
            longest: config.timeouts.time_for(longest_frame(&config.parameters)),
            shed: 0,
        }
    }
}

impl Agent {
    /// Sets the expiry of the neighbour's proof of identity, as a [`Now::steady`].
    pub fn proven_until(mut self, until: Duration) -> Self {
        self.driver.proven_until = Some(until);
        self
    }

    /// Takes an input and returns the outputs for it.
    ///
    /// # Errors
    /// [`AgentError`]: the connection must be closed with this reason.
    pub async fn handle(
        &mut self,
        input: Input,
        now: Now,
        line: LineState,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, AgentError> {
        if line.is_overfull {
            return Err(AgentError::DoesNotRead);
        }
        let awaited = self.awaits_answer();
        let outputs = match input {
            Input::Stalled => return Err(AgentError::DoesNotRead),
            Input::Connected => {
                self.driver.connected_at = now.steady;
                self.driver.last_received = LastReceived::at(now.steady, line.received);
                vec![self.handshake.start(now)]
            }
            Input::Received(lane, message) => self.receive(lane, message, now, line, view).await?,
            Input::Stored(origin, outcome) => self.finish_store(origin, outcome, now, view).await?,
            // The first comparison finds new events from before the end of the handshake.
            Input::News(_) | Input::Compare(_) if !self.is_settled() => Vec::new(),
            Input::News(news) => {
                let outputs = self.spread(broadcast::Input::News(news), now, view).await;
                self.or_pause(outputs, now)?.unwrap_or_default()
            }
            Input::NewsMissed => {
                self.overflowed(now);
                Vec::new()
            }
            Input::Damaged(event_keys) => {
                let outputs = self.spread(broadcast::Input::Damaged(event_keys), now, view).await;
                self.or_pause(outputs, now)?.unwrap_or_default()
            }
            Input::Compare(wall) => {
                let at = Now { wall, ..now };
                let outputs = self.reconcile(reconciliation::Input::Compare, at, view).await;
                self.or_pause(outputs, now)?.unwrap_or_default()
            }
            Input::Conflict(there) => self.handshake.tell_conflict(there, now).into_iter().collect(),
            Input::Woken => self.woken(now, line, view).await?,
        };
        for output in &outputs {
            match output {
                Output::Send(..) => {}
                Output::Store(..) => self.driver.stores += 1,
            }
        }
        if self.awaits_answer() && !awaited {
            self.driver.pending_reply = PendingReply::at(now.steady, line.received);
        }
        Ok(outputs)
    }

    /// Whether the caller may read frames: not while the disk lags behind, nor past a snapshot that waits for it.
    pub fn reads(&self, now: Duration) -> bool {
        let Driver { stores, held, paused_until, .. } = &self.driver;
        *stores < STORES_AT_ONCE && held.is_none() && paused_until.is_none_or(|until| until <= now)
    }

    /// Whether the caller may take new events off the feed.
    pub fn takes_news(&self, line: LineState) -> bool {
        line.has_room.live
    }

    /// The next time [`Input::Woken`] is due without other input.
    pub fn wake_at(&self, line: LineState) -> Option<Duration> {
        let Driver { connected_at, paused_until, last_received, .. } = &self.driver;
        let is_settled = self.is_settled();
        let settled = (!is_settled).then_some(*connected_at + SETTLE_WITHIN);
        let is_quiet = is_settled && line.unread == ByLane::default();
        let silent = is_quiet.then(|| last_received.since() + self.common.config.timeouts.silent);
        let timeouts = self.common.config.timeouts;
        let answer = self.awaits_answer().then(|| self.driver.pending_reply.due_at(timeouts));
        let answer = answer.filter(|_| !line.unread.repair);
        let soonest = [self.due_at(), settled, silent, answer, self.driver.proven_until, *paused_until];
        let soonest = soonest.into_iter().flatten().min();
        // During the pause all timers wait.
        soonest.map(|soonest| paused_until.map_or(soonest, |until| soonest.max(until)))
    }

    /// Number of unanswered questions, and of rests not asked for, because a lane was full.
    pub fn shed(&self) -> u64 {
        self.driver.shed
    }

    async fn receive(
        &mut self,
        lane: Lane,
        message: Message,
        now: Now,
        line: LineState,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, AgentError> {
        self.driver.last_received = LastReceived::at(now.steady, line.received);
        if lane == Lane::Repair && self.awaits_answer() {
            self.driver.pending_reply = PendingReply::at(now.steady, line.received);
        }
        if !line.has_room.of(lane)
            && let Some(declined) = decline(&message)
        {
            tracing::debug!(message = message.name(), "not answered: the lane is full");
            self.driver.shed += 1;
            return Ok(declined);
        }
        if matches!(message, Message::Snapshot(_)) && self.driver.stores > 0 {
            debug_assert!(self.driver.held.is_none(), "the caller read on although the agent did not");
            self.driver.held = Some(message);
            return Ok(Vec::new());
        }
        self.driver.room_for_large = line.has_room.repair;
        self.answer(message, now, view).await
    }

    async fn answer(
        &mut self,
        message: Message,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, AgentError> {
        let declined = decline(&message);
        let outputs = self.on_message(message, now, self.driver.room_for_large, view).await;
        // If the replica cannot be read, the neighbour gets an empty answer and need not wait.
        Ok(self.or_pause(outputs, now)?.or(declined).unwrap_or_default())
    }

    async fn finish_store(
        &mut self,
        origin: Origin,
        outcome: Result<u64, WriteError>,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, AgentError> {
        self.driver.stores = self.driver.stores.saturating_sub(1);
        let new = match outcome {
            Ok(new) => new,
            Err(error) if is_neighbours_fault(&error) => return Err(Fault::CannotStore(error).into()),
            Err(WriteError::Closed) => return Err(AgentError::Closed),
            Err(error) => {
                tracing::warn!(%error, "events of a neighbour were not stored; comparing again later");
                self.pause(now);
                0
            }
        };
        let outputs = self.stored(new, origin, now, view).await;
        let mut outputs = self.or_pause(outputs, now)?.unwrap_or_default();
        let stores_again = outputs.iter().any(|output| matches!(output, Output::Store(..)));
        if self.driver.stores == 0
            && !stores_again
            && let Some(held) = self.driver.held.take()
        {
            outputs.extend(self.answer(held, now, view).await?);
        }
        Ok(outputs)
    }

    async fn woken(
        &mut self,
        now: Now,
        line: LineState,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, AgentError> {
        self.check_timeouts(now.steady, line)?;
        if self.driver.paused_until.take_if(|until| *until <= now.steady).is_some() {
            self.overflowed(now);
        }
        self.check_answer(now, line)?;
        // A store that cannot be read does not silence this node.
        let hello = self.tick(now);
        let outputs = self.wake(now, view).await;
        let outputs = self.or_pause(outputs, now)?.unwrap_or_default();
        Ok(hello.into_iter().chain(outputs).collect())
    }

    /// Fails if the neighbour is silent for too long. Unread frames and a long frame in progress are not silence.
    fn check_timeouts(&mut self, now: Duration, line: LineState) -> Result<(), AgentError> {
        if self.driver.proven_until.is_some_and(|until| until <= now) {
            return Err(AgentError::Expired);
        }
        if !self.is_settled() {
            let is_late = self.driver.connected_at + SETTLE_WITHIN <= now;
            return if is_late { Err(AgentError::NotSettled) } else { Ok(()) };
        }
        let (last_received, timeouts) = (&mut self.driver.last_received, self.common.config.timeouts);
        let is_due = line.unread == ByLane::default() && last_received.since() + timeouts.silent <= now;
        if is_due && !last_received.goes_on(now, line.received, timeouts) {
            Err(AgentError::Silent)
        } else {
            Ok(())
        }
    }

    /// Fails if an answer is overdue. An unread answer has arrived, even if a slow disk delays its reading.
    fn check_answer(&mut self, now: Now, line: LineState) -> Result<(), AgentError> {
        let timeouts = self.common.config.timeouts;
        let Driver { pending_reply, longest, .. } = &mut self.driver;
        let is_arriving =
            line.unread.repair || pending_reply.is_arriving(now.steady, line.received, timeouts, *longest);
        if is_arriving {
            self.arriving(now);
        } else if self.awaits_answer() && self.driver.pending_reply.due_at(timeouts) <= now.steady {
            return Err(AgentError::DoesNotAnswer);
        }
        Ok(())
    }

    /// The outputs; `None`, and a pause, if the replica could not be read.
    fn or_pause(
        &mut self,
        outputs: Result<Vec<Output>, HandleError>,
        now: Now,
    ) -> Result<Option<Vec<Output>>, AgentError> {
        match outputs {
            Ok(outputs) => Ok(Some(outputs)),
            Err(HandleError::Fault(fault)) => Err(fault.into()),
            Err(HandleError::Read(ReadError::Closed)) => Err(AgentError::Closed),
            Err(HandleError::Read(error)) => {
                tracing::warn!(%error, "the replica could not be read for a neighbour; comparing again later");
                self.pause(now);
                Ok(None)
            }
        }
    }

    fn pause(&mut self, now: Now) {
        self.driver.paused_until = Some(now.steady + PAUSE);
    }
}

/// Bytes waiting on a lane beyond which the neighbour is not merely slow: a full lane, one answer (events, the lists
/// beside it and the questions asked meanwhile, a lane's worth each), and the longest event.
pub fn most_waiting(parameters: &Parameters) -> usize {
    (LANE_BYTES * 4).saturating_add(longest_frame(parameters))
}

/// The empty answer to a message with a large answer, if there is no room or the answer cannot be read. The neighbour
/// need not wait, and compares again. `None` for other messages.
pub(super) fn decline(message: &Message) -> Option<Vec<Output>> {
    match message {
        Message::Nodes(Nodes::Cover { .. } | Nodes::Children { .. })
        | Message::EventList(EventList::Held(_))
        | Message::NeedEvents(NeedEvents::Of(_) | NeedEvents::Cells { .. }) => {
            let reply = Reply::End(End::Later);
            Some(vec![send_repair(Message::Events(Events { reply, events: Vec::new() }))])
        }
        // The neighbour asks others for late events.
        Message::NeedEvents(NeedEvents::At(_)) => Some(Vec::new()),
        _ => None,
    }
}

/// Whether the events themselves caused the refusal, not the state of this node.
fn is_neighbours_fault(error: &WriteError) -> bool {
    match error {
        WriteError::EmptyKey
        | WriteError::KeyTooLong { .. }
        | WriteError::ValueTooLong { .. }
        | WriteError::TooLong(_)
        | WriteError::ReservedKey
        | WriteError::BatchTooLarge { .. }
        | WriteError::BatchTooDense { .. } => true,
        WriteError::ReadOnly(_)
        | WriteError::Store(_)
        | WriteError::Read(_)
        | WriteError::Clock(_)
        | WriteError::BusyKey
        | WriteError::Closed => false,
    }
}
