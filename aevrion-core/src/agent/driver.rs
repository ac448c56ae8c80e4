//! The one driver: everything between a decoded frame and the store or the line, for whoever drives an agent.
//!
//! What happens goes in as an [`Input`], what is wanted comes out as [`Output`]s, and as [`AgentError`] when the connection is
//! to be closed. When a snapshot waits for what came before it, how far is read ahead, what a full lane means, what is a
//! neighbour's fault, and how long its silence is borne: all of that is decided here, so that a server, a simulation and
//! a test are three short loops around the same machine.
//!
//! **The order of calls.** [`Input::Connected`] comes first, [`Agent::disconnected`] last. In between, in any order: an
//! input for each thing that happens, and [`Input::Woken`] when [`Agent::wake_at`] has come. Every output is done, in
//! its order, before the next input. A frame is taken off its lane only while [`Agent::reads`], news off the feed only
//! while [`Agent::takes_news`]; what is left there holds the neighbour back, or is found by comparing. [`LineState`] is
//! that of the moment, in each call.

use std::time::Duration;

use super::broadcast;
use super::outgoing::send_repair;
use super::reconciliation;
use super::silence::{Awaited, Heard};
use super::{Agent, Fault, Halt, Holdings, Moment, NewEvent, Origin, Output, Terms};
use crate::bounds::STORES_AT_ONCE;
use crate::message::{EventList, Events, Message, NeedEvents, Reply, longest_frame};
use crate::transport::Lane;
use crate::{Address, ReadError, TimeSpan, Timestamp, WriteError};

/// How long the greetings may take.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// How long nothing is asked of the replica after it could not be read or written.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// What happens to an agent.
#[derive(Debug)]
pub enum Input {
    /// The connection stands.
    Connected,
    /// A frame has come on this lane, and is this message.
    Received(Lane, Message),
    /// An [`Output::Store`] of this origin is done: so many of its events were new.
    Stored(Origin, Result<u64, WriteError>),
    /// Events are new on this node, and durable.
    News(Vec<NewEvent>),
    /// There was more news than could be told.
    NewsMissed,
    /// These events, which the node holds, are damaged: all of them, as of now.
    Damaged(Vec<Address>),
    /// Everything until this moment is to be compared, and what comes after it.
    Compare(Timestamp),
    /// Where another machine with the neighbour's identity was met, if one was.
    Conflict(Option<String>),
    /// The time of [`Agent::wake_at`] has come.
    Woken,
}

/// One of each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByLane<T> {
    /// Of [`Lane::Live`].
    pub live: T,
    /// Of [`Lane::Repair`].
    pub repair: T,
}

impl<T> ByLane<T> {
    /// That of a lane.
    pub fn of(self, lane: Lane) -> T {
        match lane {
            Lane::Live => self.live,
            Lane::Repair => self.repair,
        }
    }

    /// The same, to look at.
    pub fn as_ref(&self) -> ByLane<&T> {
        ByLane { live: &self.live, repair: &self.repair }
    }
}

/// How things stand on the line to the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineState {
    /// Whether another answer may be queued.
    pub has_room: ByLane<bool>,
    /// Whether frames have come that were not taken yet.
    pub unread: ByLane<bool>,
    /// Bytes that have come so far, be they of whole frames or not.
    pub received: u64,
}

impl LineState {
    /// A line on which all is taken at once.
    pub const IDLE: Self = Self {
        has_room: ByLane { live: true, repair: true },
        unread: ByLane { live: false, repair: false },
        received: 0,
    };
}

/// Why the connection is to be closed. The agent is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The neighbour misbehaved, or does not fit.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It says nothing, not even the greeting of each minute.
    #[error("it says nothing any more")]
    Silent,
    /// The greetings took too long.
    #[error("the clocks were not settled within {} seconds", SETTLE_WITHIN.as_secs())]
    NotSettled,
    /// It has shown a certificate that is no longer valid. It may have another one by now.
    #[error("its certificate has run out: it has to show a new one")]
    Expired,
    /// The replica was closed.
    #[error("this node ended the connection")]
    Closed,
}

/// What the driver keeps in mind.
#[derive(Debug)]
pub(super) struct Driver {
    /// The neighbour's proof of its identity ends then, and the connection with it.
    proven_until: Option<Duration>,
    connected_at: Duration,
    /// Stores under way.
    stores: usize,
    /// A snapshot that waits until what came before it is stored.
    held: Option<Message>,
    /// Whether a large event may be put on the repair lane.
    room_for_large: bool,
    /// Until when nothing is asked of the replica, after it failed.
    resting: Option<Duration>,
    heard: Heard,
    awaited: Awaited,
    /// How long the longest frame may take.
    longest: Duration,
    /// Questions that were not answered, and rests that were not asked for, because a lane was full.
    shed: u64,
}

