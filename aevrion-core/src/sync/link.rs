//! A link: the task that drives one agent over one connection.
//!
//! It never waits for the network: what comes in is read ahead by tasks of its own, what goes out is queued. When the
//! neighbour does not take what is sent, its questions are dropped rather than their answers piled up, and news are
//! left in the feed; comparing makes up for both once there is room. When this node's disk is slow, nothing more is
//! read, and the transport holds the neighbour back. Either way nobody else notices. One that takes next to nothing, or
//! says nothing at all, is given up in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Patience;
use super::counters::Counters;
use super::frames::Frames;
use super::heard::{Awaited, Heard};
use super::lanes::{Incoming, Outgoing, receive_on, send_on};
use super::links::Place;
use super::status::{Activity, Progress};
use crate::agent::{Agent, Fault, Halt, Moment, Origin, Output};
use crate::bounds::{LOT_EVENTS, STORES_AT_ONCE};
use crate::message::{Events, Message, Reply, longest_frame};
use crate::replica::{FeedReader, News, Replica};
use crate::store::Durability;
use crate::transport::{Connection, Lane, TransportError};
use crate::{Event, Inserted, Timestamp, WallClock, WriteError};

/// How long the greetings may take.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// How long a link rests after the replica could not be read or written.
const REST: Duration = Duration::from_secs(1);

/// What a link can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Compare everything until this moment, and what comes after it.
    Compare(Timestamp),
    /// Tell the neighbour of another machine with its identity.
    Warn,
}

/// What a link needs.
pub(super) struct Setup {
    pub(super) agent: Agent,
    pub(super) connection: Arc<dyn Connection>,
    /// What the neighbour has said already.
    pub(super) greeting: Option<Message>,
    pub(super) replica: Replica,
    pub(super) feed: FeedReader,
    /// Changes when an event is found damaged, or mended.
    pub(super) damage: watch::Receiver<u64>,
    pub(super) wall: Arc<dyn WallClock>,
    pub(super) began: Instant,
    pub(super) patience: Patience,
    pub(super) counters: Arc<Counters>,
    pub(super) frames: Arc<Frames>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) place: Arc<Place>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    /// The neighbour misbehaved, or does not fit.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The connection is over.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The neighbour left.
    #[error("the neighbour closed the connection")]
    Left,
    /// It makes this node say more and more and reads none of it, or takes next to nothing for too long.
    #[error("it does not read what it is sent")]
    DoesNotRead,
    /// It says nothing, not even the greeting of each minute.
    #[error("it says nothing any more")]
    Silent,
    /// It has shown a certificate that is no longer valid. It may have another one by now.
    #[error("its certificate has run out: it has to show a new one")]
    Expired,
    /// The greetings took too long.
    #[error("the clocks were not settled within {} seconds", SETTLE_WITHIN.as_secs())]
    NotSettled,
    /// This node ends it.
    #[error("this node ended the connection")]
    Dismissed,
}

impl LinkEnd {
    /// What the neighbour did or failed to do, in a short name for metrics; `None` if the end is nobody's fault.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Fault(fault) => Some(fault.name()),
            Self::Transport(TransportError::FrameTooLong { .. }) => Some("frame_too_long"),
            Self::Transport(TransportError::Violation { .. }) => Some("transport_violation"),
            Self::DoesNotRead => Some("does_not_read"),
            Self::Silent => Some("silent"),
            Self::NotSettled => Some("not_settled"),
            Self::Transport(_) | Self::Left | Self::Expired | Self::Dismissed => None,
        }
    }
}

struct Link {
    agent: Agent,
    connection: Arc<dyn Connection>,
    /// When what the neighbour has proven of itself ends.
    expires: Option<Instant>,
    heard: Heard,
    awaited: Awaited,
    patience: Patience,
    /// How long the longest frame may take.
    longest: Duration,
    replica: Replica,
    wall: Arc<dyn WallClock>,
    began: Instant,
    counters: Arc<Counters>,
    frames: Arc<Frames>,
    live: Outgoing,
    repair: Outgoing,
    /// Told when either lane stands still.
    stalled: Arc<Notify>,
    stores: JoinSet<(Origin, Result<Inserted, WriteError>)>,
    /// A snapshot that waits until what came before it is stored.
    held: Option<Message>,
    /// Until when nothing is asked of the replica, after it failed.
    resting: Option<Instant>,
    progress: watch::Sender<Progress>,
    place: Arc<Place>,
    /// Whether it is known who the neighbour is and where.
    is_introduced: bool,
}

