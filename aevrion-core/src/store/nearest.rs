//! The first row of a range that is one.

use bytes::Bytes;

use super::{Direction, KeyRange, PageLimit, Projection, ScanRequest, StoreError, Table, View};

/// The first row of `range` whose key `parse` can read, and what it read. Rows under other keys stand for nothing: they
/// are for `verify` to name, and hide none behind them. Cost: one search.
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
