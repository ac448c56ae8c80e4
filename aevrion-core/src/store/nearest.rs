//! The first valid row of a range.

use bytes::Bytes;

use super::{Direction, KeyRange, PageLimit, Projection, ScanRequest, StoreError, Table, View};

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
