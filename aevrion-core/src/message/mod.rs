//! The seven messages between replicas, as values.
//!
//! | message | carries | provokes |
//! |---|---|---|
//! | [`Hello`] | versions, parameters, identity and time | a Hello, until the clocks are settled |
//! | [`Push`] | new events | nothing |
//! | [`Snapshot`] | the root and digest of a span of time | nothing if equal; else Nodes, EventList or Events |
//! | [`Nodes`] | the children of named nodes | Nodes one level down, EventList, Events |
//! | [`EventList`] | the ids of held events | Events, NeedEvents |
//! | [`NeedEvents`] | the ids of requested events | Events |
//! | [`Events`] | events | the next request, if a budget ran out |
//!
//! `docs/PROTOCOL.md` defines the fields to the byte, with transcripts. New ways to compare (sketches) become new
//! variants of the enums here, announced by a feature bit in Hello, not new messages.

mod codec;
mod describe;
mod ids;
mod wire;

use serde::{Deserialize, Serialize};

use crate::bounds::{
    DIGEST_NODES, DIGEST_ROWS, LISTENS, MESSAGE_EVENT_KEYS, MESSAGE_EVENTS, MESSAGE_PARENTS, MESSAGE_SPANS,
    PEER_TEXT, SPACE_NAME, WIDEST_NODE,
};
use crate::tree::{Node, NodePosition};
use crate::{Event, EventKey, Hash, Incarnation, NodeId, Parameters, TimeSpan, Timestamp};

pub use codec::{Malformed, decode, encode, longest_frame};
pub(crate) use ids::Salted;
pub use ids::{Ids, Share, ShortId, shorten};
use wire::{bounded, bounded_option, bounded_text, bounded_texts};

/// The protocol version of this crate. Nodes of different versions do not talk.
pub const PROTOCOL_VERSION: u16 = 2;

/// Additions to the protocol without a new version: a bit is in use if both sides have it.
pub const FEATURES: u64 = 0;

/// A message between replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The handshake: the sender's identity and time.
    Hello(Hello),
    /// New events.
    Push(Push),
    /// The sender's events in the shortest form: a root and a digest.
    Snapshot(Snapshot),
    /// The children of tree nodes.
    Nodes(Nodes),
    /// The events that the sender holds.
    EventList(EventList),
    /// The events that the sender requests.
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

/// New events of the sender, in the order of writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
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
    /// The tree nodes behind the root, if the sender expects the roots to differ: the non-empty nodes of
    /// [`Shape::cover`](crate::tree::Shape::cover) of the span.
    pub digest: Option<Digest>,
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
    /// The hash of the events below it.
    pub hash: Hash,
}

impl NodeDigest {
    pub(crate) fn new(index: u64, node: Node) -> Self {
        Self { index, count: node.count, hash: node.hash }
    }
}

/// The sender's children of tree nodes in which the two sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// The span of the compared events.
    pub span: TimeSpan,
    /// The tree nodes with their children.
    #[serde(deserialize_with = "bounded::<_, _, MESSAGE_PARENTS>")]
    pub parents: Vec<Parent>,
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

/// Events that the sender holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventList {
    /// These event keys, seen for the first time, among others.
    Announced(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENT_KEYS>")] Vec<EventKey>),
    /// Exactly these events within each scope.
    Held(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<Listed>),
}

/// Ids of events within a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The time span of the scope.
    pub span: TimeSpan,
    /// The share of the span's ids. Only short ids come in shares.
    pub share: Share,
    /// The ids.
    pub ids: Ids,
}

impl Listed {
    /// The same scope with only the ids at these positions.
    pub(crate) fn only(&self, places: impl Iterator<Item = usize>) -> Self {
        Self { ids: self.ids.select(places), ..self.clone() }
    }

    /// Whether the list covers all ids of its span.
    pub(crate) fn is_whole(&self) -> bool {
        self.share == Share::WHOLE
    }
}

/// A request for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeedEvents {
    /// The events with these keys.
    At(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENT_KEYS>")] Vec<EventKey>),
    /// The events with these ids within each scope.
    Of(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<Listed>),
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
/// Every request on the repair lane ([`Nodes`], a held [`EventList`], [`NeedEvents::Of`]) is answered, and its answer
/// ends with an [`Events`] whose `last` is set: otherwise a pause in a long answer could not be told from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`NeedEvents::At`]: all events were requested.
    At {
        /// Some requested events are left out because a budget ran out: ask again.
        more: bool,
    },
    /// To [`NeedEvents::Of`]: all events were requested.
    Of {
        /// Some requested events are left out because a budget ran out: ask again.
        more: bool,
        /// The answer ends here.
        last: bool,
    },
    /// After a comparison: the events lie within a span, and the receiver lacks them.
    Block {
        /// The span.
        span: TimeSpan,
        /// The span of further events that a budget left out: the receiver should list its own there.
        rest: Option<TimeSpan>,
        /// The answer to a request ends here. Never set without a request.
        last: bool,
    },
}
