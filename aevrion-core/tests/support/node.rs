//! A node with one agent for each of two neighbours, scripted message by message. All time is computed.

use std::sync::Arc;
use std::time::Duration;

use super::Kept;
use aevrion_core::agent::{
    Agent, AgentConfig, AgentError, Input, LineState, Now, Output, RepairCoordinator, StallTimeouts,
};
use aevrion_core::bounds::{FIRST_CELLS, PUSHED_BYTES};
use aevrion_core::message::{
    Echo, End, EventList, Events, Hello, Message, NeedEvents, Nodes, Reply, Snapshot,
};
use aevrion_core::sketch::{Cells, Locator, Mapping};
use aevrion_core::transport::Lane;
use aevrion_core::{
    Event, Hash, Incarnation, ManualWall, NodeId, Options, ParameterOverrides, Parameters, Replica, TimeSpan,
    Timestamp, Value,
};

pub(crate) const NOW: u64 = 1_700_000_000_000;
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

pub(crate) fn event(key: &str) -> Event {
    event_at(key, NOW - 60_000)
}

pub(crate) fn event_at(key: &str, ms: u64) -> Event {
    let value = Value::Data(bytes::Bytes::from_static(b"value"));
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    Event::new(key, value, Timestamp::from_millis(ms)).unwrap()
}

/// A node, and the agents for two of its neighbours.
pub(crate) struct Node {
    pub(crate) store: Kept,
    pub(crate) replica: Replica,
    pub(crate) agents: [Agent; 2],
    pub(crate) steady: Duration,
}

impl Node {
    /// `number` is the node's id; those of its neighbours are 1 and 2.
    pub(crate) async fn new(number: u8, granularity: u64) -> Self {
        Self::with_clock(number, granularity, 0).await
    }

    /// With the neighbours' clocks so many milliseconds ahead.
    pub(crate) async fn with_clock(number: u8, granularity: u64, ahead: i64) -> Self {
        let options = Options::default()
            .parameters(ParameterOverrides::default().granularity(granularity))
            .node(id(number))
            .wall(ManualWall::at(Timestamp::from_millis(NOW)));
        let store = Kept::default();
        let replica = Replica::open(store.clone(), options).await.unwrap();
        let config = AgentConfig {
            node: id(number),
            incarnation: Incarnation::from_bytes([0; 8]),
            listens: Vec::new(),
            parameters: Parameters { granularity, ..Parameters::default() },
            space: "default".into(),
            grace: SECOND * 2,
            max_drift: SECOND * 60,
            pushed: PUSHED_BYTES,
            timeouts: StallTimeouts::default().silent(SECOND * 86_400),
        };
        let coordinator = Arc::new(RepairCoordinator::default());
        let agents =
            [1, 2].map(|neighbour| Agent::new(config.clone(), id(neighbour), Arc::clone(&coordinator), 7));
        let mut node = Self { store, replica, agents, steady: SECOND };
        node.handshake(0, granularity, ahead).await;
        node.handshake(1, granularity, ahead).await;
        node
    }

    pub(crate) fn now(&self) -> Now {
        Now { steady: self.steady, wall: Timestamp::from_millis(NOW).after(self.steady) }
    }

    /// Runs the handshake until data may flow.
    async fn handshake(&mut self, neighbour: usize, granularity: u64, ahead: i64) {
        let mut said = self.tell(neighbour, Input::Connected).await;
        for number in 1.. {
            let Some(Output::Send(_, Message::Hello(ours))) = said.first() else { break };
            let hello = Hello {
                node: id(u8::try_from(neighbour).unwrap() + 1),
                number,
                echo: Some(Echo { number: ours.number, held_us: 0 }),
                samples: 3,
                wall: Timestamp::from_millis(self.now().wall.as_millis().saturating_add_signed(ahead)),
                parameters: Parameters { granularity, ..Parameters::default() },
                ..ours.clone()
            };
            said = self.hear(neighbour, Message::Hello(hello)).await;
        }
        assert!(self.agents[neighbour].is_settled());
    }

    pub(crate) async fn hear(&mut self, neighbour: usize, message: Message) -> Vec<Output> {
        self.tell(neighbour, Input::Received(Lane::Live, message)).await
    }

    pub(crate) async fn tell(&mut self, neighbour: usize, input: Input) -> Vec<Output> {
        self.try_to_tell(neighbour, input).await.unwrap()
    }

    /// As [`Node::tell`], with an input that may end the connection.
    pub(crate) async fn try_to_tell(
        &mut self,
        neighbour: usize,
        input: Input,
    ) -> Result<Vec<Output>, AgentError> {
        let now = self.now();
        self.agents[neighbour].handle(input, now, LineState::IDLE, &self.replica).await
    }

    pub(crate) fn wake_at(&self, neighbour: usize) -> Option<Duration> {
        self.agents[neighbour].wake_at(LineState::IDLE)
    }

    /// Lets `span` pass, and returns the messages of an agent meanwhile.
    pub(crate) async fn pass(&mut self, neighbour: usize, span: Duration) -> Vec<Message> {
        let until = self.steady + span;
        let mut said = Vec::new();
        while let Some(at) = self.wake_at(neighbour).filter(|at| *at <= until) {
            self.steady = self.steady.max(at);
            said.extend(self.tell(neighbour, Input::Woken).await);
        }
        self.steady = until;
        messages(said)
    }
}

pub(crate) fn messages(outputs: Vec<Output>) -> Vec<Message> {
    let message = |output| match output {
        Output::Send(_, message) => Some(message),
        Output::Store(..) => None,
    };
    outputs.into_iter().filter_map(message).collect()
}

/// The past up to a moment, which it leaves out.
pub(crate) fn past(end: u64) -> TimeSpan {
    TimeSpan::before(Timestamp::from_millis(end)).unwrap()
}

/// The first cells of a thousand events that no replica here holds: too many to decode.
pub(crate) fn cells_of_a_thousand() -> Cells {
    let mut cells = Cells::new(Mapping::Regular, FIRST_CELLS);
    let locator = |number: u64| Locator::from_value(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16);
    (1..=1_000).filter_map(locator).for_each(|locator| cells.insert(locator));
    cells
}

/// A snapshot that differs from any replica here.
pub(crate) fn differing(end: u64) -> Message {
    snapshot(end, Some(cells_of_a_thousand()))
}

/// The same snapshot from a neighbour that believes both sides equal.
pub(crate) fn differing_in_short(end: u64) -> Message {
    snapshot(end, None)
}

pub(crate) fn snapshot(end: u64, cells: Option<Cells>) -> Message {
    let root = Hash::from_bytes([3; 32]);
    Message::Snapshot(Snapshot { span: past(end), root, count: 1_000, cells, answer: true })
}

/// The end of an answer, with these events.
pub(crate) fn answer(ending: End, events: Vec<Event>) -> Message {
    Message::Events(Events { reply: Reply::End(ending), events })
}

pub(crate) fn snapshots(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::Snapshot(_))).count()
}

/// Whether the message is a question of the repair lane.
pub(crate) fn is_question(message: &Message) -> bool {
    match message {
        Message::Nodes(nodes) => !matches!(nodes, Nodes::Differing(_)),
        Message::EventList(list) => matches!(list, EventList::Held(_)),
        Message::NeedEvents(request) => !matches!(request, NeedEvents::At(_)),
        _ => false,
    }
}

/// The questions of the repair lane among these messages.
pub(crate) fn questions(messages: &[Message]) -> Vec<&Message> {
    messages.iter().filter(|message| is_question(message)).collect()
}
