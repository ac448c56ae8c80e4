//! Pages: the result of a scan, bounded in rows and in bytes.

use std::ops::Bound;

use bytes::Bytes;

use super::Table;
use crate::bounds::{PAGE_BYTES, PAGE_ROWS};

/// The order in which a scan reads its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Ascending.
    #[default]
    Forward,
    /// Descending.
    Backward,
}

/// The parts of a row that a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Keys only: values are empty.
    Keys,
    /// Keys and values.
    Rows,
}

/// A range of keys, ordered as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// The lower bound.
    pub start: Bound<&'a [u8]>,
    /// The upper bound.
    pub end: Bound<&'a [u8]>,
}

impl<'a> KeyRange<'a> {
    /// All keys.
    pub const ALL: Self = Self { start: Bound::Unbounded, end: Bound::Unbounded };

    /// From `first` to `last`, both included.
    pub fn inclusive(first: &'a [u8], last: &'a [u8]) -> Self {
        Self { start: Bound::Included(first), end: Bound::Included(last) }
    }

    /// From `start`, included, to `end`, excluded.
    pub fn half_open(start: &'a [u8], end: &'a [u8]) -> Self {
        Self { start: Bound::Included(start), end: Bound::Excluded(end) }
    }

    /// The rest of the range after a scan in `direction` has read up to and including `key`.
    #[must_use]
    pub fn after(self, key: &'a [u8], direction: Direction) -> Self {
        match direction {
            Direction::Forward => Self { start: Bound::Excluded(key), ..self },
            Direction::Backward => Self { end: Bound::Excluded(key), ..self },
        }
    }

    /// Whether the range cannot contain any key. The ordered maps of the standard library panic on some such ranges.
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

/// The limit of a page. A page holds at least one row if its range has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// The maximum number of rows.
    pub rows: usize,
    /// The number of bytes of keys and values after which no further row is added.
    pub bytes: usize,
}

impl PageLimit {
    /// The largest limit of any page.
    pub const MOST: Self = Self { rows: PAGE_ROWS, bytes: PAGE_BYTES };
    /// The first row only.
    pub const ONE: Self = Self { rows: 1, bytes: PAGE_BYTES };

    /// At most `rows` rows, clamped to 1 and [`PageLimit::MOST`].
    pub fn rows(rows: usize) -> Self {
        Self { rows: rows.clamp(1, PAGE_ROWS), bytes: PAGE_BYTES }
    }
}

/// A request for one page of a table.
#[derive(Debug, Clone, Copy)]
pub struct ScanRequest<'a> {
    /// The table to read.
    pub table: Table,
    /// The keys to read.
    pub range: KeyRange<'a>,
    /// The order of reading.
    pub direction: Direction,
    /// The parts of each row to read.
    pub projection: Projection,
    /// The limit of the page.
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

    /// Whether there is no row, and the range is therefore empty.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The key of the last row, from which to continue.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.rows.last().map(|row| &self.buffer[row.key..row.value])
    }

    /// Whether no row of the range follows the last one.
    pub fn complete(&self) -> bool {
        self.complete
    }
}

/// Builds a page within its limit, so that all engines count alike.
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
    /// An empty page with this limit.
    pub fn new(limit: PageLimit) -> Self {
        Self { buffer: Vec::new(), rows: Vec::new(), limit }
    }

    /// Whether the limit is reached. A further row then belongs to the next page.
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

    /// The page, with further rows in the range.
    pub fn more_follow(self) -> Page {
        Page { buffer: self.buffer.into(), rows: self.rows, complete: false }
    }

    /// The page, with no further row in the range.
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
