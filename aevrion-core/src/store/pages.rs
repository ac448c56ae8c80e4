//! Reads a range of any length, one bounded page at a time, or its first valid row.

use std::ops::Bound;

use bytes::Bytes;

use super::{Direction, KeyRange, Page, PageLimit, Projection, ScanRequest, StoreError, Table, View};

/// The pages of a range, in order.
pub struct Pages<'v> {
    view: &'v dyn View,
    table: Table,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    projection: Projection,
    exhausted: bool,
}

impl<'v> Pages<'v> {
    /// The pages of `range` in `view`, ascending and as large as allowed.
    pub fn new(view: &'v dyn View, table: Table, range: KeyRange<'_>, projection: Projection) -> Self {
        Self {
            view,
            table,
            start: range.start.map(<[u8]>::to_vec),
            end: range.end.map(<[u8]>::to_vec),
            projection,
            exhausted: false,
        }
    }

    /// Whether no page follows. Known after each page.
    pub(crate) fn are_at_end(&self) -> bool {
        self.exhausted
    }

    /// The next page; `None` after the last one. No page is empty.
    ///
    /// # Errors
    /// As [`View::scan`]. The same page may be requested again.
    pub async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        if self.exhausted {
            return Ok(None);
        }
        let range = KeyRange {
            start: self.start.as_ref().map(Vec::as_slice),
            end: self.end.as_ref().map(Vec::as_slice),
        };
        let page = self
            .view
            .scan(ScanRequest {
                table: self.table,
                range,
                direction: Direction::Forward,
                projection: self.projection,
                limit: PageLimit::MOST,
            })
            .await?;
        match page.last_key().filter(|_| !page.complete()) {
            Some(last) => self.start = Bound::Excluded(last.to_vec()),
            None => self.exhausted = true,
        }
        Ok((!page.is_empty()).then_some(page))
    }
}

/// The first row of `range` whose key `parse` accepts, with the parsed key. Rows with invalid keys are skipped, as
/// `verify` reports them, and they must not hide valid ones. Cost: one search.
pub(crate) async fn nearest<T: Send>(
    view: &dyn View,
    table: Table,
    range: KeyRange<'_>,
    direction: Direction,
    projection: Projection,
    parse: impl Fn(&[u8]) -> Option<T> + Send,
) -> Result<Option<(T, Bytes)>, StoreError> {
    let mut passed: Option<Bytes> = None;
    loop {
        let range = passed.as_ref().map_or(range, |key| range.after(key, direction));
        let limit = PageLimit::ONE;
        let page = view.scan(ScanRequest { table, range, direction, projection, limit }).await?;
        let Some((key, value)) = page.into_rows().next() else { return Ok(None) };
        if let Some(parsed) = parse(&key) {
            return Ok(Some((parsed, value)));
        }
        passed = Some(key);
    }
}
