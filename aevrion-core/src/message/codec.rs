//! Messages to bytes and back: postcard, checked for size and sense.
//!
//! A frame is the encoding of one message: the message's number from 0 to 6, then its fields in postcard's layout
//! (<https://postcard.jamesmunns.com/wire-format>). An unreadable frame costs the neighbour its connection.

use bytes::Bytes;

use super::{
    Differing, EventList, Listed, Message, Naming, NeedEvents, NodeDigest, Nodes, PROTOCOL_VERSION, Parent,
    Row, Snapshot,
};
use crate::bounds::{
    BATCH_FRAME, FIRST_CELLS, FRAME_OVERHEAD, KEPT_IRREGULAR, LOCATOR_HASH_BITS, LOCATOR_LEAF_BITS,
    MESSAGE_CHILDREN, MESSAGE_IDS, MESSAGE_PARENTS,
};
use crate::sketch::Mapping;
use crate::tree::LEVELS;
use crate::{Event, Parameters};

/// A frame that is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame is empty.
    #[error("an empty frame")]
    Empty,
    /// The message number is unknown.
    #[error("message number {0} is unknown: this side speaks version {version}", version = super::PROTOCOL_VERSION)]
    UnknownKind(u8),
    /// A handshake in another version, whose fields may differ: nobody's fault.
    #[error("a greeting in version {0}, where this side speaks {version}", version = super::PROTOCOL_VERSION)]
    OtherVersion(u16),
    /// The frame ends in the middle of a message.
    #[error("a {0} that ends in the middle")]
    Truncated(&'static str),
    /// A field has an invalid value: a list that is too long, a span that ends before it begins.
    #[error("a {0} with a field that is out of bounds or cannot be read")]
    BadField(&'static str),
    /// Bytes follow the message.
    #[error("a {0} with {1} bytes behind its end")]
    Trailing(&'static str, usize),
    /// A key or a value is longer than the cluster allows, or empty.
    #[error("an event that the cluster does not allow: {0}")]
    BadEvent(String),
}

/// The names of the messages by their number.
const NAMES: [&str; 7] = ["Hello", "Push", "Snapshot", "Nodes", "EventList", "NeedEvents", "Events"];

/// The frame of a message.
///
/// # Panics
/// Never: every message can be encoded.
pub fn encode(message: &Message) -> Bytes {
    #[expect(clippy::expect_used, reason = "a growing vector takes everything, and every length is known")]
    postcard::to_stdvec(message).expect("a message can be encoded").into()
}

/// The message of a frame, with every bound checked and every event's id computed.
///
/// # Errors
/// [`Malformed`]: always the sender's fault.
pub fn decode(frame: &[u8], parameters: &Parameters) -> Result<Message, Malformed> {
    let kind = *frame.first().ok_or(Malformed::Empty)?;
    let name = *NAMES.get(usize::from(kind)).ok_or(Malformed::UnknownKind(kind))?;
    if let Some(version) = version_of_hello(frame).filter(|version| *version != PROTOCOL_VERSION) {
        return Err(Malformed::OtherVersion(version));
    }
    let (message, rest) = postcard::take_from_bytes::<Message>(frame).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => Malformed::Truncated(name),
        _ => Malformed::BadField(name),
    })?;
    if !rest.is_empty() {
        return Err(Malformed::Trailing(name, rest.len()));
    }
    check_events(message.events(), parameters)?;
    if makes_sense(&message, parameters) { Ok(message) } else { Err(Malformed::BadField(name)) }
}

/// The version of a handshake, its first field in every version.
fn version_of_hello(frame: &[u8]) -> Option<u16> {
    let (number, rest) = frame.split_first()?;
    if *number != 0 {
        return None;
    }
    Some(postcard::take_from_bytes::<u16>(rest).ok()?.0)
}

/// The longest frame between nodes with these parameters: a batch, or one event of the largest size.
pub fn longest_frame(parameters: &Parameters) -> usize {
    let event = u64::from(parameters.longest_key) + u64::from(parameters.largest_data);
    usize::try_from(event).unwrap_or(usize::MAX).max(BATCH_FRAME).saturating_add(FRAME_OVERHEAD)
}

fn check_events(events: &[Event], parameters: &Parameters) -> Result<(), Malformed> {
    for event in events {
        parameters
            .check(event.key(), event.value())
            .map_err(|error| Malformed::BadEvent(error.to_string()))?;
    }
    Ok(())
}

fn makes_sense(message: &Message, parameters: &Parameters) -> bool {
    match message {
        Message::Nodes(Nodes::Cover { digest, counts, .. }) => {
            let rows = digest.iter().flat_map(|digest| &digest.rows);
            let sound = |row: &Row| row.level < LEVELS && ascend(&row.nodes);
            rows.clone().all(sound) && (digest.is_some() || counts.is_some())
        }
        Message::Nodes(Nodes::Children { parents, .. }) => parents_make_sense(parents.iter(), parameters),
        Message::Nodes(Nodes::Differing(differing)) => {
            let parents = differing.iter().filter_map(|differing| match differing {
                Differing::Count(..) => None,
                Differing::Children(parent) => Some(parent),
            });
            parents_make_sense(parents, parameters)
        }
        Message::Snapshot(Snapshot { cells: Some(cells), .. }) => {
            (cells.mapping(), cells.from()) == (Mapping::Regular, 0) && cells.len() <= FIRST_CELLS
        }
        Message::EventList(EventList::Lacked(lists)) => {
            let bits = LOCATOR_LEAF_BITS..=LOCATOR_LEAF_BITS + LOCATOR_HASH_BITS;
            let sound = |list: &Listed| {
                list.naming == Naming::Locators && bits.contains(&u32::from(list.numbers.bits()))
            };
            lists.iter().all(sound) && name_events(lists) && fit(lists)
        }
        Message::EventList(EventList::Held(lists)) => fit(lists),
        Message::NeedEvents(NeedEvents::Of(lists)) => name_events(lists) && fit(lists),
        Message::NeedEvents(NeedEvents::Cells { from, len, .. }) => {
            u64::from(*from) + u64::from(*len) <= KEPT_IRREGULAR as u64
        }
        _ => true,
    }
}

fn name_events(lists: &[Listed]) -> bool {
    lists.iter().all(|list| !list.numbers.numbers().is_empty())
}

fn fit(lists: &[Listed]) -> bool {
    lists.iter().map(|list| list.numbers.numbers().len()).sum::<usize>() <= MESSAGE_IDS
}

fn parents_make_sense<'p>(parents: impl Iterator<Item = &'p Parent>, parameters: &Parameters) -> bool {
    let branching = u64::from(parameters.branching);
    let (mut number, mut children) = (0, 0);
    for parent in parents {
        (number, children) = (number + 1, children + parent.children.len());
        let sound = (1..LEVELS).contains(&parent.node.level)
            && parent.children.last().is_none_or(|last| last.index < branching)
            && ascend(&parent.children);
        if !sound {
            return false;
        }
    }
    number <= MESSAGE_PARENTS && children <= MESSAGE_CHILDREN
}

fn ascend(nodes: &[NodeDigest]) -> bool {
    nodes.is_sorted_by(|one, next| one.index < next.index)
}
