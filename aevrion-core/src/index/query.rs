//! Queries to the index, and their answers: always a page, always resumable.

use bytes::Bytes;

use crate::bounds::PAGE_ROWS;
use crate::{Event, EventKey, Timestamp};

/// The moment of a read: it determines the visible versions, and the expired values.
///
/// A read at a given time uses it for both. The present is [`Replica::present`](crate::Replica::present): a node sees
/// its own writes even while its clock is ahead of the wall, and a lease ends by the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf {
    /// Versions no later than this are visible.
    pub visible: Timestamp,
    /// Values that expire at this moment or before it have expired.
    pub expiry: Timestamp,
}

impl From<Timestamp> for AsOf {
    fn from(at: Timestamp) -> Self {
        Self { visible: at, expiry: at }
    }
}

/// The order of listed versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The winning version first.
    #[default]
    NewestFirst,
    /// The first write first.
    OldestFirst,
}

/// A query for the versions of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionQuery {
    /// The order of the versions.
    pub order: Order,
    /// None later than this; by default the node's present.
    pub until: Option<Timestamp>,
    /// Continue behind this version, with [`Versions::next`] of the page before.
    pub after: Option<EventKey>,
    /// The most versions in the page; 4,096 at most.
    pub limit: usize,
}

impl Default for VersionQuery {
    fn default() -> Self {
        Self { order: Order::NewestFirst, until: None, after: None, limit: PAGE_ROWS }
    }
}

impl VersionQuery {
    /// Sets [`order`](Self::order).
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets [`until`](Self::until).
    #[must_use]
    pub fn until(mut self, until: impl Into<Option<Timestamp>>) -> Self {
        self.until = until.into();
        self
    }

    /// Sets [`after`](Self::after).
    #[must_use]
    pub fn after(mut self, after: impl Into<Option<EventKey>>) -> Self {
        self.after = after.into();
        self
    }

    /// Sets [`limit`](Self::limit).
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// A page of the history of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Versions in the requested order, including deletions and expired values.
    pub events: Vec<Event>,
    /// The beginning of the next page, if there may be one.
    pub next: Option<EventKey>,
}

/// A span of keys, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    pub(super) start: Bytes,
    pub(super) end: Option<Bytes>,
}

impl KeySpan {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let start = Bytes::copy_from_slice(prefix.as_ref());
        let end = behind_prefix(&start);
        Self { start, end }
    }

    /// The keys from `start` to `end`, exclusive (to the last one if `None`).
    pub fn range(start: impl AsRef<[u8]>, end: Option<&[u8]>) -> Self {
        Self { start: Bytes::copy_from_slice(start.as_ref()), end: end.map(Bytes::copy_from_slice) }
    }

    /// Whether `key` lies in the span.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && self.end.as_ref().is_none_or(|end| key < end)
    }
}

/// The least key greater than all keys that begin with `prefix`, if any.
fn behind_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

/// A query for keys and their values at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryQuery {
    /// The span of keys.
    pub span: KeySpan,
    /// The moment; by default the node's present.
    pub as_of: Option<AsOf>,
    /// Continue behind this key, with [`Entries::next`] of the page before.
    pub after: Option<Bytes>,
    /// The most keys in the page; 4,096 at most.
    pub limit: usize,
}

impl Default for EntryQuery {
    fn default() -> Self {
        Self { span: KeySpan::all(), as_of: None, after: None, limit: PAGE_ROWS }
    }
}

impl EntryQuery {
    /// Sets [`span`](Self::span).
    #[must_use]
    pub fn span(mut self, span: KeySpan) -> Self {
        self.span = span;
        self
    }

    /// Sets [`as_of`](Self::as_of).
    #[must_use]
    pub fn as_of(mut self, as_of: impl Into<Option<AsOf>>) -> Self {
        self.as_of = as_of.into();
        self
    }

    /// Sets [`after`](Self::after).
    #[must_use]
    pub fn after(mut self, after: impl Into<Option<Bytes>>) -> Self {
        self.after = after.into();
        self
    }

    /// Sets [`limit`](Self::limit).
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// A page of keys with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// For each key, the event with the visible value, in byte order of the keys.
    pub events: Vec<Event>,
    /// The moment of the values. Further pages should ask for the same one.
    pub as_of: AsOf,
    /// The beginning of the next page, if there may be one. A page may hold fewer entries than requested, even none,
    /// and still have a next one: skipped keys without a value are work, too.
    pub next: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_the_next_begins() {
        assert!(KeySpan::prefix("ab").contains(b"ab") && KeySpan::prefix("ab").contains(b"ab\xFF\xFF"));
        assert!(!KeySpan::prefix("ab").contains(b"ac") && !KeySpan::prefix("ab").contains(b"a"));
        assert!(
            KeySpan::prefix(b"a\xFF").contains(b"a\xFF\xFF") && !KeySpan::prefix(b"a\xFF").contains(b"b")
        );
        assert!(KeySpan::prefix(b"\xFF").contains(b"\xFF\xFF") && KeySpan::prefix("").contains(b"\x00"));
    }
}
