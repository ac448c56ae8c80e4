//! One end of a connection: an agent and what it is driven by, as the real link drives it.
//!
//! The order of things is that of [`sync`](crate::sync): stores come back, timers ring, news are told while there is
//! room, frames are read while few stores are under way, a snapshot waits for the stores before it, and what cannot be
//! answered for want of room is declined.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::REST;
use super::wire::{Arrival, Wire};
use super::world::{Known, Process, World};
use crate::agent::{Agent, Fault, Halt, Origin, Output};
use crate::bounds::STORES_AT_ONCE;
use crate::message::{Message, decode, encode};
use crate::replica::{FeedReader, News};
use crate::store::Durability;
use crate::transport::Lane;
use crate::{Address, Event, Inserted, ReadError, Replica, WriteError};

/// News taken at once beyond which they count as missed, where overflows are wanted.
const FEW_NEWS: usize = 3;

/// What an agent may have open at most in a simulation: far more than there are events.
const MUCH: usize = 10_000;

/// What has become of events that came.
struct Stored {
    origin: Origin,
    /// Which, but for those that the network doubled.
    came: Vec<Address>,
    outcome: Result<Inserted, WriteError>,
}

/// One end of a connection.
pub(super) struct Endpoint {
    world: Arc<World>,
    agent: Agent,
    replica: Replica,
    feed: FeedReader,
    /// This node and the other.
    way: (usize, usize),
    out: Arc<Wire>,
    into: Arc<Wire>,
    stores: JoinSet<Stored>,
    held: Option<Message>,
    /// Whether what is handled came twice where it was sent once.
    doubled: bool,
    resting: Option<Instant>,
    /// What the process was told of the neighbour.
    known: Known,
}

/// Why an endpoint ended.
pub(super) enum End {
    /// The connection is over.
    Closed,
    /// The neighbour is said to misbehave.
    Fault(Fault),
}

impl Endpoint {
    pub(super) fn new(
        world: &Arc<World>,
        way: (usize, usize),
        process: Process,
        (out, into): (Arc<Wire>, Arc<Wire>),
        seed: u64,
    ) -> Self {
        let Process { replica, desk, .. } = process;
        let agent = Agent::new(world.terms(way.0), world.nodes[way.1].id, desk, seed);
        let feed = replica.feed();
        let (stores, world) = (JoinSet::new(), Arc::clone(world));
        Self {
            world,
            agent,
            replica,
            feed,
            way,
            out,
            into,
            stores,
            held: None,
            doubled: false,
            resting: None,
            known: Known::default(),
        }
    }