/// Runs a link to its end, and says why it ended. The connection is closed with that reason.
pub(super) async fn run(setup: Setup) -> LinkEnd {
    let Setup {
        agent,
        connection,
        greeting,
        replica,
        mut feed,
        mut damage,
        wall,
        began,
        patience,
        counters,
        frames,
        mut commands,
        progress,
        place,
    } = setup;
    let (mut lanes, stalled) = (JoinSet::new(), Arc::new(Notify::new()));
    let parameters = replica.parameters();
    let outgoing = |lane, lanes: &mut JoinSet<()>| {
        send_on(Arc::clone(&connection), lane, &parameters, patience, Arc::clone(&stalled), lanes)
    };
    let (live, repair) = (outgoing(Lane::Live, &mut lanes), outgoing(Lane::Repair, &mut lanes));
    let incoming = |lane, lanes: &mut JoinSet<()>| {
        receive_on(Arc::clone(&connection), lane, replica.parameters(), Arc::clone(&counters), lanes)
    };
    let (mut live_in, mut repair_in) = (incoming(Lane::Live, &mut lanes), incoming(Lane::Repair, &mut lanes));
    let mut link = Link {
        agent,
        expires: expires(&*connection, wall.now()),
        heard: Heard::now(&*connection),
        awaited: Awaited::now(&*connection),
        connection,
        patience,
        longest: patience.time_for(longest_frame(&parameters)),
        replica,
        wall,
        began,
        counters,
        frames,
        live,
        repair,
        stalled,
        stores: JoinSet::new(),
        held: None,
        resting: None,
        progress,
        place,
        is_introduced: false,
    };
    let end = match link.greet(greeting).await {
        Ok(()) => link.drive(&mut feed, &mut damage, &mut commands, &mut live_in, &mut repair_in).await,
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
    /// The first words, and what the neighbour has said before.
    async fn greet(&mut self, said: Option<Message>) -> Result<(), LinkEnd> {
        let now = self.now();
        let greeting = self.agent.connected(now);
        self.perform(greeting);
        match said {
            Some(said) => self.handle(said).await,
            None => Ok(()),
        }
    }

    async fn drive(
        &mut self,
        feed: &mut FeedReader,
        damage: &mut watch::Receiver<u64>,
        commands: &mut mpsc::Receiver<Command>,
        live_in: &mut mpsc::Receiver<Incoming>,
        repair_in: &mut mpsc::Receiver<Incoming>,
    ) -> LinkEnd {
        // Also what was found before.
        damage.mark_changed();
        let give_up = Instant::now() + SETTLE_WITHIN;
        loop {
            self.report();
            let wake = self.wake_at(give_up, live_in.is_empty() && repair_in.is_empty());
            let reads = self.stores.len() < STORES_AT_ONCE
                && self.resting.is_none_or(|until| until <= Instant::now());
            let done = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Compare(wall)) => {
                        let now = Moment { wall, ..self.now() };
                        let outputs = self.agent.compare_now(now, &self.replica).await;
                        self.follow(outputs)
                    }
                    Some(Command::Warn) => {
                        self.warn();
                        Ok(())
                    }
                    None => Err(LinkEnd::Dismissed),
                },
                Some(stored) = self.stores.join_next() => self.stored(stored).await,
                () = self.stalled.notified() => Err(LinkEnd::DoesNotRead),
                () = tokio::time::sleep_until(wake) => {
                    let unread = !repair_in.is_empty();
                    match self.check_silence(live_in.is_empty() && !unread) {
                        Ok(()) => self.wake(give_up, unread).await,
                        silent => silent,
                    }
                }
                // News before questions: what is known here is told before a snapshot is found to differ by it.
                news = feed.next(), if self.live.has_room() => self.tell(news),
                Some(incoming) = live_in.recv(), if reads && self.held.is_none() => {
                    self.receive(Lane::Live, incoming).await
                }
                Ok(()) = damage.changed() => {
                    self.agent.damaged(&self.replica.damaged_addresses(), self.now());
                    Ok(())
                }
                () = self.live.room(), if !self.live.has_room() => Ok(()),
                Some(incoming) = repair_in.recv(), if reads && self.held.is_none() => {
                    self.receive(Lane::Repair, incoming).await
                }
            };
            if let Err(end) = done {
                return end;
            }
            if self.live.is_overfull() || self.repair.is_overfull() {
                return LinkEnd::DoesNotRead;
            }
        }
    }

    async fn receive(&mut self, lane: Lane, incoming: Incoming) -> Result<(), LinkEnd> {
        let mut message = match incoming {
            Incoming::Message(message) => message,
            Incoming::Fault(fault) => return Err(fault.into()),
            Incoming::End(Some(error)) => return Err(error.into()),
            Incoming::End(None) => return Err(LinkEnd::Left),
        };
        self.heard = Heard::now(&*self.connection);
        if lane == Lane::Repair && matches!(message, Message::Events(_)) {
            self.awaited = Awaited::now(&*self.connection);
        }
        if !self.repair.has_room() && leave_rest(&mut message) {
            tracing::debug!("not asked on: the lane is full");
            self.counters.shed();
        }
        let outgoing = if lane == Lane::Live { &self.live } else { &self.repair };
        if !outgoing.has_room()
            && let Some(declined) = self.agent.decline(&message)
        {
            tracing::debug!(message = message.name(), "not answered: the lane is full");
            self.counters.shed();
            self.perform(declined);
            return Ok(());
        }
        if matches!(message, Message::Snapshot(_)) && !self.stores.is_empty() {
            self.held = Some(message);
            return Ok(());
        }
        self.agent.room_for_large(self.repair.has_room());
        self.handle(message).await
    }

    async fn handle(&mut self, message: Message) -> Result<(), LinkEnd> {
        let declined = self.agent.decline(&message);
        let greets = matches!(message, Message::Hello(_));
        let outputs = self.agent.handle(message, self.now(), &self.replica).await;
        if greets && outputs.is_ok() {
            self.introduce();
        }
        let unread = matches!(outputs, Err(Halt::Read(_)));
        self.follow(outputs)?;
        // Whoever asked need not wait for an answer that does not come.
        self.perform(declined.filter(|_| unread).unwrap_or_default());
        Ok(())
    }

    /// Takes note of who the neighbour is, and of what it knows about this node.
    fn introduce(&mut self) {
        let Some(introduction) = self.agent.introduction() else { return };
        if let Some(there) = &introduction.conflict {
            self.place.told_of_conflict(there);
        }
        if !self.is_introduced && self.agent.is_settled() {
            self.place.settled(introduction);
            self.is_introduced = true;
        }
        self.warn();
    }

    /// Tells the neighbour of another machine with its identity, if there is one.
    fn warn(&mut self) {
        let Some(introduction) = self.agent.introduction() else { return };
        let conflict = self.place.conflict(introduction.incarnation);
        let now = self.now();
        let outputs = self.agent.tell_conflict(conflict, now);
        self.perform(outputs);
    }

    async fn stored(
        &mut self,
        stored: Result<(Origin, Result<Inserted, WriteError>), tokio::task::JoinError>,
    ) -> Result<(), LinkEnd> {
        let Ok((origin, outcome)) = stored else { return Err(LinkEnd::Dismissed) };
        let new = match outcome {
            Ok(inserted) => inserted.new,
            Err(error) if is_neighbours_fault(&error) => return Err(Fault::CannotStore(error).into()),
            Err(WriteError::Closed) => return Err(LinkEnd::Dismissed),
            Err(error) => {
                tracing::warn!(%error, "events of a neighbour were not stored; comparing again later");
                self.rest();
                0
            }
        };
        let outputs = self.agent.stored(new, origin, self.now(), &self.replica).await;
        self.follow(outputs)?;
        match self.held.take_if(|_| self.stores.is_empty()) {
            Some(held) => self.handle(held).await,
            None => Ok(()),
        }
    }

    /// A neighbour has said nothing for too long, unless what it says is merely not read yet, or long.
    fn check_silence(&mut self, quiet: bool) -> Result<(), LinkEnd> {
        let is_due = self.heard.at().elapsed() >= self.patience.silent;
        if !quiet || !self.agent.is_settled() || !is_due {
            return Ok(());
        }
        if self.heard.goes_on(&*self.connection, self.patience) { Ok(()) } else { Err(LinkEnd::Silent) }
    }

    async fn wake(&mut self, give_up: Instant, unread: bool) -> Result<(), LinkEnd> {
        if !self.agent.is_settled() && Instant::now() >= give_up {
            return Err(LinkEnd::NotSettled);
        }
        if self.expires.is_some_and(|at| at <= Instant::now()) {
            return Err(LinkEnd::Expired);
        }
        if self.resting.is_some_and(|until| until <= Instant::now()) {
            self.resting = None;
            let now = self.now();
            self.agent.overflowed(now);
        }
        // An answer that is here and not read yet, for the disk is slow, has arrived.
        if unread || self.awaited.is_arriving(&*self.connection, self.patience, self.longest) {
            self.agent.arriving(self.now());
        }
        self.warn();
        let outputs = self.agent.wake(self.now(), &self.replica).await;
        self.follow(outputs)
    }

    fn tell(&mut self, news: News) -> Result<(), LinkEnd> {
        let now = self.now();
        match news {
            News::Events(fresh) => {
                let outputs = self.agent.written(&fresh, now);
                self.perform(outputs);
            }
            News::Missed => {
                self.counters.overflow();
                self.agent.overflowed(now);
            }
        }
        Ok(())
    }

    /// Does what the agent wants, or learns why it could not go on.
    fn follow(&mut self, outputs: Result<Vec<Output>, Halt>) -> Result<(), LinkEnd> {
        match outputs {
            Ok(outputs) => self.perform(outputs),
            Err(Halt::Fault(fault)) => return Err(fault.into()),
            Err(Halt::Read(crate::ReadError::Closed)) => return Err(LinkEnd::Dismissed),
            Err(Halt::Read(error)) => {
                tracing::warn!(%error, "the replica could not be read for a neighbour; comparing again later");
                self.rest();
            }
        }
        Ok(())
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(lane, message) => {
                    tracing::trace!(to = %self.agent.neighbour(), ?lane, %message);
                    self.counters.sent(&message);
                    if is_awaited(lane, &message) {
                        self.awaited = Awaited::now(&*self.connection);
                    }
                    let outgoing = if lane == Lane::Live { &self.live } else { &self.repair };
                    outgoing.send(self.frames.encode(&message));
                }
                Output::Store(events, origin) => self.store(events, origin),
            }
        }
    }

    fn store(&mut self, events: Vec<Event>, origin: Origin) {
        let replica = self.replica.clone();
        self.stores.spawn(async move { (origin, store_in_lots(&replica, events, origin).await) });
    }

    fn rest(&mut self) {
        self.resting = Some(Instant::now() + REST);
    }

    fn wake_at(&self, give_up: Instant, quiet: bool) -> Instant {
        let settle = (!self.agent.is_settled()).then_some(give_up);
        let silent = (quiet && settle.is_none()).then(|| self.heard.at() + self.patience.silent);
        let wakes =
            [self.agent.wake_at().map(|at| self.began + at), settle, silent, self.expires, self.resting];
        let soonest = wakes.into_iter().flatten().min();
        let soonest = soonest.unwrap_or_else(|| Instant::now() + SETTLE_WITHIN);
        // While it rests, the agent's own wishes wait.
        self.resting.map_or(soonest, |until| soonest.max(until))
    }

    fn now(&self) -> Moment {
        Moment { steady: Instant::now() - self.began, wall: self.wall.now() }
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

/// When what the neighbour has proven of itself ends.
fn expires(connection: &dyn Connection, now: Timestamp) -> Option<Instant> {
    let until = connection.proven_until()?;
    // What is so far off that it cannot be said never comes.
    Instant::now().checked_add(until.ahead_of(now))
}

/// Stores events in lots of a size that the engine takes easily, all on their way at once.
async fn store_in_lots(
    replica: &Replica,
    mut events: Vec<Event>,
    origin: Origin,
) -> Result<Inserted, WriteError> {
    let lot = LOT_EVENTS.min(replica.rows_at_once() / 4).max(1);
    let mut answers = Vec::with_capacity(events.len().div_ceil(lot));
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(lot));
        answers
            .push(replica.submit(std::mem::replace(&mut events, rest), origin, Durability::Immediate).await?);
    }
    let mut all = Inserted::default();
    for answer in answers {
        let inserted = answer.await.map_err(|_| WriteError::Closed)??;
        all.new += inserted.new;
        all.known += inserted.known;
    }
    Ok(all)
}

/// Takes out of a block what would be asked on about, and says whether there was something: asking on means to list
/// what this node holds there. The events stay; what is left out is found by comparing.
fn leave_rest(message: &mut Message) -> bool {
    match message {
        Message::Events(Events { reply: Reply::Block { rest, .. }, .. }) => rest.take().is_some(),
        _ => false,
    }
}

/// Whether a message is a question whose answer comes over the repair lane.
fn is_awaited(lane: Lane, message: &Message) -> bool {
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
