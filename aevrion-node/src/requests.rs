//! Requests to a replica, implemented once: a verb with `--data` and an HTTP request share this code, so that their
//! answers cannot differ.

use std::time::Duration;

use aevrion_core::store::Durability;
use aevrion_core::{AsOf, EntryQuery, KeySpan, Order, VersionQuery};
use aevrion_core::{Event, EventKey, Operation, ReadError, Replica, Timestamp, Value, WriteError};
use bytes::Bytes;

use crate::moment::Moment;
use crate::paging::{HistoryPlace, Page, ScanPlace};

/// One value to write.
#[derive(Debug, Clone)]
pub(crate) struct Put {
    pub(crate) key: Bytes,
    pub(crate) data: Bytes,
    /// Lifetime of the value.
    pub(crate) ttl: Option<Duration>,
    /// Time of the write; now by default.
    pub(crate) timestamp: Option<Timestamp>,
}

impl Put {
    pub(crate) async fn write(self, replica: &Replica) -> Result<EventKey, WriteError> {
        let Self { key, data, ttl, timestamp } = self;
        let value = value(data, ttl, || timestamp.unwrap_or_else(|| replica.present().expiry));
        match timestamp {
            Some(timestamp) => replica.put_at(key, value, timestamp).await,
            None => replica.write(Operation { key, value }, Durability::Immediate).await,
        }
    }
}

/// A value that is visible for `ttl` from `begin` on.
pub(crate) fn value(data: Bytes, ttl: Option<Duration>, begin: impl FnOnce() -> Timestamp) -> Value {
    match ttl {
        Some(ttl) => Value::Expiring { data, expires_at: begin().after(ttl) },
        None => Value::Data(data),
    }
}

/// The event that gives a key its value.
pub(crate) async fn get(
    replica: &Replica,
    key: &[u8],
    at: Option<Moment>,
) -> Result<Option<Event>, ReadError> {
    replica.get_event(key, resolve(replica, at)).await
}

fn resolve(replica: &Replica, at: Option<Moment>) -> AsOf {
    let present = replica.present();
    at.map_or(present, |at| at.resolve(present.visible).into())
}

/// A request for the versions of a key.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) key: Bytes,
    /// No version is later than this; the present by default.
    pub(crate) at: Option<Moment>,
    pub(crate) order: Order,
    /// Most events on this page.
    pub(crate) limit: Option<usize>,
    /// The end of the previous page.
    pub(crate) cursor: Option<String>,
}

/// Why a page has no answer.
#[derive(Debug)]
pub(crate) enum PageError {
    /// The cursor is invalid.
    Cursor(String),
    Read(ReadError),
}

impl From<ReadError> for PageError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl History {
    pub(crate) async fn page(&self, replica: &Replica) -> Result<Page, PageError> {
        let place = parsed::<HistoryPlace>(self.cursor.as_deref())?;
        let until = place.as_ref().map_or_else(|| resolve(replica, self.at).visible, |place| place.until);
        let mut query =
            VersionQuery::default().order(self.order).until(until).after(place.map(|place| place.after));
        query.limit = self.limit.unwrap_or(query.limit);
        let versions = replica.history(&self.key, &query).await?;
        let next = versions.next.map(|after| HistoryPlace { until, after }.to_string());
        Ok(Page { events: versions.events, at: until, stable_until: None, next })
    }
}

/// A request for the keys that have a value.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) keys: Keys,
    /// The moment of the values; the present by default.
    pub(crate) at: Option<Moment>,
    /// Most keys on this page.
    pub(crate) limit: Option<usize>,
    /// The end of the previous page.
    pub(crate) cursor: Option<String>,
}

/// A set of keys.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    Prefix(Bytes),
    /// From the first key (inclusive) to the second (exclusive), if there is one.
    Range(Bytes, Option<Bytes>),
}

impl Keys {
    fn span(&self) -> KeySpan {
        match self {
            Self::Prefix(prefix) => KeySpan::prefix(prefix),
            Self::Range(from, to) => KeySpan::range(from, to.as_deref()),
        }
    }
}

impl Scan {
    pub(crate) async fn page(&self, replica: &Replica) -> Result<Page, PageError> {
        let place = parsed::<ScanPlace>(self.cursor.as_deref())?;
        let as_of = place.as_ref().map_or_else(|| resolve(replica, self.at), |place| place.as_of);
        let mut query =
            EntryQuery::default().span(self.keys.span()).as_of(as_of).after(place.map(|place| place.after));
        query.limit = self.limit.unwrap_or(query.limit);
        let entries = replica.scan(&query).await?;
        let next = entries.next.map(|after| ScanPlace { as_of, after }.to_string());
        Ok(Page { events: entries.events, at: as_of.visible, stable_until: None, next })
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(cursor: Option<&str>) -> Result<Option<T>, PageError> {
    cursor.map(str::parse).transpose().map_err(PageError::Cursor)
}
