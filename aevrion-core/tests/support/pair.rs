//! Two agents and their replicas, with all messages between them recorded. Time stands still except for the latency of
//! each message; the messages depend only on the events of the two.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aevrion_core::agent::{
    Agent, AgentConfig, Input, LineState, NewEvent, Now, Origin, Output, RepairCoordinator, StallTimeouts,
};
use aevrion_core::bounds::PUSHED_BYTES;
use aevrion_core::message::{Message, Push, Source, decode, encode};
use aevrion_core::store::{Durability, EventStore, MemoryStore};
use aevrion_core::transport::Lane;
use aevrion_core::{Event, Incarnation, ManualWall, NodeId, Options, Parameters, Replica, Timestamp};

/// One of the two nodes.
pub(crate) struct Side {
    pub(crate) replica: Replica,
    agent: Agent,
    /// The lead of its clock.
    ahead: Duration,
    /// Frames in flight to this side.
    inbox: VecDeque<(Lane, Vec<u8>)>,
    name: &'static str,
    pub(crate) sent_frames: u64,
    pub(crate) sent_bytes: u64,
}

/// Both sides, and their messages.
pub(crate) struct Pair {
    pub(crate) sides: [Side; 2],
    pub(crate) transcript: String,
    steady: Duration,
    wall: Timestamp,
    /// The one-way latency.
    latency: Duration,
    /// Changes of direction, two to a round trip.
    pub(crate) turns: u64,
    last_speaker: Option<usize>,
    /// Turns and bytes up to the last transfer of events: later ones only confirmed it.
    pub(crate) repaired: (u64, u64),
    /// Turns and bytes of the first round trip, after which each side knows whether they agree.
    pub(crate) compared: (u64, u64),
    /// Turns and bytes before the first events.
    pub(crate) to_first_events: Option<(u64, u64)>,
    /// The length of the longest frame.
    longest: usize,
    /// Bytes of the events sent, with their fields and lengths.
    pub(crate) event_bytes: u64,
    /// Events sent that the other side had.
    pub(crate) sent_again: u64,
    /// The time in the agents and in the codec. Storing is not in it.
    pub(crate) computing: Duration,
}

/// The agent of node 1 or 2 for the connection to the other one.
fn agent(number: u8, parameters: Parameters) -> Agent {
    let config = AgentConfig {
        node: NodeId::from_bytes([number; 32]),
        incarnation: Incarnation::from_bytes([0; 8]),
        listens: Vec::new(),
        parameters,
        space: "default".into(),
        grace: Duration::from_secs(2),
        max_drift: Duration::from_secs(60),
        pushed: PUSHED_BYTES,
        timeouts: StallTimeouts::default(),
    };
    let neighbour = NodeId::from_bytes([3 - number; 32]);
    Agent::new(config, neighbour, Arc::new(RepairCoordinator::default()), u64::from(number))
}

/// The default one-way latency.
const LATENCY: Duration = Duration::from_millis(5);

