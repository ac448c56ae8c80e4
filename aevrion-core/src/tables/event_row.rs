//! The row of an event: everything but its row key.

use bytes::{BufMut, Bytes, BytesMut};

use crate::bounds::INLINE_DATA;
use crate::{Event, EventKey, Timestamp, Value};

const DELETION: u8 = 0;
const DATA: u8 = 1;
const EXPIRING: u8 = 2;
/// Added if the data is in `bodies`.
const BODY_APART: u8 = 0x80;

/// Appends the row of `event` to `out`, and returns whether its data goes to `bodies`.
pub(crate) fn encode_event<'e>(event: &'e Event, out: &mut BytesMut) -> Option<&'e Bytes> {
    let apart = event.value().data().filter(|data| data.len() > INLINE_DATA);
    let flags = match event.value() {
        Value::Deletion => DELETION,
        Value::Data(_) => DATA,
        Value::Expiring { .. } => EXPIRING,
    };
    out.put_u8(if apart.is_some() { flags | BODY_APART } else { flags });
    // The length was checked when the event was made; see `Event::new`.
    out.put_u32(u32::try_from(event.key().len()).unwrap_or(u32::MAX));
    out.put_slice(event.key());
    if let Some(expires_at) = event.value().expires_at() {
        out.put_u64(expires_at.as_millis());
    }
    if let (None, Some(data)) = (apart, event.value().data()) {
        out.put_slice(data);
    }
    apart
}

/// A parsed row of `events`, not yet checked against its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) key: Bytes,
    kind: u8,
    expires_at: Timestamp,
    /// `None` if it is in `bodies`.
    data: Option<Bytes>,
}

/// The damage of a stored event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DamagedRow {
    #[error("its row cannot be read")]
    Unreadable,
    #[error("its body is missing")]
    NoBody,
    #[error("its content does not match its id")]
    OtherContent,
}

impl EventRow {
    /// Parses a row without copying it: key and data share its buffer.
    pub(crate) fn parse(row: &Bytes) -> Result<Self, DamagedRow> {
        Self::split(row).ok_or(DamagedRow::Unreadable)
    }

    fn split(row: &Bytes) -> Option<Self> {
        let (&flags, rest) = row.split_first()?;
        let (key_len, rest) = rest.split_first_chunk()?;
        let key_end = 5 + usize::try_from(u32::from_be_bytes(*key_len)).ok()?;
        let kind = flags & !BODY_APART;
        let expires_len = match kind {
            DELETION | DATA => 0,
            EXPIRING => 8,
            _ => return None,
        };
        if rest.len() + 5 < key_end + expires_len {
            return None;
        }
        let data_start = key_end + expires_len;
        let expires_at = row[key_end..data_start].try_into().map_or(0, u64::from_be_bytes);
        let data = row.slice(data_start..);
        let apart = flags & BODY_APART != 0;
        if (apart || kind == DELETION) && !data.is_empty() || apart && kind == DELETION {
            return None;
        }
        Some(Self {
            key: row.slice(5..key_end),
            kind,
            expires_at: Timestamp::from_millis(expires_at),
            data: (!apart).then_some(data),
        })
    }

    /// The moment from which the value of this event, written at `timestamp`, is not visible any more, if it expires.
    pub(crate) fn expiry(&self, timestamp: Timestamp) -> Option<Timestamp> {
        (self.kind == EXPIRING).then(|| self.expires_at.max(timestamp))
    }

    /// Whether the data must be read from `bodies`.
    pub(crate) fn needs_body(&self) -> bool {
        self.data.is_none()
    }

    /// The event with this content at another `timestamp`; `None` if the data must be read from `bodies`.
    pub(crate) fn into_other_event(self, timestamp: Timestamp) -> Option<Event> {
        let data = self.data?;
        Event::new(self.key, value(self.kind, data, self.expires_at), timestamp).ok()
    }

    /// The event, if it matches its event key. `body` is needed if [`EventRow::needs_body`].
    pub(crate) fn into_event(self, event_key: EventKey, body: Option<Bytes>) -> Result<Event, DamagedRow> {
        let data = self.data.or(body).ok_or(DamagedRow::NoBody)?;
        let value = value(self.kind, data, self.expires_at);
        let event = Event::new(self.key, value, event_key.timestamp).map_err(|_| DamagedRow::OtherContent)?;
        if event.id() == event_key.id { Ok(event) } else { Err(DamagedRow::OtherContent) }
    }
}

fn value(kind: u8, data: Bytes, expires_at: Timestamp) -> Value {
    match kind {
        DELETION => Value::Deletion,
        DATA => Value::Data(data),
        _ => Value::Expiring { data, expires_at },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(value: Value) -> Event {
        Event::new(Bytes::from_static(b"key"), value, Timestamp::from_millis(42)).unwrap()
    }

    fn row_of(event: &Event) -> (Bytes, Option<Bytes>) {
        let mut out = BytesMut::new();
        let body = encode_event(event, &mut out).cloned();
        (out.freeze(), body)
    }

    #[test]
    fn rows_round_trip() {
        let long = Bytes::from(vec![9; INLINE_DATA + 1]);
        let expires_at = Timestamp::from_millis(77);
        for value in [
            Value::Deletion,
            Value::Data(Bytes::new()),
            Value::Data(Bytes::from_static(b"value")),
            Value::Data(long.clone()),
            Value::Expiring { data: Bytes::from_static(b"value"), expires_at },
            Value::Expiring { data: long, expires_at },
        ] {
            let event = event(value);
            let (row, body) = row_of(&event);
            let parsed = EventRow::parse(&row).unwrap();
            assert_eq!(parsed.needs_body(), body.is_some());
            assert_eq!(parsed.into_event(event.event_key(), body), Ok(event));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let expires_at = Timestamp::from_millis(77);
        let event = event(Value::Expiring { data: Bytes::from_static(b"value"), expires_at });
        let (row, _) = row_of(&event);
        for bit in 0..row.len() * 8 {
            let mut flipped = row.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read =
                EventRow::parse(&flipped.into()).and_then(|row| row.into_event(event.event_key(), None));
            assert!(read.is_err(), "bit {bit}");
        }
        for len in 0..row.len() {
            let read =
                EventRow::parse(&row.slice(..len)).and_then(|row| row.into_event(event.event_key(), None));
            assert!(read.is_err(), "cut at {len}");
        }
    }
}
