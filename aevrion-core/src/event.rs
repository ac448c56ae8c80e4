//! The event: one immutable write, and the encoding that determines its id.
//!
//! ```text
//! id = BLAKE3( u32 len(key) ‖ key ‖ V ‖ u64 timestamp )        integers big-endian
//! V  = 0x00                                                     a deletion
//!    | 0x01 ‖ u32 len(data) ‖ data                              a value
//!    | 0x02 ‖ u64 expires_at ‖ u32 len(data) ‖ data             a value visible until expires_at
//! ```
//!
//! The encoding is written by hand because it is hashed: it may never drift with a library. An [`Event`] cannot be
//! made without computing its id, so an event in memory always matches its id.

use std::fmt;

use bytes::Bytes;

use crate::fault_injection::{Bug, injected};
use crate::{EventId, Timestamp};

/// The prefix of the system's own keys: clients neither write nor see them.
pub const RESERVED_PREFIX: &[u8] = b"__aevrion/";

/// Whether `key` is one of the system's own.
pub fn is_reserved(key: &[u8]) -> bool {
    key.starts_with(RESERVED_PREFIX)
}

/// The effect of an event on its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// The key has no value from this event on.
    Deletion,
    /// The key has this value from this event on.
    Data(Bytes),
    /// As `Data`, until `expires_at` (exclusive); from then on the key has no value.
    Expiring {
        /// The value.
        data: Bytes,
        /// The first moment at which the value is no longer visible.
        expires_at: Timestamp,
    },
}

impl Value {
    /// The bytes of the value, none for a deletion. Says nothing of expiry: see [`Value::visible_at`].
    pub fn data(&self) -> Option<&Bytes> {
        match self {
            Self::Deletion => None,
            Self::Data(data) | Self::Expiring { data, .. } => Some(data),
        }
    }

    /// The moment at which the value expires, if any.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Expiring { expires_at, .. } => Some(*expires_at),
            Self::Deletion | Self::Data(_) => None,
        }
    }

    /// The bytes visible to a read at time `at`: none for a deletion or once expired.
    pub fn visible_at(&self, at: Timestamp) -> Option<&Bytes> {
        match self {
            Self::Expiring { expires_at, .. } if at >= *expires_at && !injected(Bug::NothingExpires) => None,
            _ => self.data(),
        }
    }

    /// Length of the data in bytes, 0 for a deletion.
    pub fn len(&self) -> usize {
        self.data().map_or(0, Bytes::len)
    }

    /// Whether there is no data: a deletion, or an empty value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A key or a value too long for the canonical encoding. The limits of the cluster are lower.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} of {len} bytes: the encoding of an event ends at 4,294,967,295")]
pub struct TooLong {
    part: &'static str,
    len: usize,
}

/// One immutable write: key, value, timestamp, and the id computed from them.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    key: Bytes,
    value: Value,
    timestamp: Timestamp,
    id: EventId,
}

impl Event {
    /// Makes the event and computes its id. Cost: one BLAKE3 over key and value.
    ///
    /// # Errors
    /// [`TooLong`] if key or data do not fit in a u32 length. The limits of a cluster are checked where an event enters
    /// a replica.
    pub fn new(key: Bytes, value: Value, timestamp: Timestamp) -> Result<Self, TooLong> {
        let length =
            |part, bytes: &Bytes| u32::try_from(bytes.len()).map_err(|_| TooLong { part, len: bytes.len() });
        let key_len = length("key", &key)?;
        let data_len = value.data().map_or(Ok(0), |data| length("value", data))?;
        let id = canonical_id(&key, key_len, &value, data_len, timestamp);
        Ok(Self { key, value, timestamp, id })
    }

    /// The key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The value, or the deletion.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The time of the write, by the clock of the node that took it.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// BLAKE3 of the canonical encoding.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The moment at which the value expires by the wall clock, if it does: not before the event's own time.
    pub(crate) fn expiry(&self) -> Option<Timestamp> {
        self.value.expires_at().map(|expires_at| expires_at.max(self.timestamp))
    }

