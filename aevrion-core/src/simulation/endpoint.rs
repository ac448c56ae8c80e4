//! One end of a connection: a loop around an agent, like a link of [`replication`](crate::replication).

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::wire::{Arrival, Wire};
use super::world::{Known, Process, World};
use crate::agent::{Agent, AgentError, ByLane, Fault, Input, LineState, Origin, Output, most_waiting};
use crate::message::{decode, encode};
use crate::replica::{FeedReader, News};
use crate::replication::storing::store;
use crate::transport::Lane;
use crate::{Event, EventKey, Inserted, Replica, WriteError};

/// In a simulation with overflows, more new events than this at once count as missed.
const FEW_NEWS: usize = 3;

/// The greatest number of pending requests and announcements of an agent in a simulation: far more than there are
/// events.
const MUCH: usize = 10_000;

/// The outcome of received events.
struct Stored {
    origin: Origin,
    /// The received events, except those doubled by the network.
    came: Vec<EventKey>,
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
    /// Whether the frame being handled is a duplicate made by the network.
    doubled: bool,
    /// Bytes of the received frames.
    received: u64,
    /// Bytes that may wait on a lane.
    most_waiting: usize,
    /// The process's knowledge of the neighbour.
    known: Known,
}

impl Endpoint {
    pub(super) fn new(
        world: &Arc<World>,
        way: (usize, usize),
        process: Process,
        (out, into): (Arc<Wire>, Arc<Wire>),
        seed: u64,
    ) -> Self {
        let Process { replica, coordinator, .. } = process;
        let agent = Agent::new(world.config(way.0), world.nodes[way.1].id, coordinator, seed);
        let most_waiting = most_waiting(&world.plan.parameters);
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
            doubled: false,
            received: 0,
            most_waiting,
            known: Known::default(),
        }
    }

    /// Runs until the connection ends.
    pub(super) async fn run(mut self) -> AgentError {
        let mut input = Some(Input::Connected);
        let end = loop {
            if let Some(input) = input
                && let Err(end) = self.step(input).await
            {
                break end;
            }
            self.tell_process(self.agent.progress().clock_offset.filter(|_| self.agent.is_settled()));
            if self.agent.open_ends() > MUCH {
                self.world.wrong(format!(
                    "the agent of {:?} has {} open ends",
                    self.way,
                    self.agent.open_ends()
                ));
            }
            input = match self.next().await {
                Ok(input) => input,
                Err(end) => break end,
            };
        };
        self.tell_process(None);
        self.agent.disconnected();
        self.out.close();
        self.into.close();
        end
    }

    fn tell_process(&mut self, offset: Option<i64>) {
        let agreement = self.agent.progress().agreement;
        let agrees = offset.is_some() && agreement.is_reached();
        let known = Known { offset, agreed_until: agreement.until, agrees };
        if known != self.known {
            self.known = known;
            self.world.learn(self.way, known);
        }
    }

    /// The next input for the agent, if any.
    async fn next(&mut self) -> Result<Option<Input>, AgentError> {
        if !self.out.is_open() {
            return Err(AgentError::Closed);
        }
        let line = self.line();
        let (reads, takes_news) =
            (self.agent.reads(self.world.moment(self.way.0).steady), self.agent.takes_news(line));
        let arrival = reads.then(|| self.into.next_at()).flatten();
        let wake = self.agent.wake_at(line).map(|at| self.world.began + at);
        tokio::select! {
            biased;
            Some(stored) = self.stores.join_next() => match stored {
                Ok(stored) => Ok(Some(self.stored(stored))),
                Err(_) => Err(AgentError::Closed),
            },
            () = until(wake) => Ok(Some(Input::Woken)),
            // New events before requests: they are announced before a snapshot differs by them.
            news = self.feed.next(), if takes_news => Ok(Some(match news {
                News::Events(news) if !(self.world.overflows() && news.len() > FEW_NEWS) => Input::News(news),
                News::Events(_) | News::Missed => Input::NewsMissed,
            })),
            () = until(arrival) => match self.into.receive(Instant::now()) {
                Some((lane, arrival)) => self.received(lane, &arrival).map(Some),
                None => Ok(None),
            },
            () = self.into.arrived.notified() => Ok(None),
            () = self.out.drained.notified() => Ok(None),
        }
    }

    fn received(&mut self, lane: Lane, arrival: &Arrival) -> Result<Input, AgentError> {
        self.doubled = arrival.doubled;
        self.received += arrival.frame.len() as u64;
        let message = decode(&arrival.frame, &self.world.plan.parameters).map_err(Fault::from)?;
        self.world.traffic().received((self.way.1, self.way.0), &message);
        Ok(Input::Received(lane, message))
    }

    fn stored(&self, stored: Stored) -> Input {
        let Stored { origin, came, outcome } = stored;
        if let Ok(inserted) = &outcome {
            let way = (self.way.1, self.way.0);
            self.world.traffic().redundancy.stored(way, origin, &came, inserted.new);
        }
        Input::Stored(origin, outcome.map(|inserted| inserted.new))
    }

    fn line(&self) -> LineState {
        LineState {
            has_room: ByLane { live: self.out.has_room(Lane::Live), repair: self.out.has_room(Lane::Repair) },
            is_overfull: self.out.is_overfull(self.most_waiting),
            unread: self.into.unread(Instant::now()),
            received: self.received,
        }
    }

    /// Feeds an input to the agent, and carries out its outputs.
    async fn step(&mut self, input: Input) -> Result<(), AgentError> {
        let (now, line) = (self.world.moment(self.way.0), self.line());
        for output in self.agent.handle(input, now, line, &self.replica).await? {
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
        Ok(())
    }

    fn store(&mut self, events: Vec<Event>, origin: Origin) {
        let replica = self.replica.clone();
        let came = if self.doubled { Vec::new() } else { events.iter().map(Event::event_key).collect() };
        self.stores
            .spawn(async move { Stored { origin, came, outcome: store(&replica, events, origin).await } });
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
