//! The rows of `by_key`: the versions of every key, newest first.
//!
//! Keys are escaped (`00` becomes `00 FF`, and `00 00` ends a key), so that rows sort by key even if one key is a
//! prefix of another, and no two keys share rows.

use bytes::{BufMut, Bytes, BytesMut};

use crate::store::{Direction, KeyRange, PageLimit, Projection, ScanRequest, StoreError, Table, View};
use crate::{EventId, EventKey, Timestamp};

/// Bytes behind the escaped key and its terminator: timestamp and the beginning of the id.
const SUFFIX: usize = 16;
const TERMINATOR: [u8; 2] = [0x00, 0x00];
/// Sorts behind every row of a key and before every other key.
const BEHIND: [u8; 2] = [0x00, 0x01];

/// A row of `by_key`: one version of one key, or rarely several whose ids share a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexRow {
    pub(crate) key: Bytes,
    pub(crate) timestamp: Timestamp,
    id_start: [u8; 8],
}

impl IndexRow {
    /// Appends the row of the version of `key` with this event key to `out`.
    pub(crate) fn encode(key: &[u8], event_key: EventKey, out: &mut BytesMut) {
        let mut id_start = [0; 8];
        id_start.copy_from_slice(&event_key.id.as_bytes()[..8]);
        write_row(key, event_key.timestamp, id_start, out);
    }

    /// Appends the row to `out`, as [`IndexRow::encode`] did.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        write_row(&self.key, self.timestamp, self.id_start, out);
    }

    /// Parses a row; `None` if it is malformed.
    pub(crate) fn parse(row: &[u8]) -> Option<Self> {
        let head = &row[..row.len().checked_sub(SUFFIX)?];
        let key = unescape(head.strip_suffix(&TERMINATOR)?)?;
        let (timestamp, id_start) = Self::suffix(row)?;
        Some(Self { key, timestamp, id_start })
    }

    /// Parses a row of `key` whose [`IndexRow::key_part`] has this length, without reading the key from it.
    pub(crate) fn parse_of(key: &[u8], key_part: usize, row: &[u8]) -> Option<Self> {
        let (timestamp, id_start) = Self::suffix(row).filter(|_| row.len() == key_part + SUFFIX)?;
        Some(Self { key: Bytes::copy_from_slice(key), timestamp, id_start })
    }

    fn suffix(row: &[u8]) -> Option<(Timestamp, [u8; 8])> {
        let (rest, id_start) = row.split_last_chunk()?;
        let (_, timestamp) = rest.split_last_chunk()?;
        let timestamp = Timestamp::from_millis(!u64::from_be_bytes(*timestamp));
        Some((timestamp, (!u64::from_be_bytes(*id_start)).to_be_bytes()))
    }

    /// The part of `row` that is the same for all versions of its key: the escaped key with its terminator.
    pub(crate) fn key_part(row: &[u8]) -> &[u8] {
        &row[..row.len().saturating_sub(SUFFIX)]
    }

    /// The first and the last event key that the row can stand for.
    pub(crate) fn event_keys(&self) -> (EventKey, EventKey) {
        let event_key = |fill| {
            let mut id = [fill; 32];
            id[..8].copy_from_slice(&self.id_start);
            EventKey { timestamp: self.timestamp, id: EventId::from_bytes(id) }
        };
        (event_key(0x00), event_key(0xFF))
    }
}

fn write_row(key: &[u8], timestamp: Timestamp, id_start: [u8; 8], out: &mut BytesMut) {
    put_escaped(key, out);
    out.put_slice(&TERMINATOR);
    out.put_u64(!timestamp.as_millis());
    out.put_u64(!u64::from_be_bytes(id_start));
}

/// The escaped form of `key`, without a terminator: the common prefix of the rows of all keys that begin with `key`.
pub(crate) fn escape(key: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(key.len() + TERMINATOR.len() + SUFFIX);
    put_escaped(key, &mut out);
    out
}

/// Before the first row of `key`.
pub(crate) fn key_start(key: &[u8]) -> BytesMut {
    let mut out = escape(key);
    out.put_slice(&TERMINATOR);
    out
}

/// Behind the last row of `key`, before the first row of any greater key.
pub(crate) fn key_end(key: &[u8]) -> BytesMut {
    let mut out = escape(key);
    out.put_slice(&BEHIND);
    out
}

/// The bounds of the rows of `key` no later than `until`, newest first.
pub(crate) fn versions_until(key: &[u8], until: Timestamp) -> (BytesMut, BytesMut) {
    let mut start = key_start(key);
    start.put_u64(!until.as_millis());
    (start, key_end(key))
}

