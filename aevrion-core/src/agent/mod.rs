//! The agent: what this node says to one neighbour, and what it makes of what it hears.
//!
//! One function, [`Agent::handle`], takes what has happened and gives what follows from it as [`Output`]s. Repair is a chain
//! reaction of such calls: there is no mode and no session script, and whoever falls silent in the middle has broken
//! nothing. The agent does no input or output of its own. Time comes in as a [`Moment`], randomness as a seed, the
//! replica as [`Holdings`] (which is why some functions are `async`: for reading, never for waiting); so a thousand
//! agents can run in one process under one clock, and any failure replays from its seed.
//!
//! Whoever drives an agent calls [`Agent::handle`] for each [`Input`], in the order that [`driver`] states.
//!
//! When snapshots differ, each side asks for what it holds nothing of, and the one with the smaller id looks into what
//! both hold something of: otherwise both would repair the same difference at once. What is left to the other side it
//! learns from a snapshot. No events are sent unasked but news: only whoever asks knows what it waits for.

mod agreement;
mod budget;
mod clocks;
mod compare;
mod desk;
mod driver;
#[cfg(test)]
mod endless;
mod exchange;
mod fault;
mod flight;
mod greet;
mod holdings;
mod intake;
mod live;
mod mending;
mod pace;
mod repair;
mod schedule;
mod shares;
mod silence;
mod snapshot;
mod spans;
mod suspects;
mod wanted;
mod window;
mod wished;

use std::sync::Arc;
use std::time::Duration;

use crate::message::{EventList, Events, Hello, Message, NeedEvents, Reply};
pub use crate::news::{NewEvent, Origin};
use crate::transport::Lane;
use crate::tree::Shape;
use crate::{Address, Event, Hash, Incarnation, NodeId, Parameters, ReadError, TimeSpan, Timestamp};

pub use agreement::{Agreement, CatchUp};
pub use budget::Budget;
use budget::Metered;
use clocks::Clocks;
pub use clocks::SAMPLES;
#[cfg(feature = "testkit")]
pub(crate) use desk::CHECK_EVERY;
pub use desk::Desk;
use driver::Driver;
#[cfg(feature = "testkit")]
pub(crate) use driver::REST;
pub use driver::{AgentError, ByLane, Input, LineState};
use exchange::Exchange;
pub use fault::{Fault, Incompatible};
use flight::InFlight;
pub use greet::Introduction;
pub(crate) use greet::hello;
pub use holdings::{CheckedHashes, Holdings, Walked};
use intake::Intake;
use mending::Mending;
use pace::Bucket;
pub use pace::Rate;
use schedule::{InTurn, Reach, Schedule};
use shares::Rotation;
pub use silence::Patience;
use suspects::Suspects;
use wanted::Wanted;
use wished::Wished;

/// What time it is, for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since some fixed beginning; never runs backwards. What is waited for is measured by it.
    pub steady: Duration,
    /// The time of day. It may jump.
    pub wall: Timestamp,
}

/// What the agent wants done, in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send this to the neighbour.
    Send(Lane, Message),
    /// Store these; [`Input::Stored`] says when it is done.
    Store(Vec<Event>, Origin),
}

/// Why the agent could not go on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    /// The neighbour's doing: the connection is to be closed with this reason. The agent is of no more use.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The replica could not be read. Nothing was answered; the agent goes on with what comes next.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// For whom an agent speaks, and on what terms.
#[derive(Debug, Clone)]
pub struct Terms {
    /// This node.
    pub node: NodeId,
    /// Which opening of its store it is.
    pub incarnation: Incarnation,
    /// Where it listens, as far as it knows: at most [`LISTENS`](crate::bounds::LISTENS).
    pub listens: Vec<String>,
    /// What its cluster shares.
    pub parameters: Parameters,
    /// The space that is synchronised.
    pub space: String,
    /// How far back of the present snapshots end, at least: what is younger may still be in flight.
    pub grace: Duration,
    /// How far apart clocks may be without alarm.
    pub max_drift: Duration,
    /// Largest event that is pushed, in bytes of key and value. Larger ones are announced.
    pub pushed: usize,
    /// When the neighbour is given up.
    pub patience: Patience,
}