    /// Runs until the connection is over.
    pub(super) async fn run(mut self) -> End {
        let outputs = self.agent.connected(self.world.moment(self.way.0));
        self.perform(outputs);
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
            self.tell_process(self.agent.clock_offset().filter(|_| self.agent.is_settled()));
            if self.agent.open_ends() > MUCH {
                self.world.wrong(format!(
                    "the agent of {:?} has {} open ends",
                    self.way,
                    self.agent.open_ends()
                ));
            }
        };
        self.tell_process(None);
        self.agent.disconnected();
        self.out.close();
        self.into.close();
        end
    }

    fn tell_process(&mut self, offset: Option<i64>) {
        let agreement = self.agent.agreement();
        let agrees = offset.is_some() && agreement.future == Some(true) && agreement.behind() == 0;
        let known = Known { offset, agreed_until: agreement.until, agrees };
        if known != self.known {
            self.known = known;
            self.world.learn(self.way, known);
        }
    }

    /// Waits for the next thing to happen, and does what follows from it.
    async fn step(&mut self) -> Result<(), End> {
        if !self.out.is_open() {
            return Err(End::Closed);
        }
        let now = Instant::now();
        let reads = self.stores.len() < STORES_AT_ONCE && self.resting.is_none_or(|until| until <= now);
        let lanes = [reads && self.held.is_none(); 2];
        let arrival = self.into.next_at(lanes);
        // While it rests, the agent's own wishes wait.
        let wake = self.resting.or_else(|| self.agent.wake_at().map(|at| self.world.began + at));
        tokio::select! {
            biased;
            Some(stored) = self.stores.join_next() => match stored {
                Ok(stored) => self.stored(stored).await,
                Err(_) => Err(End::Closed),
            },
            () = until(wake) => self.wake().await,
            // News before questions: what is known here is told before a snapshot is found to differ by it.
            news = self.feed.next(), if self.out.has_room(Lane::Live) => {
                self.tell(news);
                Ok(())
            }
            () = until(arrival) => match self.into.receive(lanes, Instant::now()) {
                Some((lane, arrival)) => self.receive(lane, &arrival).await,
                None => Ok(()),
            },
            () = self.into.arrived.notified() => Ok(()),
            () = self.out.drained.notified() => Ok(()),
        }
    }

    async fn receive(&mut self, lane: Lane, arrival: &Arrival) -> Result<(), End> {
        self.doubled = arrival.doubled;
        let message =
            decode(&arrival.frame, &self.world.plan.parameters).map_err(|error| End::Fault(error.into()))?;
        self.world.traffic().received((self.way.1, self.way.0), &message);
        if !self.out.has_room(lane)
            && let Some(declined) = self.agent.decline(&message)
        {
            self.perform(declined);
            return Ok(());
        }
        if matches!(message, Message::Snapshot(_)) && !self.stores.is_empty() {
            self.held = Some(message);
            return Ok(());
        }
        self.agent.room_for_large(self.out.has_room(Lane::Repair));
        self.handle(message).await
    }

    async fn handle(&mut self, message: Message) -> Result<(), End> {
        let declined = self.agent.decline(&message);
        let outputs = self.agent.handle(message, self.world.moment(self.way.0), &self.replica).await;
        let unread = matches!(outputs, Err(Halt::Read(_)));
        self.follow(outputs)?;
        self.perform(declined.filter(|_| unread).unwrap_or_default());
        Ok(())
    }

    async fn stored(&mut self, stored: Stored) -> Result<(), End> {
        let Stored { origin, came, outcome } = stored;
        let new = match outcome {
            Ok(inserted) => {
                let way = (self.way.1, self.way.0);
                self.world.traffic().redundancy.stored(way, origin, &came, inserted.new);
                inserted.new
            }
            Err(WriteError::Closed) => return Err(End::Closed),
            Err(WriteError::ReadOnly(_) | WriteError::Store(_) | WriteError::Read(_)) => {
                self.rest();
                0
            }
            Err(error) => return Err(End::Fault(Fault::CannotStore(error))),
        };
        let outputs = self.agent.stored(new, origin, self.world.moment(self.way.0), &self.replica).await;
        self.follow(outputs)?;
        match self.held.take_if(|_| self.stores.is_empty()) {
            Some(held) => self.handle(held).await,
            None => Ok(()),
        }
    }

    async fn wake(&mut self) -> Result<(), End> {
        let now = self.world.moment(self.way.0);
        if self.resting.is_some_and(|until| until <= Instant::now()) {
            self.resting = None;
            self.agent.overflowed(now);
        }
        let outputs = self.agent.wake(now, &self.replica).await;
        self.follow(outputs)
    }

    fn tell(&mut self, news: News) {
        let now = self.world.moment(self.way.0);
        match news {
            News::Events(fresh) if !(self.world.overflows() && fresh.len() > FEW_NEWS) => {
                let outputs = self.agent.written(&fresh, now);
                self.perform(outputs);
            }
            News::Events(_) | News::Missed => self.agent.overflowed(now),
        }
    }

    fn follow(&mut self, outputs: Result<Vec<Output>, Halt>) -> Result<(), End> {
        match outputs {
            Ok(outputs) => self.perform(outputs),
            Err(Halt::Fault(fault)) => return Err(End::Fault(fault)),
            Err(Halt::Read(ReadError::Closed)) => return Err(End::Closed),
            Err(Halt::Read(_)) => self.rest(),
        }
        Ok(())
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(lane, message) => {
                    let frame = encode(&message);
                    let detailed = self.world.plan.is_calm();
                    self.world.traffic().sent(self.way, &message, &frame, detailed);
                    self.out.send(lane, frame, Instant::now());
                }
                Output::Store(events, origin) => self.store(events, origin),
            }
        }
    }

    fn store(&mut self, events: Vec<Event>, origin: Origin) {
        let replica = self.replica.clone();
        let came = if self.doubled { Vec::new() } else { events.iter().map(Event::address).collect() };
        self.stores.spawn(async move {
            let answer = async {
                let answer = replica.submit(events, origin, Durability::Immediate).await?;
                answer.await.map_err(|_| WriteError::Closed)?
            };
            Stored { origin, came, outcome: answer.await }
        });
    }

    fn rest(&mut self) {
        self.resting = Some(Instant::now() + REST);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
