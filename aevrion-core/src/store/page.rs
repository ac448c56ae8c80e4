//! Pages: the only shape in which a scan answers, bounded in rows and in bytes.

use std::ops::Bound;

use bytes::Bytes;

use super::Table;
use crate::bounds::{PAGE_BYTES, PAGE_ROWS};

/// In which order a scan walks its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// From the least key on.
    #[default]
    Forward,
    /// From the greatest key down.
    Backward,
}

/// What of a row a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Keys alone: values come back empty.
    Keys,
    /// Keys and values.
    Rows,
}

/// A range of keys, ordered as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// Where it begins.
    pub start: Bound<&'a [u8]>,
    /// Where it ends.
    pub end: Bound<&'a [u8]>,
}

impl<'a> KeyRange<'a> {
    /// Every key.
    pub const ALL: Self = Self { start: Bound::Unbounded, end: Bound::Unbounded };

    /// From `first` to `last`, both included.
    pub fn inclusive(first: &'a [u8], last: &'a [u8]) -> Self {
        Self { start: Bound::Included(first), end: Bound::Included(last) }
    }

    /// From `start` on, up to but without `end`.
    pub fn half_open(start: &'a [u8], end: &'a [u8]) -> Self {
        Self { start: Bound::Included(start), end: Bound::Excluded(end) }
    }

    /// What is left of the range when a scan in `direction` has read up to and including `key`.
    #[must_use]
    pub fn after(self, key: &'a [u8], direction: Direction) -> Self {
        match direction {
            Direction::Forward => Self { start: Bound::Excluded(key), ..self },
            Direction::Backward => Self { end: Bound::Excluded(key), ..self },
        }
    }

    /// Whether no key can lie in the range. Ordered maps of the standard library panic on some of these.
    pub fn is_empty(&self) -> bool {
        match (self.start, self.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) => start >= end,
        }
    }
}

/// How much a page may hold. A page always holds at least one row of a range that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// At most so many rows.
    pub rows: usize,
    /// No further row once the keys and values together reach so many bytes.
    pub bytes: usize,
}

impl PageLimit {
    /// The most that any page may hold.
    pub const MOST: Self = Self { rows: PAGE_ROWS, bytes: PAGE_BYTES };
    /// The first row alone.
    pub const ONE: Self = Self { rows: 1, bytes: PAGE_BYTES };

    /// At most `rows` rows, within [`PageLimit::MOST`] and never none.
    pub fn rows(rows: usize) -> Self {
        Self { rows: rows.clamp(1, PAGE_ROWS), bytes: PAGE_BYTES }
    }
}

/// One page of a table.
#[derive(Debug, Clone, Copy)]
pub struct ScanRequest<'a> {
    /// The table to read.
    pub table: Table,
    /// The keys to read.
    pub range: KeyRange<'a>,
    /// The order to read them in.
    pub direction: Direction,
    /// What to read of each row.
    pub projection: Projection,
    /// Where to stop.
    pub limit: PageLimit,
}

/// Rows in the order of the scan, in one buffer.
#[derive(Debug, Clone, Default)]
pub struct Page {
    buffer: Bytes,
    rows: Vec<Extent>,
    complete: bool,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    key: usize,
    value: usize,
    end: usize,
}

impl Page {
    /// Keys and values, in the order of the scan.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + DoubleEndedIterator {
        self.rows.iter().map(|row| (&self.buffer[row.key..row.value], &self.buffer[row.value..row.end]))
    }

    /// The rows as shared slices of the page's buffer, which lives as long as any of them.
    pub fn into_rows(self) -> impl ExactSizeIterator<Item = (Bytes, Bytes)> {
        let buffer = self.buffer;
        self.rows
            .into_iter()
            .map(move |row| (buffer.slice(row.key..row.value), buffer.slice(row.value..row.end)))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is no row, which means that the range is empty.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where to continue: the key of the last row.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.rows.last().map(|row| &self.buffer[row.key..row.value])
    }

    /// Whether nothing of the range lies behind the last row.
    pub fn complete(&self) -> bool {
        self.complete
    }
}

/// Collects a page within its limit, so that every engine counts alike.
///
/// ```text
/// let mut page = PageBuilder::new(request.limit);
/// for (key, value) in engine.range(…) {
///     if page.is_full() { return page.more_follow() }
///     page.push(&key, &value);
/// }
/// page.end_of_range()
/// ```
#[derive(Debug)]
pub struct PageBuilder {
    buffer: Vec<u8>,
    rows: Vec<Extent>,
    limit: PageLimit,
}

impl PageBuilder {
    /// An empty page that will hold no more than `limit`.
    pub fn new(limit: PageLimit) -> Self {
        Self { buffer: Vec::new(), rows: Vec::new(), limit }
    }

    /// Whether the limit is reached: if a further row exists, it belongs to the next page.
    pub fn is_full(&self) -> bool {
        !self.rows.is_empty() && (self.rows.len() >= self.limit.rows || self.buffer.len() >= self.limit.bytes)
    }

    /// Adds a row.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let start = self.buffer.len();
        if start == 0 {
            self.buffer.reserve_exact(key.len() + value.len());
        }
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        self.rows.push(Extent { key: start, value: start + key.len(), end: self.buffer.len() });
    }

    /// The page, after which the range has further rows.
    pub fn more_follow(self) -> Page {
        Page { buffer: self.buffer.into(), rows: self.rows, complete: false }
    }

    /// The page, after which the range has no further row.
    pub fn end_of_range(self) -> Page {
        Page { buffer: self.buffer.into(), rows: self.rows, complete: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_one_row_whatever_its_size() {
        let mut page = PageBuilder::new(PageLimit { rows: 10, bytes: 4 });
        assert!(!page.is_full());
        page.push(b"key", &[0; 100]);
        assert!(page.is_full());
        let page = page.more_follow();
        assert_eq!((page.len(), page.last_key(), page.complete()), (1, Some(b"key".as_slice()), false));
    }

    #[test]
    fn ranges_that_hold_nothing() {
        let range = KeyRange::inclusive(b"b", b"b");
        assert!(!range.is_empty());
        assert!(range.after(b"b", Direction::Forward).is_empty());
        assert!(range.after(b"b", Direction::Backward).is_empty());
        assert!(KeyRange::inclusive(b"c", b"b").is_empty());
        assert!(!KeyRange::ALL.after(b"b", Direction::Forward).is_empty());
    }
}