/// What this node says to one neighbour. See the [module](self).
pub struct Agent {
    terms: Terms,
    shape: Shape,
    neighbour: NodeId,
    /// Until when what the neighbour has proven of itself holds, as [`Moment::steady`] counts.
    proven_until: Option<Duration>,
    driver: Driver,
    desk: Arc<Desk>,
    random: u64,
    clocks: Clocks,
    /// Hellos sent on this connection.
    greetings: u32,
    /// Measurements that our last Hello stated.
    stated: u8,
    /// The neighbour's last Hello: its number, how many measurements it stated, when it came.
    heard: Option<(u32, u8, Duration)>,
    /// Who the neighbour says that it is.
    introduction: Option<Introduction>,
    /// Where another machine with the neighbour's identity was met.
    conflict: Option<String>,
    /// Events to be announced, and when at the latest.
    announcements: Vec<Address>,
    announce_at: Option<Duration>,
    /// Events asked for after an announcement.
    wanted: Wanted,
    /// Events asked for because a list named them.
    wished: Wished,
    /// Events asked for because they are damaged here.
    mending: Mending,
    /// How many of all these were given up and may come after all.
    forgotten: usize,
    /// Where the listing of a span with many events goes on.
    rotation: Rotation,
    flight: InFlight,
    exchange: Exchange,
    /// Where stored hashes may be wrong.
    suspects: Suspects,
    /// Wishes of the neighbour for what does not exist, and how often they come.
    mistaken: u32,
    mistakes: Bucket,
    /// What this side takes in by repairs.
    intake: Intake,
    /// Whether a large event may be put on the repair lane.
    room_for_large: bool,
    /// When snapshots are compared next.
    schedule: Schedule,
    /// How often the neighbour may make this side compare.
    pace: Bucket,
    /// The last digest sent of the past and of the future: when, and of what span.
    digest_sent: [Option<(Duration, TimeSpan)>; 2],
    /// The roots at the last agreements about the past and about the future: about the neighbour's span and about this
    /// side's own. Where the clocks are far apart the two spans have little in common.
    agreed_root: [[Option<Hash>; 2]; 2],
    /// Snapshots of the past and of the future in a row that were left alone because events were in flight.
    deferred: [u32; 2],
    agreement: Agreement,
    /// Where the last digest differed, the latest first; nothing in agreement.
    differences: Arc<[TimeSpan]>,
    /// The blocks of the last digests of the past and of the future that differ still, as far as is known.
    blocks_left: [Vec<TimeSpan>; 2],
}

impl Agent {
    /// An agent for the connection to `neighbour`. `seed` is the source of its randomness (salts of lists), `desk`
    /// what it shares with the other agents of its node.
    pub fn new(terms: Terms, neighbour: NodeId, desk: Arc<Desk>, seed: u64) -> Self {
        Self {
            shape: Shape::new(&terms.parameters),
            driver: Driver::new(&terms),
            terms,
            neighbour,
            proven_until: None,
            desk,
            random: seed,
            clocks: Clocks::default(),
            greetings: 0,
            stated: 0,
            heard: None,
            introduction: None,
            conflict: None,
            announcements: Vec::new(),
            announce_at: None,
            wanted: Wanted::default(),
            wished: Wished::default(),
            mending: Mending::default(),
            forgotten: 0,
            rotation: Rotation::default(),
            flight: InFlight::default(),
            exchange: Exchange::default(),
            suspects: Suspects::default(),
            mistaken: 0,
            mistakes: Bucket::default(),
            intake: Intake::default(),
            room_for_large: true,
            schedule: Schedule::default(),
            pace: Bucket::default(),
            digest_sent: [None; 2],
            agreed_root: [[None; 2]; 2],
            deferred: [0; 2],
            agreement: Agreement::default(),
            differences: Arc::default(),
            blocks_left: Default::default(),
        }
    }

    /// What the neighbour has proven of itself ends then, and the connection with it.
    pub fn proven_until(mut self, until: Duration) -> Self {
        self.proven_until = Some(until);
        self
    }

    /// The connection stands: the first greeting.
    fn connected(&mut self, now: Moment) -> Vec<Output> {
        vec![self.greeting(now, false)]
    }

