//! Two agents and their replicas on a slow line: with bandwidth, latency, and slow disks. All time is computed, so
//! hours pass in moments and nothing depends on this machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::agent::{
    Agent, AgentConfig, ByLane, Input, LineState, NewEvent, Now, Origin, Output, RepairCoordinator,
    StallTimeouts,
};
use aevrion_core::bounds::{LANE_BYTES, PUSHED_BYTES};
use aevrion_core::message::{Message, decode, encode};
use aevrion_core::store::{Durability, MemoryStore, Table};
use aevrion_core::transport::Lane;
use aevrion_core::{
    Event, EventKey, Incarnation, ManualWall, NodeId, Options, Parameters, ReadError, Replica, Timestamp,
};

use super::held::Held;

/// The clocks at the beginning.
pub(crate) const NOW: u64 = 1_700_000_000_000;

/// The cost of a waiting frame beside its bytes.
const FRAME_COST: usize = 64;

/// The speeds of the line and the disks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed {
    /// Bytes a second, each way.
    pub(crate) bandwidth: u64,
    /// One way.
    pub(crate) latency: Duration,
    /// The duration of a store operation.
    pub(crate) store: Duration,
}

/// One side.
pub(crate) struct Side {
    pub(crate) replica: Replica,
    pub(crate) agent: Agent,
    coordinator: Arc<RepairCoordinator>,
    /// An unreadable event.
    pub(crate) damaged: Option<EventKey>,
    /// Frames in flight to this side, by lane, with their arrival times.
    arriving: [VecDeque<(Duration, Vec<u8>)>; 2],
    /// The end of its repair lane's sending, and the sizes of the waiting frames with their ends.
    busy: Duration,
    waiting: VecDeque<(Duration, usize)>,
    stores: Vec<(Duration, Vec<Event>, Origin)>,
    /// Stores in progress when the connection broke, with their ends.
    left: Vec<(Duration, Vec<Event>)>,
    /// Bytes received.
    received: u64,
    /// Bytes of all sent frames and of those with events; numbers of events and of snapshots.
    pub(crate) sent: u64,
    pub(crate) sent_events: u64,
    pub(crate) events: u64,
    /// Bytes of frames with events in flight to this side when the line broke.
    pub(crate) lost_events: u64,
    pub(crate) snapshots: u64,
}

/// The next step of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    LeftStored,
    Stored,
    Wake,
    Arrives(usize),
}

/// Both sides, and the line between them.
pub(crate) struct Line {
    pub(crate) sides: [Side; 2],
    pub(crate) now: Duration,
    speed: Speed,
}

impl Line {
    /// Two empty replicas. The first has the smaller id.
    pub(crate) async fn new(speed: Speed) -> Self {
        let side = async |number: u8, other: u8| {
            let (node, neighbour) = (NodeId::from_bytes([number; 32]), NodeId::from_bytes([other; 32]));
            let wall = Arc::new(ManualWall::at(Timestamp::from_millis(NOW)));
            let options = Options::default().node(node).wall(wall);
            let replica = Replica::open(MemoryStore::new(), options).await.unwrap();
            let coordinator = Arc::new(RepairCoordinator::default());
            Side {
                replica,
                agent: agent_of(node, neighbour, &coordinator),
                coordinator,
                damaged: None,
                arriving: Default::default(),
                busy: Duration::ZERO,
                waiting: VecDeque::new(),
                stores: Vec::new(),
                left: Vec::new(),
                received: 0,
                sent: 0,
                sent_events: 0,
                events: 0,
                lost_events: 0,
                snapshots: 0,
            }
        };
        Self { sides: [side(1, 2).await, side(2, 1).await], now: Duration::ZERO, speed }
    }

    /// Stores events on one side without telling the other.
    pub(crate) async fn hold(&mut self, side: usize, events: Vec<Event>) {
        insert(&self.sides[side].replica, &events).await;
    }

    /// Writes on one side, and announces it to the other.
    pub(crate) async fn write(&mut self, side: usize, event: Event) {
        insert(&self.sides[side].replica, std::slice::from_ref(&event)).await;
        self.tell(side, Input::News(vec![NewEvent { event, origin: Origin::Local }])).await;
    }

    /// Connects the two.
    pub(crate) async fn connect(&mut self) {
        for side in 0..2 {
            self.tell(side, Input::Connected).await;
        }
    }

