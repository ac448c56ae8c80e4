//! Reads a range of any length, one bounded page at a time.

use std::ops::Bound;

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