    /// Answers a message.
    ///
    /// # Errors
    /// [`Halt`].
    async fn on_message(
        &mut self,
        message: Message,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        if !matches!(message, Message::Hello(_)) && self.clocks.taken() < SAMPLES {
            return Err(Fault::Unsettled(message.name()).into());
        }
        if let Some(outputs) = self.spare(&message, now) {
            return Ok(outputs);
        }
        let holdings = &self.metered(holdings, now);
        match message {
            Message::Hello(hello) => self.on_hello(hello, now),
            Message::Push(push) => Ok(self.on_push(push, now)),
            Message::Snapshot(snapshot) => self.on_snapshot(snapshot, now, holdings).await,
            Message::Nodes(nodes) => self.on_nodes(nodes, now, holdings).await,
            Message::EventList(EventList::Announced(addresses)) => {
                self.on_announced(addresses, now, holdings).await
            }
            Message::EventList(EventList::Held(lists)) => self.on_lists(lists, now, holdings).await,
            Message::NeedEvents(NeedEvents::At(addresses)) => self.on_wanted(&addresses, now, holdings).await,
            Message::NeedEvents(NeedEvents::Of(lists)) => self.on_wished(&lists, now, holdings).await,
            Message::Events(Events { reply, events }) => match reply {
                Reply::At { more } => self.on_wanted_events(events, more, now),
                Reply::Of { more, last } => self.on_wished_events(events, (more, last), now, holdings).await,
                Reply::Block { span, rest, last } => {
                    self.on_block((span, rest, last), events, now, holdings).await
                }
            },
        }
    }

    /// What is said instead of an answer while the neighbour's budget is used up, if the message asks for one.
    fn spare(&mut self, message: &Message, now: Moment) -> Option<Vec<Output>> {
        self.desk.budgets.used_up_until(self.neighbour, now.steady)?;
        let outputs = match message {
            // One comparison of this side answers them all.
            Message::Snapshot(_) => {
                self.compare_again(now);
                Vec::new()
            }
            Message::EventList(EventList::Announced(_)) => {
                self.compare_soon(now.steady);
                Vec::new()
            }
            message => self.decline(message)?,
        };
        self.desk.budgets.decline(self.neighbour, now.steady);
        Some(outputs)
    }

