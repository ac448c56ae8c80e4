//! The contents of the tables, byte by byte. Every encoding is written by hand: it is stored, so it may not drift.
//!
//! ```text
//! events    u64 timestamp ‖ id                                →  u8 flags ‖ u32 len(key) ‖ key ‖ [u64 expires_at] ‖ data
//! bodies    u64 timestamp ‖ id                                →  data, where flags say so
//! by_key    escaped key ‖ 00 00 ‖ ¬u64 timestamp ‖ ¬id[..8]   →  nothing
//! nodes     u8 level ‖ u64 index                              →  u64 count ‖ hash
//! arrivals  u64 sequence of the first                         →  [01, if expired] ‖ u64 timestamp ‖ id, up to 256 times
//! meta      name                                              →  see `meta`; `sketch`: see `replica::kept_sketch`
//! timetable u64 moment of expiry ‖ u64 timestamp ‖ id         →  nothing
//! ```
//!
//! Integers are big-endian, so that byte order is number order; `¬` is the bitwise complement, so that the newest
//! version comes first, and of two in one millisecond the winner.

mod event_row;
mod index_row;
mod lineage;
mod meta;

use crate::store::Table;
use crate::{EventId, EventKey, Hash, Timestamp};

pub(crate) use event_row::{EventRow, encode_event};
pub(crate) use index_row::{IndexRow, escape, has_key, key_end, versions_at, versions_until};
pub(crate) use lineage::Lineage;
pub(crate) use meta::{Checkpoint, FORMAT_VERSION, WITHOUT_TIMETABLE, name};

/// Length of an event key, which is also the key of a body and the value of an arrival.
pub(crate) const EVENT_KEY_LEN: usize = 40;
/// Length of a key of the timetable.
const EXPIRY_LEN: usize = 8 + EVENT_KEY_LEN;

/// The row key of an event.
pub(crate) fn encode_event_key(event_key: EventKey) -> [u8; EVENT_KEY_LEN] {
    let mut key = [0; EVENT_KEY_LEN];
    key[..8].copy_from_slice(&event_key.timestamp.as_millis().to_be_bytes());
    key[8..].copy_from_slice(event_key.id.as_bytes());
    key
}

/// Parses [`encode_event_key`].
pub(crate) fn parse_event_key(key: &[u8]) -> Option<EventKey> {
    let key: &[u8; EVENT_KEY_LEN] = key.try_into().ok()?;
    let (timestamp, id) = key.split_first_chunk()?;
    Some(EventKey {
        timestamp: Timestamp::from_millis(u64::from_be_bytes(*timestamp)),
        id: EventId::from_bytes(id.try_into().ok()?),
    })
}

/// The first and the last row key of an event within these moments.
pub(crate) fn time_range(first: Timestamp, last: Timestamp) -> ([u8; EVENT_KEY_LEN], [u8; EVENT_KEY_LEN]) {
    let end = |timestamp, fill| encode_event_key(EventKey { timestamp, id: EventId::from_bytes([fill; 32]) });
    (end(first, 0x00), end(last, 0xFF))
}

/// The key of a tree node.
pub(crate) fn node_key(level: u8, index: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Parses [`node_key`]: level and index.
pub(crate) fn parse_node_key(key: &[u8]) -> Option<(u8, u64)> {
    let (level, index) = key.split_first()?;
    Some((*level, u64::from_be_bytes(index.try_into().ok()?)))
}

/// The value of a tree node.
pub(crate) fn node_value(count: u64, hash: Hash) -> [u8; 40] {
    let mut value = [0; 40];
    value[..8].copy_from_slice(&count.to_be_bytes());
    value[8..].copy_from_slice(hash.as_bytes());
    value
}

/// Parses [`node_value`]: count and hash. Empty nodes are not stored, so a row with no events is invalid.
pub(crate) fn parse_node_value(value: &[u8]) -> Option<(u64, Hash)> {
    let value: &[u8; 40] = value.try_into().ok()?;
    let (count, hash) = value.split_first_chunk()?;
    let (count, hash) = (u64::from_be_bytes(*count), Hash::from_bytes(hash.try_into().ok()?));
    (count > 0 && hash != Hash::EMPTY).then_some((count, hash))
}

/// The key of an arrival.
pub(crate) fn sequence_key(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// Parses [`sequence_key`].
pub(crate) fn parse_sequence(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// The row key of an event's expiry.
pub(crate) fn expiry_key(expiry: Timestamp, event_key: EventKey) -> [u8; EXPIRY_LEN] {
    let mut key = [0; EXPIRY_LEN];
    key[..8].copy_from_slice(&expiry.as_millis().to_be_bytes());
    key[8..].copy_from_slice(&encode_event_key(event_key));
    key
}

/// Parses [`expiry_key`].
pub(crate) fn parse_expiry_key(key: &[u8]) -> Option<(Timestamp, EventKey)> {
    let (expiry, event_key) = key.split_first_chunk()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*expiry)), parse_event_key(event_key)?))
}

/// A key in readable form.
pub(crate) fn describe_key(table: Table, key: &[u8]) -> String {
    let described = match table {
        Table::Events | Table::Bodies => parse_event_key(key).map(|event_key| event_key.to_string()),
        Table::ByKey => {
            IndexRow::parse(key).map(|row| format!("key `{}` at {}", row.key.escape_ascii(), row.timestamp))
        }
        Table::Nodes => parse_node_key(key).map(|(level, index)| format!("level {level} index {index}")),
        Table::Arrivals => parse_sequence(key).map(|sequence| sequence.to_string()),
        Table::Meta => Some(key.escape_ascii().to_string()),
        Table::Timetable => {
            parse_expiry_key(key).map(|(expiry, event_key)| format!("expiry of {event_key} at {expiry}"))
        }
    };
    described.unwrap_or_else(|| format!("0x{}", hex::encode(key)))
}
