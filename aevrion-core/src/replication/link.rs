//! A link: the task that drives one agent over one connection.
//!
//! A link never waits for the network: separate tasks read ahead, and output is queued. When the neighbour does not
//! read, its questions are dropped instead of queueing their answers, and new events stay in the feed; a comparison
//! makes up for both once there is room. When this node's disk is slow, the link stops reading, and the transport
//! applies back pressure to the neighbour. Neither affects other links. A neighbour that reads almost nothing, or sends
//! nothing at all, is dropped after a timeout.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::counters::Counters;
use super::ends::LinkEnd;
use super::frames::Frames;
use super::lanes::{Incoming, Lanes};
use super::place::Place;
use super::storing::store;
use crate::agent::{Agent, AgentError, Input, Now, Origin, Output, Progress};
use crate::message::Message;
use crate::replica::{FeedReader, News, Replica};
use crate::steady;
use crate::transport::{Connection, Lane};
use crate::{Timestamp, WallClock, WriteError};

/// A command to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Compare the events up to this time, and then those after it.
    Compare(Timestamp),
    /// Tell the neighbour of another machine with its identity.
    Warn,
}

/// The task's state.
pub(super) struct Link {
    pub(super) agent: Agent,
    pub(super) connection: Arc<dyn Connection>,
    pub(super) lanes: Lanes,
    pub(super) replica: Replica,
    pub(super) feed: FeedReader,
    /// Changes when a damaged event is found or repaired.
    pub(super) damage: watch::Receiver<u64>,
    pub(super) wall: Arc<dyn WallClock>,
    pub(super) began: Instant,
    pub(super) counters: Arc<Counters>,
    pub(super) frames: Arc<Frames>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// The running stores.
    pub(super) stores: JoinSet<(Origin, Result<u64, WriteError>)>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) place: Arc<Place>,
    /// Whether the neighbour's identity and address are recorded.
    pub(super) is_introduced: bool,
}

impl Link {
    /// Runs until the connection ends, and returns the reason. The connection is closed with that reason. `hello` is
    /// the neighbour's handshake message, if it was read already.
    pub(super) async fn run(mut self, hello: Option<Message>) -> LinkEnd {
        let Err(end) = self.drive(hello).await;
        self.agent.disconnected();
        if let Some(name) = end.fault() {
            self.counters.fault(name);
        }
        self.connection.close(&end.to_string());
        end
    }

    async fn drive(&mut self, hello: Option<Message>) -> Result<Infallible, LinkEnd> {
        // Includes the damage found before the link started.
        self.damage.mark_changed();
        self.step(Input::Connected).await?;
        if let Some(hello) = hello {
            self.step(Input::Received(Lane::Live, hello)).await?;
        }
        loop {
            self.report();
            if let Some(input) = self.next().await? {
                self.step(input).await?;
            }
        }
    }

    /// The next input for the agent; `None` if the agent is not concerned.
    async fn next(&mut self) -> Result<Option<Input>, LinkEnd> {
        let line = self.lanes.state();
        let wake = self.agent.wake_at(line).map(|at| self.began + at);
        let (reads, takes_news) = (self.agent.reads(self.now().steady), self.agent.takes_news(line));
        let Lanes { outgoing, incoming, stalled, .. } = &mut self.lanes;
        tokio::select! {
            biased;
            command = self.commands.recv() => match command {
                Some(Command::Compare(wall)) => Ok(Some(Input::Compare(wall))),
                Some(Command::Warn) => Ok(self.warning()),
                None => Err(LinkEnd::Dismissed),
            },
            Some(stored) = self.stores.join_next() => match stored {
                Ok((origin, outcome)) => Ok(Some(Input::Stored(origin, outcome))),
                Err(_) => Err(LinkEnd::Dismissed),
            },
            () = stalled.notified() => Ok(Some(Input::Stalled)),
            () = until(wake) => Ok(Some(Input::Woken)),
            // New events before questions: they are sent before a snapshot is found to differ by them.
            news = self.feed.next(), if takes_news => Ok(Some(match news {
                News::Events(news) => Input::News(news),
                News::Missed => {
                    self.counters.overflow();
                    Input::NewsMissed
                }
            })),
            Some(incoming) = incoming.live.recv(), if reads => received(Lane::Live, incoming).map(Some),
            Ok(()) = self.damage.changed() => Ok(Some(Input::Damaged(self.replica.damaged_event_keys()))),
            () = outgoing.live.room(), if !takes_news => Ok(None),
            Some(incoming) = incoming.repair.recv(), if reads => received(Lane::Repair, incoming).map(Some),
        }
    }

    /// Passes an input to the agent, and records what it tells of the neighbour.
    async fn step(&mut self, input: Input) -> Result<(), LinkEnd> {
        let introduces = matches!(input, Input::Received(_, Message::Hello(_)));
        let warns = introduces || matches!(input, Input::Woken);
        self.tell(input).await?;
        if introduces {
            self.introduce();
        }
        match self.warning().filter(|_| warns) {
            Some(warning) => self.tell(warning).await,
            None => Ok(()),
        }
    }

    /// Passes an input to the agent, and carries out its outputs.
    async fn tell(&mut self, input: Input) -> Result<(), LinkEnd> {
        self.lanes.count_received();
        let (now, line, shed) = (self.now(), self.lanes.state(), self.agent.shed());
        let outputs = self.agent.handle(input, now, line, &self.replica).await?;
        (shed..self.agent.shed()).for_each(|_| self.counters.shed());
        for output in outputs {
            match output {
                Output::Send(lane, message) => {
                    tracing::trace!(to = %self.agent.neighbour(), ?lane, %message);
                    self.counters.sent(&message);
                    self.lanes.send(lane, self.frames.encode(&message));
                }
                Output::Store(events, origin) => {
                    let replica = self.replica.clone();
                    self.stores.spawn(async move {
                        (origin, store(&replica, events, origin).await.map(|inserted| inserted.new))
                    });
                }
            }
        }
        Ok(())
    }

    /// Records the neighbour's identity and its knowledge about this node.
    fn introduce(&mut self) {
        let Some(introduction) = self.agent.introduction() else { return };
        if let Some(there) = &introduction.conflict {
            self.place.told_of_conflict(there);
        }
        if !self.is_introduced && self.agent.is_settled() {
            self.place.settled(introduction);
            self.is_introduced = true;
        }
    }

    /// The message to the neighbour about another machine with its identity.
    fn warning(&self) -> Option<Input> {
        let introduction = self.agent.introduction()?;
        Some(Input::Conflict(self.place.conflict(introduction.incarnation)))
    }

    fn now(&self) -> Now {
        Now { steady: steady::since(self.began), wall: self.wall.now() }
    }

    fn report(&self) {
        let progress = self.agent.progress();
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