    /// The event key: its timestamp is the path in the tree, its id the leaf entry.
    pub fn event_key(&self) -> EventKey {
        EventKey { timestamp: self.timestamp, id: self.id }
    }

    /// Bytes of key and data, counted against the limits of queues and batches.
    pub fn weight(&self) -> usize {
        self.key.len() + self.value.len()
    }

    /// The canonical encoding, whose BLAKE3 is the id.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.weight() + 32);
        // Lengths were checked when the event was made.
        let key_len = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
        let data_len = u32::try_from(self.value.len()).unwrap_or(u32::MAX);
        canonical(&self.key, key_len, &self.value, data_len, self.timestamp, |part| {
            out.extend_from_slice(part);
        });
        out
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("address", &self.event_key())
            .finish()
    }
}

/// The event key: `timestamp-id`. Event keys order events by time, then by id, which is also the order for
/// last-write-wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// The path from the root to the leaf.
    pub timestamp: Timestamp,
    /// The event in the leaf.
    pub id: EventId,
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.timestamp, self.id)
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Feeds the canonical encoding to `sink`, piece by piece.
fn canonical(
    key: &[u8],
    key_len: u32,
    value: &Value,
    data_len: u32,
    timestamp: Timestamp,
    mut sink: impl FnMut(&[u8]),
) {
    sink(&key_len.to_be_bytes());
    sink(key);
    match value {
        Value::Deletion => sink(&[0x00]),
        Value::Data(data) => {
            sink(&[0x01]);
            sink(&data_len.to_be_bytes());
            sink(data);
        }
        Value::Expiring { data, expires_at } => {
            sink(&[0x02]);
            sink(&expires_at.as_millis().to_be_bytes());
            sink(&data_len.to_be_bytes());
            sink(data);
        }
    }
    sink(&timestamp.as_millis().to_be_bytes());
}

fn canonical_id(key: &[u8], key_len: u32, value: &Value, data_len: u32, timestamp: Timestamp) -> EventId {
    // One call to the hasher is faster than seven: small events are gathered first.
    const GATHERED: usize = 1024;
    let mut gathered = [0_u8; GATHERED];
    let mut len = 0;
    if key.len() + value.len() + 32 <= GATHERED {
        canonical(key, key_len, value, data_len, timestamp, |part| {
            gathered[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        });
        return blake3::hash(&gathered[..len]).into();
    }
    let mut hasher = blake3::Hasher::new();
    canonical(key, key_len, value, data_len, timestamp, |part| {
        hasher.update(part);
    });
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &'static str, value: Value, ms: u64) -> Event {
        Event::new(Bytes::from_static(key.as_bytes()), value, Timestamp::from_millis(ms)).unwrap()
    }

    #[test]
    fn id_is_the_hash_of_the_encoding_at_any_size() {
        for len in [0, 1, 900, 990, 992, 1_000, 1_024, 5_000] {
            let data = Bytes::from(vec![7; len]);
            let expires_at = Timestamp::from_millis(9);
            for value in [Value::Data(data.clone()), Value::Expiring { data, expires_at }] {
                let event = event("key", value, 42);
                assert_eq!(event.id(), blake3::hash(&event.canonical_bytes()).into());
            }
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let data = |text: &'static str| Value::Data(Bytes::from_static(text.as_bytes()));
        assert_ne!(event("user:1", data("23"), 1).id(), event("user:12", data("3"), 1).id());
        assert_ne!(event("k", data(""), 1).id(), event("k", Value::Deletion, 1).id());
    }

    #[test]
    fn expiry_is_exclusive() {
        let value =
            Value::Expiring { data: Bytes::from_static(b"v"), expires_at: Timestamp::from_millis(10) };
        assert!(value.visible_at(Timestamp::from_millis(9)).is_some());
        assert!(value.visible_at(Timestamp::from_millis(10)).is_none());
    }

    #[test]
    fn address_reads_time_first() {
        let event_key = event("user:123", Value::Deletion, 1_710_684_600_043).event_key();
        assert!(event_key.to_string().starts_with("1710684600043-8fb354794a26ed03"));
    }
}