/// The bounds of the rows of `key` at exactly `at`.
pub(crate) fn versions_at(key: &[u8], at: Timestamp) -> (BytesMut, BytesMut) {
    let (start, all) = versions_until(key, at);
    let before = at.as_millis().checked_sub(1).map(Timestamp::from_millis);
    (start, before.map_or(all, |before| versions_until(key, before).0))
}

/// Whether the store has a row with this [`IndexRow::key_part`].
pub(crate) async fn has_key(view: &dyn View, key_part: &[u8]) -> Result<bool, StoreError> {
    let mut end = key_part.to_vec();
    if let Some(last) = end.last_mut() {
        *last = BEHIND[1];
    }
    let page = view
        .scan(ScanRequest {
            table: Table::ByKey,
            range: KeyRange::half_open(key_part, &end),
            direction: Direction::Forward,
            projection: Projection::Keys,
            limit: PageLimit::ONE,
        })
        .await?;
    Ok(!page.is_empty())
}

fn put_escaped(key: &[u8], out: &mut BytesMut) {
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.put_slice(&rest[..=zero]);
        out.put_u8(0xFF);
        rest = &rest[zero + 1..];
    }
    out.put_slice(rest);
}

fn unescape(escaped: &[u8]) -> Option<Bytes> {
    let mut key = BytesMut::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        key.put_u8(*byte);
        if *byte == 0 && bytes.next() != Some(&0xFF) {
            return None;
        }
    }
    Some(key.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, Value};

    fn row(key: &[u8], ms: u64) -> (Event, Bytes) {
        let event =
            Event::new(Bytes::copy_from_slice(key), Value::Deletion, Timestamp::from_millis(ms)).unwrap();
        let mut out = BytesMut::new();
        IndexRow::encode(event.key(), event.event_key(), &mut out);
        (event, out.freeze())
    }

    /// Keys of few different bytes, so that prefixes, zeros and 0xFF meet often.
    fn awkward_key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0x00, 0x01, 0x61, 0xFE, 0xFF]), 1..6)
    }

    proptest! {
        #[test]
        fn rows_round_trip(key in awkward_key(), ms: u64) {
            let (event, row) = row(&key, ms);
            let parsed = IndexRow::parse(&row).unwrap();
            prop_assert_eq!(&parsed.key, event.key());
            prop_assert_eq!(parsed.timestamp, event.timestamp());
            let (first, last) = parsed.event_keys();
            prop_assert!(first <= event.event_key() && event.event_key() <= last);
            prop_assert_eq!(IndexRow::key_part(&row), &key_start(&key)[..]);
        }

        #[test]
        fn rows_sort_by_key_then_newest_first(
            a in awkward_key(), b in awkward_key(), at: u64, bt: u64,
        ) {
            let ((a, a_row), (b, b_row)) = (row(&a, at), row(&b, bt));
            let order = a.key().cmp(b.key()).then(b.event_key().cmp(&a.event_key()));
            prop_assert_eq!(a_row.cmp(&b_row), order);
        }

        #[test]
        fn the_bounds_of_a_key_hold_its_rows_and_no_others(a in awkward_key(), b in awkward_key(), ms: u64) {
            let (_, row) = row(&b, ms);
            let inside = key_start(&a)[..] <= row[..] && row[..] < key_end(&a)[..];
            prop_assert_eq!(inside, a == b);
            prop_assert_eq!(row.starts_with(&escape(&a)), b.starts_with(&a));
        }

        #[test]
        fn what_is_no_row_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(parsed) = IndexRow::parse(&bytes) {
                prop_assert_eq!(&key_start(&parsed.key)[..], IndexRow::key_part(&bytes));
            }
        }
    }

    #[test]
    fn versions_are_bounded_by_time() {
        let (start, end) = versions_until(b"k", Timestamp::from_millis(10));
        let inside = |ms| {
            let (_, row) = row(b"k", ms);
            start[..] <= row[..] && row[..] < end[..]
        };
        assert!(inside(0) && inside(10) && !inside(11) && !inside(u64::MAX));
        for at in [0, 1, 10, u64::MAX] {
            let (start, end) = versions_at(b"k", Timestamp::from_millis(at));
            let inside = |ms| (&start[..]..&end[..]).contains(&&row(b"k", ms).1[..]);
            assert!(
                inside(at) && !inside(at ^ 1) && !inside(at.wrapping_sub(1)) && !inside(at.wrapping_add(1))
            );
        }
    }

    #[test]
    fn a_row_of_another_length_is_none() {
        let (_, row) = row(b"k", 5);
        let part = key_start(b"k").len();
        assert!(IndexRow::parse_of(b"k", part, &row).is_some());
        assert_eq!(IndexRow::parse_of(b"k", part, &row[..row.len() - 1]), None);
        assert_eq!(IndexRow::parse_of(b"k", part, &[&row[..], &[0]].concat()), None);
    }
}
