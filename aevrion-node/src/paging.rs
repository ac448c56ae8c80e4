//! The start of a listing's next page as an opaque text cursor.
//!
//! The cursor carries the time of the first page's view, so that all pages show the same moment, however long their
//! reader takes.

use std::fmt;
use std::str::FromStr;

use aevrion_core::AsOf;
use aevrion_core::{Event, EventId, EventKey, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    /// The moment that the page shows.
    pub(crate) at: Timestamp,
    /// The time before which the page cannot change any more by ordinary lateness. Nothing for a directory without a
    /// running node: it has no neighbours to agree with.
    pub(crate) stable_until: Option<Timestamp>,
    /// The start of the next page, if there may be one.
    pub(crate) next: Option<String>,
}

/// A position after a version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryPlace {
    pub(crate) until: Timestamp,
    pub(crate) after: EventKey,
}

/// A position after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanPlace {
    pub(crate) as_of: AsOf,
    pub(crate) after: Bytes,
}

fn not_a_place(text: &str) -> String {
    format!("`{text}` does not come from a page: pass on its `next`, or leave cursor out")
}

/// Splits a cursor into its eight-byte time, common to all cursors, and the remaining bytes.
fn parse(text: &str) -> Option<(Timestamp, Vec<u8>)> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let rest = bytes.split_off(bytes.len().min(8));
    let time = u64::from_be_bytes(bytes.try_into().ok()?);
    Some((Timestamp::from_millis(time), rest))
}

fn write(f: &mut fmt::Formatter<'_>, time: Timestamp, rest: &[u8]) -> fmt::Result {
    let bytes = [&time.as_millis().to_be_bytes(), rest].concat();
    f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
}

impl fmt::Display for HistoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventKey { timestamp, id } = self.after;
        write(f, self.until, &[&timestamp.as_millis().to_be_bytes()[..], id.as_bytes()].concat())
    }
}

impl FromStr for HistoryPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = || {
            let (until, rest) = parse(text)?;
            let (time, id) = rest.split_first_chunk()?;
            let timestamp = Timestamp::from_millis(u64::from_be_bytes(*time));
            let after = EventKey { timestamp, id: EventId::from_bytes(id.try_into().ok()?) };
            Some(Self { until, after })
        };
        place().ok_or_else(|| not_a_place(text))
    }
}

impl fmt::Display for ScanPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expiry = self.as_of.expiry.as_millis().to_be_bytes();
        write(f, self.as_of.visible, &[&expiry, &self.after[..]].concat())
    }
}

impl FromStr for ScanPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = || {
            let (visible, rest) = parse(text)?;
            let (expiry, after) = rest.split_first_chunk().filter(|(_, key)| !key.is_empty())?;
            let as_of = AsOf { visible, expiry: Timestamp::from_millis(u64::from_be_bytes(*expiry)) };
            Some(Self { as_of, after: Bytes::copy_from_slice(after) })
        };
        place().ok_or_else(|| not_a_place(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_travel_as_text() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let as_of = AsOf { visible: at, expiry: at.previous() };
        let scan = ScanPlace { as_of, after: Bytes::from_static(b"\xFF/\0") };
        assert_eq!(scan.to_string().parse(), Ok(scan));
        let after = EventKey { timestamp: Timestamp::MAX, id: EventId::from_bytes([7; 32]) };
        let history = HistoryPlace { until: at, after };
        assert_eq!(history.to_string().parse(), Ok(history));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "AAAA", "AAAAAAAAAAA", "not base64!", "6d8a31cc-42"] {
            assert!(text.parse::<ScanPlace>().is_err(), "{text}");
            assert!(text.parse::<HistoryPlace>().is_err(), "{text}");
        }
    }
}