impl Driver {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            proven_until: None,
            connected_at: Duration::ZERO,
            stores: 0,
            held: None,
            room_for_large: true,
            resting: None,
            heard: Heard::default(),
            awaited: Awaited::default(),
            longest: terms.patience.time_for(longest_frame(&terms.parameters)),
            shed: 0,
        }
    }
}

impl Agent {
    /// Sets the end of the neighbour's proof of its identity, as [`Moment::steady`] counts.
    pub fn proven_until(mut self, until: Duration) -> Self {
        self.driver.proven_until = Some(until);
        self
    }

    /// Takes what has happened, and says what is wanted.
    ///
    /// # Errors
    /// [`AgentError`]: the connection is to be closed with this reason.
    pub async fn handle(
        &mut self,
        input: Input,
        now: Moment,
        line: LineState,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, AgentError> {
        let outputs = match input {
            Input::Connected => {
                self.driver.connected_at = now.steady;
                self.driver.heard = Heard::at(now.steady, line.received);
                vec![self.handshake.greet(now)]
            }
            Input::Received(lane, message) => self.receive(lane, message, now, line, holdings).await?,
            Input::Stored(origin, outcome) => self.finish_store(origin, outcome, now, holdings).await?,
            // The first comparison finds news from before the end of the handshake.
            Input::News(_) | Input::Compare(_) if !self.is_settled() => Vec::new(),
            Input::News(fresh) => {
                let outputs = self.spread(broadcast::Input::News(fresh), now, holdings).await;
                self.or_rest(outputs, now)?.unwrap_or_default()
            }
            Input::NewsMissed => {
                self.overflowed(now);
                Vec::new()
            }
            Input::Damaged(addresses) => {
                let outputs = self.spread(broadcast::Input::Damaged(addresses), now, holdings).await;
                self.or_rest(outputs, now)?.unwrap_or_default()
            }
            Input::Compare(wall) => {
                let at = Moment { wall, ..now };
                let outputs = self.reconcile(reconciliation::Input::Compare, at, holdings).await;
                self.or_rest(outputs, now)?.unwrap_or_default()
            }
            Input::Conflict(there) => self.handshake.tell_conflict(there, now).into_iter().collect(),
            Input::Woken => self.woken(now, line, holdings).await?,
        };
        for output in &outputs {
            match output {
                Output::Send(lane, message) if is_question(*lane, message) => {
                    self.driver.awaited = Awaited::at(now.steady, line.received);
                }
                Output::Send(..) => {}
                Output::Store(..) => self.driver.stores += 1,
            }
        }
        Ok(outputs)
    }

    /// Whether frames are taken off the lanes: not while the disk lags behind, nor past a snapshot that waits for it.
    pub fn reads(&self, now: Duration) -> bool {
        let Driver { stores, held, resting, .. } = &self.driver;
        *stores < STORES_AT_ONCE && held.is_none() && resting.is_none_or(|until| until <= now)
    }

    /// Whether news is taken off the feed.
    pub fn takes_news(&self, line: LineState) -> bool {
        line.has_room.live
    }

    /// When [`Input::Woken`] is due, if nothing happens before.
    pub fn wake_at(&self, line: LineState) -> Option<Duration> {
        let Driver { connected_at, resting, heard, .. } = &self.driver;
        let is_settled = self.is_settled();
        let settled = (!is_settled).then_some(*connected_at + SETTLE_WITHIN);
        let is_quiet = is_settled && line.unread == ByLane::default();
        let silent = is_quiet.then(|| heard.since() + self.common.terms.patience.silent);
        let soonest = [self.due_at(), settled, silent, self.driver.proven_until, *resting];
        let soonest = soonest.into_iter().flatten().min();
        // While it rests, what the agent wants waits.
        soonest.map(|soonest| resting.map_or(soonest, |until| soonest.max(until)))
    }

    /// Questions that were not answered, and rests that were not asked for, because a lane was full.
    pub fn shed(&self) -> u64 {
        self.driver.shed
    }

    async fn receive(
        &mut self,
        lane: Lane,
        mut message: Message,
        now: Moment,
        line: LineState,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, AgentError> {
        self.driver.heard = Heard::at(now.steady, line.received);
        if lane == Lane::Repair && matches!(message, Message::Events(_)) {
            self.driver.awaited = Awaited::at(now.steady, line.received);
        }
        if !line.has_room.repair && leave_rest(&mut message) {
            tracing::debug!("not asked on: the lane is full");
            self.driver.shed += 1;
        }
        if !line.has_room.of(lane)
            && let Some(declined) = decline(&message)
        {
            tracing::debug!(message = message.name(), "not answered: the lane is full");
            self.driver.shed += 1;
            return Ok(declined);
        }
        if matches!(message, Message::Snapshot(_)) && self.driver.stores > 0 {
            self.driver.held = Some(message);
            return Ok(Vec::new());
        }
        self.driver.room_for_large = line.has_room.repair;
        self.answer(message, now, holdings).await
    }

    async fn answer(
        &mut self,
        message: Message,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, AgentError> {
        let declined = decline(&message);
        let outputs = self.on_message(message, now, self.driver.room_for_large, holdings).await;
        // Where the replica cannot be read, the other side need not wait for an answer that does not come.
        Ok(self.or_rest(outputs, now)?.or(declined).unwrap_or_default())
    }

    async fn finish_store(
        &mut self,
        origin: Origin,
        outcome: Result<u64, WriteError>,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, AgentError> {
        self.driver.stores = self.driver.stores.saturating_sub(1);
        let new = match outcome {
            Ok(new) => new,
            Err(error) if is_neighbours_fault(&error) => return Err(Fault::CannotStore(error).into()),
            Err(WriteError::Closed) => return Err(AgentError::Closed),
            Err(error) => {
                tracing::warn!(%error, "events of a neighbour were not stored; comparing again later");
                self.rest(now);
                0
            }
        };
        let outputs = self.stored(new, origin, now, holdings).await;
        let mut outputs = self.or_rest(outputs, now)?.unwrap_or_default();
        let stores_again = outputs.iter().any(|output| matches!(output, Output::Store(..)));
        if self.driver.stores == 0
            && !stores_again
            && let Some(held) = self.driver.held.take()
        {
            outputs.extend(self.answer(held, now, holdings).await?);
        }
        Ok(outputs)
    }

    async fn woken(
        &mut self,
        now: Moment,
        line: LineState,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, AgentError> {
        self.check_patience(now.steady, line)?;
        if self.driver.resting.take_if(|until| *until <= now.steady).is_some() {
            self.overflowed(now);
        }
        let Driver { awaited, longest, .. } = &mut self.driver;
        // An answer that is here and not read yet, for the disk is slow, has arrived.
        if line.unread.repair
            || awaited.is_arriving(now.steady, line.received, self.common.terms.patience, *longest)
        {
            self.arriving(now);
        }
        let outputs = self.wake(now, holdings).await;
        Ok(self.or_rest(outputs, now)?.unwrap_or_default())
    }

    /// A neighbour has said nothing for too long, unless what it says is merely not read yet, or long.
    fn check_patience(&mut self, now: Duration, line: LineState) -> Result<(), AgentError> {
        if self.driver.proven_until.is_some_and(|until| until <= now) {
            return Err(AgentError::Expired);
        }
        if !self.is_settled() {
            let is_late = self.driver.connected_at + SETTLE_WITHIN <= now;
            return if is_late { Err(AgentError::NotSettled) } else { Ok(()) };
        }
        let (heard, patience) = (&mut self.driver.heard, self.common.terms.patience);
        let is_due = line.unread == ByLane::default() && heard.since() + patience.silent <= now;
        if is_due && !heard.goes_on(now, line.received, patience) { Err(AgentError::Silent) } else { Ok(()) }
    }

    /// What the agent wants; `None` where the replica could not be read: then it is left alone for a while.
    fn or_rest(
        &mut self,
        outputs: Result<Vec<Output>, Halt>,
        now: Moment,
    ) -> Result<Option<Vec<Output>>, AgentError> {
        match outputs {
            Ok(outputs) => Ok(Some(outputs)),
            Err(Halt::Fault(fault)) => Err(fault.into()),
            Err(Halt::Read(ReadError::Closed)) => Err(AgentError::Closed),
            Err(Halt::Read(error)) => {
                tracing::warn!(%error, "the replica could not be read for a neighbour; comparing again later");
                self.rest(now);
                Ok(None)
            }
        }
    }

    fn rest(&mut self, now: Moment) {
        self.driver.resting = Some(now.steady + REST);
    }
}

/// Answers a message with nothing, for which there is no room or whose answer cannot be read, if it is one that is
/// answered with much: whoever asked need not wait, and compares again.
pub(super) fn decline(message: &Message) -> Option<Vec<Output>> {
    let reply = match message {
        Message::Nodes(_) | Message::EventList(EventList::Held(_)) => {
            Reply::Block { span: TimeSpan::ALL, rest: None, last: true }
        }
        Message::NeedEvents(NeedEvents::Of(_)) => Reply::Of { more: true, last: true },
        // What is not brought in time is asked of others.
        Message::NeedEvents(NeedEvents::At(_)) => return Some(Vec::new()),
        _ => return None,
    };
    Some(vec![send_repair(Message::Events(Events { reply, events: Vec::new() }))])
}

/// Takes out of a block what would be asked on about, and says whether there was something: asking on means to list
/// what this node holds there. The events stay; what is left out is found by comparing.
fn leave_rest(message: &mut Message) -> bool {
    match message {
        Message::Events(Events { reply: Reply::Block { rest, .. }, .. }) => rest.take().is_some(),
        _ => false,
    }
}

/// Whether the answer to a message comes over the repair lane.
fn is_question(lane: Lane, message: &Message) -> bool {
    match message {
        Message::NeedEvents(_) => true,
        Message::Events(_) => false,
        _ => lane == Lane::Repair,
    }
}

/// Whether events were refused for what they are.
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
