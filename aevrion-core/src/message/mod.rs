//! The seven messages between replicas, as values.
//!
//! | message | carries | provokes |
//! |---|---|---|
//! | [`Hello`] | versions, parameters, identity and time | a Hello, until the clocks are settled |
//! | [`Push`] | new events | nothing |
//! | [`Snapshot`] | the root of a span of time, the first cells of its sketch | nothing if equal; else a question |
//! | [`Nodes`] | tree nodes: of the asker, or those that differ | Nodes, EventList (cells) or Events |
//! | [`EventList`] | ids of events, or cells of their sketch | Events, NeedEvents |
//! | [`NeedEvents`] | the ids of requested events, or more cells | Events, EventList (cells) |
//! | [`Events`] | events, and the end of an answer | the next question |
//!
//! `docs/PROTOCOL.md` defines the fields to the byte, with transcripts. New ways to compare become new variants of the
//! enums here, announced by a feature bit in Hello, not new messages.

mod codec;
mod describe;
mod wire;

use serde::{Deserialize, Serialize};

use crate::bounds::{
    CELL_COUNTS, DIGEST_NODES, DIGEST_ROWS, LISTENS, MESSAGE_EVENT_KEYS, MESSAGE_EVENTS, MESSAGE_LISTS,
    MESSAGE_PARENTS, MESSAGE_SPANS, PEER_TEXT, SPACE_NAME, WIDEST_NODE,
};
use crate::sketch::{Cells, NumberList};
use crate::tree::{Node, NodePosition};
use crate::{Event, EventKey, Hash, Incarnation, NodeId, Parameters, TimeSpan, Timestamp};

pub use codec::{Malformed, decode, encode, longest_frame};
use wire::{as_run, bounded, bounded_option, bounded_run, bounded_text, bounded_texts};

/// The protocol version of this crate. Nodes of different versions do not talk.
pub const PROTOCOL_VERSION: u16 = 3;

/// Additions to the protocol without a new version: a bit is in use if both sides have it.
pub const FEATURES: u64 = 0;

/// A message between replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The handshake: the sender's identity and time.
    Hello(Hello),
    /// New events.
    Push(Push),
    /// The sender's events in the shortest form: a root and some cells.
    Snapshot(Snapshot),
    /// Tree nodes.
    Nodes(Nodes),
    /// Events of the sender, by their ids or in a sketch.
    EventList(EventList),
    /// The events or cells that the sender requests.
    NeedEvents(NeedEvents),
    /// Events in reply.
    Events(Events),
}

impl Message {
    /// The message's name, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Push(_) => "Push",
            Self::Snapshot(_) => "Snapshot",
            Self::Nodes(_) => "Nodes",
            Self::EventList(_) => "EventList",
            Self::NeedEvents(_) => "NeedEvents",
            Self::Events(_) => "Events",
        }
    }

    /// The events in the message.
    pub fn events(&self) -> &[Event] {
        match self {
            Self::Push(push) => &push.events,
            Self::Events(events) => &events.events,
            _ => &[],
        }
    }
}

/// The handshake: the sender, its configuration, and its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u16,
    /// The sender's [`FEATURES`].
    pub features: u64,
    /// The space of this connection.
    #[serde(deserialize_with = "bounded_text::<_, SPACE_NAME>")]
    pub space: String,
    /// The parameters of the cluster. They are sent whole, 20 bytes at most, so that an error can name the difference.
    pub parameters: Parameters,
    /// The sender, as the transport has authenticated it.
    pub node: NodeId,
    /// The opening of the sender's store: it tells apart two machines with the same identity.
    pub incarnation: Incarnation,
    /// The sender's own listen addresses: unproven, and possibly wrong. An unspecified one (`0.0.0.0`, `[::]`) stands
    /// for the remote address of the connection.
    #[serde(deserialize_with = "bounded_texts::<_, LISTENS, PEER_TEXT>")]
    pub listens: Vec<String>,
    /// The address of another machine with the receiver's identity, if the sender met one while the receiver was
    /// connected.
    #[serde(deserialize_with = "bounded_option::<_, PEER_TEXT>")]
    pub conflict: Option<String>,
    /// The sender's wall clock at sending.
    pub wall: Timestamp,
    /// The number of this Hello on this connection.
    pub number: u32,
    /// The last Hello received by the sender.
    pub echo: Option<Echo>,
    /// The number of times that the sender has measured the other's clock: no data is sent before both have three.
    pub samples: u8,
}

