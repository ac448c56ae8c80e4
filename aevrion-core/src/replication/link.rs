//! A link: the task that drives one agent over one connection.
//!
//! A link never waits for the network: separate tasks read ahead, and output is queued. When the neighbour does not
//! read, its questions are dropped instead of queueing their answers, and new events stay in the feed; a comparison
//! makes up for both once there is room. When this node's disk is slow, the link stops reading, and the transport
//! applies back pressure to the neighbour. Neither affects other links. A neighbour that reads almost nothing, or sends
//! nothing at all, is dropped after a timeout.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::StallTimeouts;
use super::counters::Counters;
use super::frames::Frames;
use super::lanes::{Incoming, Outgoing, receive_on, send_on};
use super::links::Place;
use super::status::{Activity, Progress};
use crate::agent::{Agent, AgentError, ByLane, Input, LineState, Now, Origin, Output};
use crate::bounds::COMMIT_EVENTS;
use crate::message::Message;
use crate::replica::{FeedReader, News, Replica};
use crate::store::Durability;
use crate::transport::{Connection, Lane, TransportError};
use crate::{Event, Timestamp, WallClock, WriteError, steady};

/// A command to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Compare the events up to this time, and then those after it.
    Compare(Timestamp),
    /// Tell the neighbour of another machine with its identity.
    Warn,
}

/// The parts of a link.
pub(super) struct Setup {
    pub(super) agent: Agent,
    pub(super) connection: Arc<dyn Connection>,
    /// The neighbour's handshake message, if it was read already.
    pub(super) greeting: Option<Message>,
    pub(super) replica: Replica,
    pub(super) feed: FeedReader,
    /// Changes when a damaged event is found or repaired.
    pub(super) damage: watch::Receiver<u64>,
    pub(super) wall: Arc<dyn WallClock>,
    pub(super) began: Instant,
    pub(super) timeouts: StallTimeouts,
    pub(super) counters: Arc<Counters>,
    pub(super) frames: Arc<Frames>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) place: Arc<Place>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    /// The agent ended it.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The connection failed or was closed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The neighbour closed the connection.
    #[error("the neighbour closed the connection")]
    Left,
    /// The neighbour makes this node queue more and more without reading, or reads almost nothing for too long.
    #[error("it does not read what it is sent")]
    DoesNotRead,
    /// This node ended it.
    #[error("this node ended the connection")]
    Dismissed,
}

impl LinkEnd {
    /// The neighbour's fault as a short name for metrics; `None` if the end is nobody's fault.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Agent(AgentError::Fault(fault)) => Some(fault.name()),
            Self::Agent(AgentError::Silent) => Some("silent"),
            Self::Agent(AgentError::NotSettled) => Some("not_settled"),
            Self::Transport(TransportError::FrameTooLong { .. }) => Some("frame_too_long"),
            Self::Transport(TransportError::Violation { .. }) => Some("transport_violation"),
            Self::DoesNotRead => Some("does_not_read"),
            Self::Agent(AgentError::Expired | AgentError::Closed)
            | Self::Transport(_)
            | Self::Left
            | Self::Dismissed => None,
        }
    }
}

struct Link {
    agent: Agent,
    connection: Arc<dyn Connection>,
    replica: Replica,
    wall: Arc<dyn WallClock>,
    began: Instant,
    counters: Arc<Counters>,
    frames: Arc<Frames>,
    outgoing: ByLane<Outgoing>,
    incoming: ByLane<mpsc::Receiver<Incoming>>,
    /// Notified when either lane stalls.
    stalled: Arc<Notify>,
    stores: JoinSet<(Origin, Result<u64, WriteError>)>,
    progress: watch::Sender<Progress>,
    place: Arc<Place>,
    /// Whether the neighbour's identity and address are recorded.
    is_introduced: bool,
}