impl Pair {
    /// Two empty replicas, `a` and `b`, whose clocks show `wall`. `a` has the smaller id.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) async fn new(parameters: Parameters, wall: u64) -> Self {
        Self::over([MemoryStore::new(), MemoryStore::new()], parameters, wall).await
    }

    /// As [`Pair::new`], in stores that may hold data.
    pub(crate) async fn over<S: EventStore>([a, b]: [S; 2], parameters: Parameters, wall: u64) -> Self {
        let wall = Timestamp::from_millis(wall);
        let side = async |store: S, number: u8, name| {
            let node = NodeId::from_bytes([number; 32]);
            let options =
                Options::default().parameters(parameters).joins().node(node).wall(ManualWall::at(wall));
            let replica = Replica::open(store, options).await.unwrap();
            let agent = agent(number, parameters);
            let (ahead, inbox) = (Duration::ZERO, VecDeque::new());
            Side { replica, agent, ahead, inbox, name, sent_frames: 0, sent_bytes: 0 }
        };
        let sides = [side(a, 1, "a").await, side(b, 2, "b").await];
        Self {
            sides,
            transcript: String::new(),
            steady: Duration::ZERO,
            wall,
            latency: LATENCY,
            turns: 0,
            last_speaker: None,
            repaired: (0, 0),
            compared: (0, 0),
            to_first_events: None,
            longest: 0,
            event_bytes: 0,
            sent_again: 0,
            computing: Duration::ZERO,
        }
    }

    /// Sets the one-way latency.
    pub(crate) fn take(&mut self, latency: Duration) {
        self.latency = latency;
    }

    /// Puts the clocks of both sides ahead.
    pub(crate) fn put_ahead(&mut self, by: [Duration; 2]) {
        self.sides.iter_mut().zip(by).for_each(|(side, by)| side.ahead = by);
    }

    fn now(&self, side: usize) -> Now {
        Now { steady: self.steady, wall: self.wall.after(self.steady + self.sides[side].ahead) }
    }

    /// Stores events on one side without telling the other.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) async fn hold(&mut self, side: usize, events: Vec<Event>) {
        for batch in events.chunks(4_096) {
            self.sides[side].replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap();
        }
    }

    /// Writes on one side, and announces it to the other.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) async fn write(&mut self, side: usize, event: Event) {
        self.sides[side].replica.insert(vec![event.clone()], Durability::Immediate).await.unwrap();
        let news = Input::News(vec![NewEvent { event, origin: Origin::Local }]);
        self.tell(side, news).await;
        self.settle().await;
    }

    /// Connects the two and runs handshake and comparison until neither has anything to send.
    pub(crate) async fn connect(&mut self) {
        for side in 0..2 {
            self.tell(side, Input::Connected).await;
        }
        self.settle().await;
    }

    /// Connects the two anew: nothing is remembered of earlier comparisons.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) async fn reconnect(&mut self) {
        for (side, number) in self.sides.iter_mut().zip(1..) {
            side.agent = agent(number, side.replica.parameters());
        }
        self.connect().await;
    }

    /// Runs the next timers of the agents, the minute's comparison included.
    pub(crate) async fn pass_time(&mut self, span: Duration) {
        let until = self.steady + span;
        while let Some(at) = self
            .sides
            .iter()
            .filter_map(|side| side.agent.wake_at(LineState::IDLE))
            .min()
            .filter(|at| *at <= until)
        {
            self.steady = self.steady.max(at);
            for side in 0..2 {
                self.tell(side, Input::Woken).await;
            }
            self.deliver_all().await;
        }
        self.steady = until;
    }

    /// Delivers the frames in flight, and runs the timers of the next few seconds.
    pub(crate) async fn settle(&mut self) {
        self.deliver_all().await;
        self.pass_time(Duration::from_secs(3)).await;
    }

    async fn deliver_all(&mut self) {
        while self.sides.iter().any(|side| !side.inbox.is_empty()) {
            self.steady += self.latency;
            // A reply to these frames is in flight for as long again.
            let arrived = [0, 1].map(|side: usize| std::mem::take(&mut self.sides[side].inbox));
            for (side, arrived) in arrived.into_iter().enumerate() {
                for (lane, frame) in arrived {
                    let parameters = self.sides[side].replica.parameters();
                    let began = Instant::now();
                    let message = decode(&frame, &parameters).unwrap();
                    self.computing += began.elapsed();
                    self.tell(side, Input::Received(lane, message)).await;
                }
            }
        }
    }

    /// Feeds an input to an agent, and carries out its outputs.
    async fn tell(&mut self, side: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.now(side);
            let Side { agent, replica, .. } = &mut self.sides[side];
            let began = Instant::now();
            let outputs = agent.handle(input, now, LineState::IDLE, replica).await;
            self.computing += began.elapsed();
            let outputs = outputs.unwrap_or_else(|error| panic!("{error}:\n{}", self.transcript));
            for output in outputs {
                match output {
                    Output::Send(lane, message) => self.send(side, lane, &message),
                    Output::Store(events, origin) => {
                        let mut new = 0;
                        for batch in events.chunks(4_096) {
                            let stored =
                                self.sides[side].replica.insert(batch.to_vec(), Durability::Immediate);
                            new += stored.await.unwrap().new;
                        }
                        self.sent_again += events.len() as u64 - new;
                        inputs.push_back(Input::Stored(origin, Ok(new)));
                    }
                }
            }
        }
    }

    fn send(&mut self, side: usize, lane: Lane, message: &Message) {
        let began = Instant::now();
        let frame = encode(message);
        self.computing += began.elapsed();
        // Handshakes are not counted: they are the same for every connection.
        if !matches!(message, Message::Hello(_)) {
            if self.last_speaker != Some(side) {
                self.turns += 1;
                self.last_speaker = Some(side);
            }
            self.longest = self.longest.max(frame.len());
            if !message.events().is_empty() {
                self.to_first_events = self.to_first_events.or(Some((self.turns, self.bytes())));
            }
            self.sides[side].sent_frames += 1;
            self.sides[side].sent_bytes += frame.len() as u64 + 4;
            self.event_bytes += message.events().iter().map(size_of_event).sum::<u64>();
            if !message.events().is_empty() {
                self.repaired = (self.turns, self.bytes());
            }
            if self.turns <= 2 {
                self.compared = (self.turns, self.bytes());
            }
        }
        let (from, to) = (self.sides[side].name, self.sides[1 - side].name);
        let _ = writeln!(self.transcript, "{from} → {to}  {message}  ({} B)", frame.len());
        self.sides[1 - side].inbox.push_back((lane, frame.to_vec()));
    }

    /// Resets the recorded messages and counts.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) fn begin_to_count(&mut self) {
        self.transcript.clear();
        self.turns = 0;
        self.last_speaker = None;
        (self.to_first_events, self.longest) = (None, 0);
        (self.repaired, self.event_bytes, self.sent_again) = ((0, 0), 0, 0);
        (self.compared, self.computing) = ((0, 0), Duration::ZERO);
        for side in &mut self.sides {
            (side.sent_frames, side.sent_bytes) = (0, 0);
        }
    }

    /// Bytes sent in both directions, with the lengths of frames, without handshakes.
    pub(crate) fn bytes(&self) -> u64 {
        self.sides.iter().map(|side| side.sent_bytes).sum()
    }

    /// Frames sent in both directions, without handshakes.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) fn frames(&self) -> u64 {
        self.sides.iter().map(|side| side.sent_frames).sum()
    }

    /// The length of the longest frame, without handshakes.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) fn longest_frame(&self) -> usize {
        self.longest
    }

    /// Whether both hold the same events.
    pub(crate) async fn agree(&self) -> bool {
        self.sides[0].replica.root().await.unwrap() == self.sides[1].replica.root().await.unwrap()
    }
}

/// The length of an event in a message.
pub(crate) fn size_of_event(event: &Event) -> u64 {
    let push = |events| encode(&Message::Push(Push { source: Source::UNKNOWN, events })).len() as u64;
    push(vec![event.clone()]) - push(Vec::new())
}