    /// Has one side compare everything at once.
    pub(crate) async fn compare(&mut self, side: usize) {
        self.tell(side, Input::Compare(self.moment().wall)).await;
    }

    /// Makes one side miss events.
    pub(crate) async fn overflow(&mut self, side: usize) {
        self.tell(side, Input::NewsMissed).await;
    }

    /// Breaks the connection: frames in flight are lost, and store operations in progress complete in their time. Then
    /// connects again.
    pub(crate) async fn break_off(&mut self) {
        let [node, neighbour] = [1, 0].map(|side: usize| self.sides[side].agent.neighbour());
        for (side, (node, neighbour)) in self.sides.iter_mut().zip([(node, neighbour), (neighbour, node)]) {
            side.left.extend(side.stores.drain(..).map(|(at, events, _)| (at, events)));
            side.agent.disconnected();
            side.agent = agent_of(node, neighbour, &side.coordinator);
            let lost = std::mem::take(&mut side.arriving).into_iter().flatten();
            let lost = lost.filter(|(_, frame)| !decoded(frame).events().is_empty());
            side.lost_events += lost.map(|(_, frame)| frame.len() as u64).sum::<u64>();
            side.waiting.clear();
            side.busy = self.now;
            side.received = 0;
        }
        self.connect().await;
    }

    /// Lets time pass until both hold the same events: returns the seconds, at most `most`.
    pub(crate) async fn agreement(&mut self, most: u64) -> Option<u64> {
        for second in 1..=most {
            self.run(Duration::from_secs(second)).await;
            assert!(
                self.sides.iter().all(|side| side.coordinator.declined() == 0),
                "it costs more than its budget"
            );
            if self.agrees().await {
                return Some(second);
            }
        }
        None
    }

    /// The number of events that the two have sent each other.
    pub(crate) fn events(&self) -> u64 {
        self.sides.iter().map(|side| side.events).sum()
    }

    /// Whether both hold the same events.
    pub(crate) async fn agrees(&self) -> bool {
        let roots = (self.sides[0].replica.root().await, self.sides[1].replica.root().await);
        roots.0.unwrap() == roots.1.unwrap()
    }

    /// Lets time pass.
    pub(crate) async fn run(&mut self, until: Duration) {
        while let Some((at, next, side)) = self.next().filter(|(at, ..)| *at <= until) {
            self.now = at;
            match next {
                Next::LeftStored => self.left_stored(side).await,
                Next::Stored => self.stored(side).await,
                Next::Wake => self.tell(side, Input::Woken).await,
                Next::Arrives(lane) => self.arrives(side, lane).await,
            }
        }
        self.now = until;
    }

    fn moment(&self) -> Now {
        Now { steady: self.now, wall: Timestamp::from_millis(NOW).after(self.now) }
    }

    fn next(&self) -> Option<(Duration, Next, usize)> {
        let mut all = Vec::new();
        for (number, side) in self.sides.iter().enumerate() {
            all.extend(side.left.iter().map(|(at, _)| (*at, Next::LeftStored, number)));
            all.extend(side.stores.iter().map(|(at, ..)| (*at, Next::Stored, number)));
            all.extend(side.agent.wake_at(self.line(number)).map(|at| (at, Next::Wake, number)));
            if side.agent.reads(self.now) {
                let first = |lane: usize| side.arriving[lane].front().map(|(at, _)| *at);
                all.extend(
                    [0, 1]
                        .into_iter()
                        .filter_map(|lane| first(lane).map(|at| (at, Next::Arrives(lane), number))),
                );
            }
        }
        all.into_iter().map(|(at, next, side)| (at.max(self.now), next, side)).min()
    }

    async fn left_stored(&mut self, side: usize) {
        let Side { left, replica, .. } = &mut self.sides[side];
        let first = (0..left.len()).min_by_key(|store| left[*store].0).unwrap();
        insert(replica, &left.remove(first).1).await;
    }

    async fn stored(&mut self, side: usize) {
        let Side { replica, stores, .. } = &mut self.sides[side];
        let first = (0..stores.len()).min_by_key(|store| stores[*store].0).unwrap();
        let (_, events, origin) = stores.remove(first);
        let new = insert(replica, &events).await;
        self.tell(side, Input::Stored(origin, Ok(new))).await;
    }