/// Runs a link and returns the reason for its end. The connection is closed with that reason.
pub(super) async fn run(setup: Setup) -> LinkEnd {
    let Setup { agent, connection, greeting, replica, mut feed, mut damage, wall, mut commands, .. } = setup;
    let (mut lanes, stalled) = (JoinSet::new(), Arc::new(Notify::new()));
    let parameters = replica.parameters();
    let outgoing = |lane, lanes: &mut JoinSet<()>| {
        send_on(Arc::clone(&connection), lane, &parameters, setup.timeouts, Arc::clone(&stalled), lanes)
    };
    let outgoing =
        ByLane { live: outgoing(Lane::Live, &mut lanes), repair: outgoing(Lane::Repair, &mut lanes) };
    let incoming = |lane, lanes: &mut JoinSet<()>| {
        receive_on(Arc::clone(&connection), lane, parameters, Arc::clone(&setup.counters), lanes)
    };
    let incoming =
        ByLane { live: incoming(Lane::Live, &mut lanes), repair: incoming(Lane::Repair, &mut lanes) };
    let agent = match expires(&*connection, wall.now()) {
        Some(span) => agent.proven_until((steady::now() - setup.began).saturating_add(span)),
        None => agent,
    };
    let mut link = Link {
        agent,
        connection,
        replica,
        wall,
        began: setup.began,
        counters: setup.counters,
        frames: setup.frames,
        outgoing,
        incoming,
        stalled,
        stores: JoinSet::new(),
        progress: setup.progress,
        place: setup.place,
        is_introduced: false,
    };
    let end = match link.handshake(greeting).await {
        Ok(()) => link.drive(&mut feed, &mut damage, &mut commands).await,
        Err(end) => end,
    };
    link.agent.disconnected();
    if let Some(name) = end.fault() {
        link.counters.fault(name);
    }
    link.connection.close(&end.to_string());
    end
}

impl Link {
    /// Starts the handshake, and handles the neighbour's message if it was read already.
    async fn handshake(&mut self, said: Option<Message>) -> Result<(), LinkEnd> {
        self.step(Input::Connected).await?;
        match said {
            Some(said) => self.step(Input::Received(Lane::Live, said)).await,
            None => Ok(()),
        }
    }

