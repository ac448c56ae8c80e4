//! The seven messages that replicas exchange, as values.
//!
//! | message | carries | provokes |
//! |---|---|---|
//! | [`Hello`] | versions, parameters, who and when | a Hello, until the clocks are settled |
//! | [`Push`] | events just written | nothing |
//! | [`Snapshot`] | the root of a stretch of time, and what it is made of | nothing if equal; else Nodes, EventList or Events |
//! | [`Nodes`] | the children of named nodes | Nodes one level down, EventList, Events |
//! | [`EventList`] | which events one side holds | Events, NeedEvents |
//! | [`NeedEvents`] | which events one side wants | Events |
//! | [`Events`] | events | the next question, if a budget ran out |
//!
//! What the fields mean to the byte, with transcripts, is in `docs/PROTOCOL.md`. New ways to compare (sketches) become
//! new variants of the enums here, announced by a feature bit in Hello, not new messages.

mod codec;
mod describe;
mod ids;
mod wire;

use serde::{Deserialize, Serialize};

use crate::bounds::{
    DIGEST_ROWS, DIGEST_TILES, LISTENS, MESSAGE_ADDRESSES, MESSAGE_EVENTS, MESSAGE_PARENTS, MESSAGE_SPANS,
    PEER_TEXT, SPACE_NAME, WIDEST_NODE,
};
use crate::tree::{Node, NodeAddress};
use crate::{Address, Event, Hash, Incarnation, NodeId, Parameters, TimeSpan, Timestamp};

pub use codec::{Malformed, decode, encode, longest_frame};
pub(crate) use ids::Salted;
pub use ids::{Ids, Share, ShortId, shorten};
use wire::{bounded, bounded_option, bounded_text, bounded_texts};

/// The protocol that this crate speaks. Nodes of different versions do not talk.
pub const PROTOCOL_VERSION: u16 = 2;

/// What may be added to the protocol without a new version: bits that both sides have are used.
pub const FEATURES: u64 = 0;

/// One of the seven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Who I am, and what time it is here.
    Hello(Hello),
    /// What I have just written.
    Push(Push),
    /// What I hold, as short as possible.
    Snapshot(Snapshot),
    /// What I hold below these nodes.
    Nodes(Nodes),
    /// Which events I hold.
    EventList(EventList),
    /// Which events I want.
    NeedEvents(NeedEvents),
    /// Events.
    Events(Events),
}

impl Message {
    /// Its name, for logs and metrics.
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

    /// The events that it carries.
    pub fn events(&self) -> &[Event] {
        match self {
            Self::Push(push) => &push.events,
            Self::Events(events) => &events.events,
            _ => &[],
        }
    }
}

/// Who speaks, under which terms, and what its clock shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u16,
    /// [`FEATURES`] that the sender knows.
    pub features: u64,
    /// The space that this connection is about.
    #[serde(deserialize_with = "bounded_text::<_, SPACE_NAME>")]
    pub space: String,
    /// What the cluster shares. They travel whole, 20 bytes at most, so that an error can name what differs.
    pub parameters: Parameters,
    /// The sender, as the transport has proven it.
    pub node: NodeId,
    /// Which opening of its store the sender is: two machines with the same identity differ in it.
    pub incarnation: Incarnation,
    /// Where the sender listens, as it knows itself: an address that is not proven, and may be no one's or another's. An
    /// unspecified one (`0.0.0.0`, `[::]`) stands for that from which the connection comes.
    #[serde(deserialize_with = "bounded_texts::<_, LISTENS, PEER_TEXT>")]
    pub listens: Vec<String>,
    /// Where the sender has met another machine with the receiver's identity, while the receiver was there, too.
    #[serde(deserialize_with = "bounded_option::<_, PEER_TEXT>")]
    pub conflict: Option<String>,
    /// The sender's wall clock at sending.
    pub wall: Timestamp,
    /// Counts the sender's Hellos on this connection.
    pub number: u32,
    /// The last Hello that the sender received.
    pub echo: Option<Echo>,
    /// How many times the sender has measured the other's clock: no data before both have three.
    pub samples: u8,
}

/// An answer to a Hello, by which its sender measures the way there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Its number.
    pub number: u32,
    /// Microseconds from its arrival to this answer.
    pub held_us: u64,
}