    /// What the replica holds, read at the neighbour's expense.
    fn metered<'h, H: Holdings>(&self, holdings: &'h H, now: Moment) -> Metered<'h, H> {
        Metered { holdings, desk: Arc::clone(&self.desk), neighbour: self.neighbour, now: now.steady }
    }

    /// What an [`Output::Store`] has come to: how many of its events were new here.
    ///
    /// # Errors
    /// [`Halt::Read`].
    async fn stored(
        &mut self,
        new: u64,
        origin: Origin,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        if matches!(origin, Origin::Repaired(_)) {
            self.intake.stored();
            self.exchange.received(new);
            self.exchange.heard(now.steady);
            self.desk.may_repair(self.neighbour, now.steady);
            self.agreement.received(new);
        } else {
            self.wanted.stored();
        }
        Ok(self.go_on(now, &self.metered(holdings, now)).await?)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`Halt::Read`].
    async fn wake(&mut self, now: Moment, holdings: &impl Holdings) -> Result<Vec<Output>, Halt> {
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now.steady);
        let mut outputs = Vec::new();
        if due(self.announce_at) {
            outputs.extend(self.announce());
        }
        if !self.is_settled() {
            return Ok(outputs);
        }
        let holdings = &self.metered(holdings, now);
        self.wanted.looked(now.steady);
        if due(self.wanted.overdue_at()) {
            self.forget_overdue(now.steady);
        }
        if due(self.wanted.left_at()) {
            outputs.extend(self.want_instead(now, holdings).await?);
        }
        if due(self.mend_at()) {
            outputs.extend(self.mend(now));
        }
        if due(self.exchange.quiet_at(self.clocks.round_trip())) && self.intake.stores() == 0 {
            self.end_of_exchange(now);
        }
        self.check_suspects(now, holdings).await?;
        if self.schedule.ticks(now.steady) {
            self.schedule.tick(now.steady + self.until_tick(now.wall));
            self.exchange.retry();
            outputs.push(self.greeting(now, false));
        }
        let used_up = self.desk.budgets.used_up_until(self.neighbour, now.steady);
        match self.schedule.due(now.steady).filter(|_| !self.exchange.is_active()) {
            Some(_) if used_up.is_some() => self.schedule.put_off(used_up.unwrap_or(now.steady)),
            Some(InTurn(true)) if !self.desk.is_free_for(self.neighbour, now.steady) => {
                self.compare_again(now);
            }
            Some(_) => {
                let reach = self.schedule.compared();
                outputs.extend(self.compare(now, holdings, reach).await?);
            }
            None => {}
        }
        Ok(outputs)
    }

    /// Bytes of a long answer are arriving, though no whole frame: the neighbour has not fallen silent. Asking anew would
    /// bring the same twice. Said before [`Agent::wake`], if it is so.
    fn arriving(&mut self, now: Moment) {
        if self.exchange.awaits() {
            self.join_repair(now);
        }
        if self.wanted.arriving(now.steady) {
            self.desk.prolong(self.neighbour, self.wanted.asked(), now.steady);
        }
    }

    /// When [`Agent::wake`] has something to do, if nothing happens before.
    fn due_at(&self) -> Option<Duration> {
        let quiet = self.exchange.quiet_at(self.clocks.round_trip()).filter(|_| self.intake.stores() == 0);
        let planned = self.schedule.wake_at(self.exchange.is_active());
        let (overdue, left) = (self.wanted.overdue_at(), self.wanted.left_at());
        let checks = self.suspects.are_there() && !self.exchange.is_active();
        let check = checks.then(|| self.desk.checks_at());
        let settled = [overdue, left, self.wanted.look_at(), self.mend_at(), quiet, planned, check];
        let settled = settled.into_iter().filter(|_| self.is_settled()).flatten();
        settled.chain(self.announce_at).min()
    }

    /// Compares everything, the future included and without regard to what is in flight.
    ///
    /// # Errors
    /// [`Halt::Read`].
    async fn compare_now(&mut self, now: Moment, holdings: &impl Holdings) -> Result<Vec<Output>, Halt> {
        if !self.is_settled() {
            return Ok(Vec::new());
        }
        if self.exchange.is_active() {
            // A repair ends with a comparison; this has it ask about the future, too.
            self.agreement.future = Some(false);
            return Ok(Vec::new());
        }
        self.exchange.begin_anew();
        self.compare(now, &self.metered(holdings, now), Reach::Everything).await
    }

    /// More happened than could be told: what was missed is found by comparing.
    fn overflowed(&mut self, now: Moment) {
        self.announcements.clear();
        self.announce_at = None;
        self.agreement.miss();
        self.compare_soon(now.steady);
    }

    /// The connection is over: others may be asked for what this neighbour was.
    pub fn disconnected(&mut self) {
        self.give_up_mending(Duration::ZERO);
        self.desk.leave(self.neighbour, &self.wanted.give_up());
    }

    /// Whether data may flow: both sides have measured the other's clock.
    pub fn is_settled(&self) -> bool {
        self.clocks.taken() >= SAMPLES && self.heard.is_some_and(|(_, samples, _)| samples >= SAMPLES)
    }

    /// To whom it speaks.
    pub fn neighbour(&self) -> NodeId {
        self.neighbour
    }

    /// What the neighbour said of itself in its last Hello.
    pub fn introduction(&self) -> Option<&Introduction> {
        self.introduction.as_ref()
    }

    /// Whether a repair is under way.
    pub fn is_repairing(&self) -> bool {
        self.exchange.is_active() || self.intake.stores() > 0
    }

    /// Milliseconds that the neighbour's clock is ahead of this node's; negative if it is behind.
    pub fn clock_offset(&self) -> Option<i64> {
        self.clocks.offset()
    }

    /// The time there and back, as the greetings measured it.
    pub fn round_trip(&self) -> Duration {
        self.clocks.round_trip()
    }

    /// Questions and news that wait for something: none when both sides agree and nothing happens.
    #[cfg(feature = "testkit")]
    pub(crate) fn open_ends(&self) -> usize {
        self.announcements.len() + self.wanted.len() + self.wished.len() + self.intake.stores() as usize
    }

    /// What is known of the neighbour's agreement.
    pub fn agreement(&self) -> Agreement {
        self.agreement
    }

    /// The spans in which the two differed when digests were last compared, the latest first: the first few.
    pub fn differences(&self) -> &Arc<[TimeSpan]> {
        &self.differences
    }

    /// The next number of this agent's randomness (SplitMix64, Steele et al. 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