/// The reply to a Hello, for measuring the round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The number of that Hello.
    pub number: u32,
    /// Microseconds from the arrival of that Hello to this reply.
    pub held_us: u64,
}

/// The source of an event: the node that spread it first, by the first eight bytes of its id. Nothing depends on its
/// truth but the way that events take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source(pub [u8; 8]);

impl Source {
    /// Of events that a repair brought.
    pub const UNKNOWN: Self = Self([0; 8]);
}

impl From<NodeId> for Source {
    fn from(node: NodeId) -> Self {
        let mut source = Self::UNKNOWN;
        source.0.copy_from_slice(&node.as_bytes()[..8]);
        source
    }
}

/// New events of one source, in the order of arrival at the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The node that wrote the events, as far as is known.
    pub source: Source,
    /// The events.
    #[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENTS>")]
    pub events: Vec<Event>,
}

/// A summary of the sender's events in a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The span: the past up to a moment, or the future from one on.
    pub span: TimeSpan,
    /// The root of the tree over the events of the span alone.
    pub root: Hash,
    /// The number of these events.
    pub count: u64,
    /// The first cells of their sketch, if the sender expects the roots to differ.
    pub cells: Option<Cells>,
    /// Whether the receiver must reply even if everything is equal.
    pub answer: bool,
}

/// The non-empty tree nodes that cover a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest {
    /// The rows of nodes, from the leaves up.
    #[serde(deserialize_with = "bounded::<_, _, DIGEST_ROWS>")]
    pub rows: Vec<Row>,
}

/// Tree nodes of one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// 0 for leaves.
    pub level: u8,
    /// The non-empty nodes, ascending.
    #[serde(deserialize_with = "bounded::<_, _, DIGEST_NODES>")]
    pub nodes: Vec<NodeDigest>,
}

/// A tree node within a row or below its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDigest {
    /// The index of the node in its level.
    pub index: u64,
    /// The number of events below it.
    pub count: u64,
    /// The beginning of the hash of the events below it.
    pub hash: ShortHash,
}

impl NodeDigest {
    pub(crate) fn new(index: u64, node: Node) -> Self {
        Self { index, count: node.count, hash: node.hash.into() }
    }
}

/// The first eight bytes of a hash: enough to find differences. The whole roots decide whether any are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShortHash(pub [u8; 8]);

impl ShortHash {
    /// Of no events.
    pub const EMPTY: Self = Self([0; 8]);
}

impl From<Hash> for ShortHash {
    fn from(hash: Hash) -> Self {
        let mut short = Self::EMPTY;
        short.0.copy_from_slice(&hash.as_bytes()[..8]);
        short
    }
}

/// A comparison of tree nodes: two questions, and their answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nodes {
    /// What differs in the span? The answer is [`Nodes::Differing`], the cells of a sketch, or the end alone.
    Cover {
        /// The span of the compared events.
        span: TimeSpan,
        /// The non-empty nodes of [`Shape::cover`](crate::tree::Shape::cover), if nodes are wanted.
        digest: Option<Digest>,
        /// The counts of the first cells, if cells are wanted.
        counts: Option<CellCounts>,
    },
    /// What differs below these nodes? The answer is [`Nodes::Differing`], or the end alone.
    Children {
        /// The span of the compared events.
        span: TimeSpan,
        /// The nodes, with the sender's children.
        #[serde(deserialize_with = "bounded::<_, _, MESSAGE_PARENTS>")]
        parents: Vec<Parent>,
    },
    /// The nodes of a question that differ, latest first.
    Differing(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<Differing>),
}

/// The counts of the first irregular cells of a sketch, from which the receiver estimates the number of differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellCounts {
    /// The number of events in the sketch.
    pub events: u64,
    /// The counts, modulo 256.
    #[serde(serialize_with = "as_run", deserialize_with = "bounded_run::<_, CELL_COUNTS>")]
    pub counts: Vec<u8>,
}