    async fn drive(
        &mut self,
        feed: &mut FeedReader,
        damage: &mut watch::Receiver<u64>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> LinkEnd {
        // Includes the damage found before the link started.
        damage.mark_changed();
        loop {
            self.report();
            let input = match self.next(feed, damage, commands).await {
                Ok(Some(input)) => input,
                Ok(None) => continue,
                Err(end) => return end,
            };
            if let Err(end) = self.step(input).await {
                return end;
            }
        }
    }

    /// The next input for the agent; `None` if the agent is not concerned.
    async fn next(
        &mut self,
        feed: &mut FeedReader,
        damage: &mut watch::Receiver<u64>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Option<Input>, LinkEnd> {
        let line = self.line();
        let wake = self.agent.wake_at(line).map(|at| self.began + at);
        let (reads, takes_news) = (self.agent.reads(self.now().steady), self.agent.takes_news(line));
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Compare(wall)) => Ok(Some(Input::Compare(wall))),
                Some(Command::Warn) => Ok(self.warning()),
                None => Err(LinkEnd::Dismissed),
            },
            Some(stored) = self.stores.join_next() => match stored {
                Ok((origin, outcome)) => Ok(Some(Input::Stored(origin, outcome))),
                Err(_) => Err(LinkEnd::Dismissed),
            },
            () = self.stalled.notified() => Err(LinkEnd::DoesNotRead),
            () = until(wake) => Ok(Some(Input::Woken)),
            // New events before questions: they are sent before a snapshot is found to differ by them.
            news = feed.next(), if takes_news => Ok(Some(match news {
                News::Events(news) => Input::News(news),
                News::Missed => {
                    self.counters.overflow();
                    Input::NewsMissed
                }
            })),
            Some(incoming) = self.incoming.live.recv(), if reads => received(Lane::Live, incoming).map(Some),
            Ok(()) = damage.changed() => Ok(Some(Input::Damaged(self.replica.damaged_addresses()))),
            () = self.outgoing.live.room(), if !takes_news => Ok(None),
            Some(incoming) = self.incoming.repair.recv(), if reads => received(Lane::Repair, incoming).map(Some),
        }
    }

    /// Passes an input to the agent and carries out its outputs.
    async fn step(&mut self, input: Input) -> Result<(), LinkEnd> {
        let greets = matches!(input, Input::Received(_, Message::Hello(_)));
        if matches!(input, Input::Woken)
            && let Some(warning) = self.warning()
        {
            self.tell(warning).await?;
        }
        self.tell(input).await?;
        if greets {
            self.introduce().await?;
        }
        Ok(())
    }

    async fn tell(&mut self, input: Input) -> Result<(), LinkEnd> {
        let (now, line, shed) = (self.now(), self.line(), self.agent.shed());
        let outputs = self.agent.handle(input, now, line, &self.replica).await?;
        (shed..self.agent.shed()).for_each(|_| self.counters.shed());
        for output in outputs {
            match output {
                Output::Send(lane, message) => {
                    tracing::trace!(to = %self.agent.neighbour(), ?lane, %message);
                    self.counters.sent(&message);
                    self.outgoing.as_ref().of(lane).send(self.frames.encode(&message));
                }
                Output::Store(events, origin) => {
                    let replica = self.replica.clone();
                    let store = async move { (origin, store_in_lots(&replica, events, origin).await) };
                    self.stores.spawn(store);
                }
            }
        }
        let overfull = self.outgoing.live.is_overfull() || self.outgoing.repair.is_overfull();
        if overfull { Err(LinkEnd::DoesNotRead) } else { Ok(()) }
    }

    /// Records the neighbour's identity and its knowledge about this node.
    async fn introduce(&mut self) -> Result<(), LinkEnd> {
        let Some(introduction) = self.agent.introduction() else { return Ok(()) };
        if let Some(there) = &introduction.conflict {
            self.place.told_of_conflict(there);
        }
        if !self.is_introduced && self.agent.is_settled() {
            self.place.settled(introduction);
            self.is_introduced = true;
        }
        match self.warning() {
            Some(warning) => self.tell(warning).await,
            None => Ok(()),
        }
    }

    /// The message to the neighbour about another machine with its identity.
    fn warning(&self) -> Option<Input> {
        let introduction = self.agent.introduction()?;
        Some(Input::Conflict(self.place.conflict(introduction.incarnation)))
    }

    fn line(&self) -> LineState {
        let Self { outgoing, incoming, connection, .. } = self;
        LineState {
            has_room: ByLane { live: outgoing.live.has_room(), repair: outgoing.repair.has_room() },
            unread: ByLane { live: !incoming.live.is_empty(), repair: !incoming.repair.is_empty() },
            received: connection.traffic().received,
        }
    }

    fn now(&self) -> Now {
        Now { steady: steady::now() - self.began, wall: self.wall.now() }
    }

    fn report(&self) {
        let activity = if !self.agent.is_settled() {
            Activity::Settling
        } else if self.agent.is_repairing() {
            Activity::Repairing
        } else {
            Activity::Idle
        };
        let agreement = self.agent.agreement();
        let progress = Progress {
            activity,
            incarnation: self.agent.introduction().map(|introduction| introduction.incarnation),
            clock_offset: self.agent.clock_offset(),
            round_trip: self.agent.round_trip(),
            agreement,
            differs_since: agreement.catch_up.map(|catch_up| self.began + catch_up.began),
            differences: Arc::clone(self.agent.differences()),
        };
        self.progress.send_if_modified(|last| {
            let changed = *last != progress;
            *last = progress;
            changed
        });
    }
}

fn received(lane: Lane, incoming: Incoming) -> Result<Input, LinkEnd> {
    match incoming {
        Incoming::Message(message) => Ok(Input::Received(lane, message)),
        Incoming::Fault(fault) => Err(AgentError::from(fault).into()),
        Incoming::End(Some(error)) => Err(error.into()),
        Incoming::End(None) => Err(LinkEnd::Left),
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// How long the neighbour's proof of identity remains valid.
fn expires(connection: &dyn Connection, now: Timestamp) -> Option<Duration> {
    Some(connection.proven_until()?.ahead_of(now))
}

/// Stores events in batches of a size that suits the engine, all submitted at once. Returns the number of new events.
async fn store_in_lots(replica: &Replica, mut events: Vec<Event>, origin: Origin) -> Result<u64, WriteError> {
    let batch = COMMIT_EVENTS.min(replica.rows_at_once() / 4).max(1);
    let mut answers = Vec::with_capacity(events.len().div_ceil(batch));
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(batch));
        answers
            .push(replica.submit(std::mem::replace(&mut events, rest), origin, Durability::Immediate).await?);
    }
    let mut new = 0;
    for answer in answers {
        new += answer.wait().await?.new;
    }
    Ok(new)
}