    async fn arrives(&mut self, side: usize, number: usize) {
        let (_, frame) = self.sides[side].arriving[number].pop_front().unwrap();
        self.sides[side].received += frame.len() as u64;
        let lane = [Lane::Live, Lane::Repair][number];
        self.tell(side, Input::Received(lane, decoded(&frame))).await;
    }

    fn line(&self, side: usize) -> LineState {
        let Side { arriving, received, .. } = &self.sides[side];
        // Partial frames count as progress: their bytes have arrived.
        let [live, repair] = arriving;
        LineState {
            has_room: ByLane { live: true, repair: self.has_room(side) },
            is_overfull: false,
            unread: ByLane { live: !live.is_empty(), repair: !repair.is_empty() },
            received: *received,
        }
    }

    /// Feeds an input to an agent, and carries out its outputs.
    async fn tell(&mut self, side: usize, input: Input) {
        let (now, line) = (self.moment(), self.line(side));
        let Side { agent, replica, damaged, .. } = &mut self.sides[side];
        let outputs = agent.handle(input, now, line, &Held(replica, damage_at(*damaged))).await;
        for output in outputs.expect("nothing is wrong with an honest neighbour") {
            match output {
                Output::Send(lane, message) => self.send(side, lane, &message),
                Output::Store(events, origin) => {
                    let at = self.now + self.speed.store;
                    self.sides[side].stores.push((at, events, origin));
                }
            }
        }
    }

    /// New events overtake repairs, as over any transport; frames of a lane keep their order.
    fn send(&mut self, from: usize, lane: Lane, message: &Message) {
        let frame = encode(message).to_vec();
        if std::env::var_os("AEVRION_SHOW").is_some() && !matches!(message, Message::Hello(_)) {
            println!("{:?} {from}: {message} ({} B)", self.now, frame.len());
        }
        let takes = Duration::from_micros(frame.len() as u64 * 1_000_000 / self.speed.bandwidth);
        let side = &mut self.sides[from];
        side.sent += frame.len() as u64 + 4;
        side.sent_events += if message.events().is_empty() { 0 } else { frame.len() as u64 };
        side.events += message.events().len() as u64;
        side.snapshots += u64::from(matches!(message, Message::Snapshot(_)));
        let (lane, sent) = match lane {
            Lane::Live => (0, self.now + takes),
            Lane::Repair => {
                side.busy = side.busy.max(self.now) + takes;
                side.waiting.retain(|(until, _)| *until > self.now);
                side.waiting.push_back((side.busy, frame.len() + FRAME_COST));
                (1, side.busy)
            }
        };
        let arriving = &mut self.sides[1 - from].arriving[lane];
        let at = arriving.back().map_or(Duration::ZERO, |(last, _)| *last).max(sent + self.speed.latency);
        arriving.push_back((at, frame));
    }

    fn has_room(&self, side: usize) -> bool {
        let waiting = self.sides[side].waiting.iter().filter(|(until, _)| *until > self.now);
        waiting.map(|(_, bytes)| bytes).sum::<usize>() < LANE_BYTES
    }
}

fn decoded(frame: &[u8]) -> Message {
    decode(frame, &Parameters::default()).expect("an honest neighbour's frame")
}

/// The read error of the event at `damaged`.
fn damage_at(damaged: Option<EventKey>) -> impl Fn(EventKey) -> Option<ReadError> {
    move |address| (damaged == Some(address)).then(|| ReadError::damaged(Table::Events, &[], "planted"))
}

fn agent_of(node: NodeId, neighbour: NodeId, coordinator: &Arc<RepairCoordinator>) -> Agent {
    let config = AgentConfig {
        node,
        incarnation: Incarnation::from_bytes([0; 8]),
        listens: Vec::new(),
        parameters: Parameters::default(),
        space: "default".into(),
        grace: Duration::from_secs(2),
        max_drift: Duration::from_secs(60),
        pushed: PUSHED_BYTES,
        timeouts: StallTimeouts::default(),
    };
    Agent::new(config, neighbour, Arc::clone(coordinator), u64::from(node.as_bytes()[0]))
}

async fn insert(replica: &Replica, events: &[Event]) -> u64 {
    let mut new = 0;
    for batch in events.chunks(4_096) {
        new += replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap().new;
    }
    new
}