/// Events that the sender has just written, in the order of writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// They.
    #[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENTS>")]
    pub events: Vec<Event>,
}

/// What the sender holds of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which stretch: the past up to a moment, or the future from one on.
    pub span: TimeSpan,
    /// The root of the tree over the events of the span alone.
    pub root: Hash,
    /// How many events these are.
    pub count: u64,
    /// What it is made of, if the sender thinks that the roots may differ: the non-empty nodes of
    /// [`Shape::cover`](crate::tree::Shape::cover) of the span.
    pub digest: Option<Digest>,
    /// Whether the receiver is to say so even if it finds everything equal.
    pub answer: bool,
}

/// The non-empty nodes that cover a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest {
    /// Their rows, from the leaves up.
    #[serde(deserialize_with = "bounded::<_, _, DIGEST_ROWS>")]
    pub rows: Vec<Row>,
}

/// Nodes of one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// 0 for leaves.
    pub level: u8,
    /// The non-empty ones, ascending.
    #[serde(deserialize_with = "bounded::<_, _, DIGEST_TILES>")]
    pub tiles: Vec<Tile>,
}

/// A node within a row or below its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tile {
    /// Its index in the level.
    pub index: u64,
    /// How many events are below it.
    pub count: u64,
    /// Which they are.
    pub hash: Hash,
}

impl Tile {
    pub(crate) fn new(index: u64, node: Node) -> Self {
        Self { index, count: node.count, hash: node.hash }
    }
}

/// What the sender holds below nodes in which the two sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// Which events count.
    pub span: TimeSpan,
    /// The nodes.
    #[serde(deserialize_with = "bounded::<_, _, MESSAGE_PARENTS>")]
    pub parents: Vec<Parent>,
}

/// A node and its non-empty children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The node.
    pub node: NodeAddress,
    /// Its children, ascending; their indexes count from its first child.
    #[serde(deserialize_with = "bounded::<_, _, WIDEST_NODE>")]
    pub children: Vec<Tile>,
}

/// Which events the sender holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventList {
    /// These, seen for the first time, and others besides.
    Announced(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_ADDRESSES>")] Vec<Address>),
    /// These and no others within each scope.
    Held(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<Listed>),
}

/// Ids of events within a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// When they happened.
    pub span: TimeSpan,
    /// The part of the span's ids that is spoken of. Only short ids come in parts.
    pub share: Share,
    /// They.
    pub ids: Ids,
}

impl Listed {
    /// The same scope with those of its ids that stand at these places.
    pub(crate) fn only(&self, places: impl Iterator<Item = usize>) -> Self {
        Self { ids: self.ids.select(places), ..self.clone() }
    }

    /// Whether it speaks of everything in its span.
    pub(crate) fn is_whole(&self) -> bool {
        self.share == Share::WHOLE
    }
}

/// Which events the sender wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeedEvents {
    /// Those at these addresses.
    At(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_ADDRESSES>")] Vec<Address>),
    /// Those with these ids within each scope.
    Of(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_SPANS>")] Vec<Listed>),
}

/// Events that the other side lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// What they answer.
    pub reply: Reply,
    /// They.
    #[serde(deserialize_with = "bounded::<_, _, MESSAGE_EVENTS>")]
    pub events: Vec<Event>,
}

/// What [`Events`] answer.
///
/// Every question of the repair lane ([`Nodes`], a held [`EventList`], [`NeedEvents::Of`]) is answered, and its answer
/// ends with an [`Events`] that says so (`last`): otherwise a pause in a long answer could not be told from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// [`NeedEvents::At`]: all events were asked for.
    At {
        /// Some of what was asked for was left out, since a budget ran out: ask again.
        more: bool,
    },
    /// [`NeedEvents::Of`]: all events were asked for.
    Of {
        /// Some of what was asked for was left out, since a budget ran out: ask again.
        more: bool,
        /// Nothing of this answer follows.
        last: bool,
    },
    /// A comparison: the events lie within a span, and the receiver lacks them.
    Block {
        /// The span.
        span: TimeSpan,
        /// Where more of them lie, which a budget left out: say what you hold there.
        rest: Option<TimeSpan>,
        /// Nothing of the answer to a question follows. Never set where none was asked.
        last: bool,
    },
}