/// A tree node that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Differing {
    /// One side holds no or few events there: the sender holds this number.
    Count(TimeSpan, u64),
    /// Both hold many: the sender's children.
    Children(Parent),
}

/// A tree node and its non-empty children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The tree node.
    pub node: NodePosition,
    /// Its children, ascending; their indexes count from its first child.
    #[serde(deserialize_with = "bounded::<_, _, WIDEST_NODE>")]
    pub children: Vec<NodeDigest>,
}

/// A run of events in the order of their event keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The time span of the run.
    pub span: TimeSpan,
    /// Its first event key, if the run begins in the midst of the span.
    pub from: Option<EventKey>,
    /// The event key that the run ends before, if it does not reach the end of the span.
    pub before: Option<EventKey>,
}

impl Stretch {
    /// All events of a span.
    pub fn of(span: TimeSpan) -> Self {
        Self { span, from: None, before: None }
    }

    /// Whether the run covers this event key, be there an event or not.
    pub fn contains(&self, event_key: EventKey) -> bool {
        self.span.contains(event_key.timestamp)
            && self.from.is_none_or(|from| from <= event_key)
            && self.before.is_none_or(|before| event_key < before)
    }
}

/// Some events of a stretch, by numbers that stand for their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The stretch.
    pub stretch: Stretch,
    /// The meaning of the numbers.
    pub naming: Naming,
    /// The numbers.
    pub numbers: NumberList,
}

/// The numbers that stand for events in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Naming {
    /// [Locators](crate::sketch::Locator) under the cluster's key, without some of the low bits: as many bits as the
    /// list has.
    Locators,
    /// [Short ids](crate::sketch::short_id) under a key drawn for this list: these bytes, twice.
    Short([u8; 8]),
}

/// Events of the sender, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventList {
    /// These event keys, seen for the first time, among others.
    Announced {
        /// The node that wrote the events, as far as is known.
        source: Source,
        /// The event keys.
        #[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENT_KEYS>")]
        event_keys: Vec<EventKey>,
    },
    /// A question: the sender holds exactly these events in these stretches, given latest first. Which ones does it
    /// lack?
    Held(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<Listed>),
    /// The sender holds these events, and the receiver lacks them.
    Lacked(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_LISTS>")] Vec<Listed>),
    /// The sender holds many events in these spans that the receiver lacks.
    LackedIn(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<TimeSpan>),
    /// An answer: cells of the sender's sketch.
    Cells(Cells),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeedEvents {
    /// The events with these keys.
    At(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENT_KEYS>")] Vec<EventKey>),
    /// The listed events. The answer goes through the lists in their order.
    Of(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_LISTS>")] Vec<Listed>),
    /// More irregular cells of the sketch of a span.
    Cells {
        /// The span of the sketch.
        span: TimeSpan,
        /// The index of the first cell.
        from: u32,
        /// The number of cells.
        len: u32,
    },
}

/// Events for the other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The kind of reply.
    pub reply: Reply,
    /// The events.
    #[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENTS>")]
    pub events: Vec<Event>,
}

/// The kind of reply in [`Events`].
///
/// Every question on the repair lane ([`Nodes`] but for [`Nodes::Differing`], a held [`EventList`], [`NeedEvents::Of`]
/// and [`NeedEvents::Cells`]) has one answer: [`Nodes::Differing`], [`EventList::Cells`], or events, of which the last
/// say [`Reply::End`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`NeedEvents::At`]: all events were requested.
    At {
        /// Some requested events are left out because a budget ran out: ask again.
        more: bool,
    },
    /// A part of an answer on the repair lane, latest events first; more follows.
    Part,
    /// The last part of an answer on the repair lane.
    End(End),
}

/// The end of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The answer is complete. Without events: there is nothing.
    Complete,
    /// A budget ran out. The answer is complete but for events before this event key.
    Before(EventKey),
    /// The sender cannot answer now.
    Later,
    /// The two sides differ too much for an answer of this kind: ask for the events themselves.
    TooDifferent,
}
