//! The timetable: the expiry of each value that has not been reported to watchers yet, in order of time.
//!
//! There is a row for each event that expires after the reported time, which `meta` holds; earlier events may still
//! have a row, or have been reported.

use bytes::Bytes;

use crate::bounds::EXPIRED_AT_ONCE;
use crate::events::read_event;
use crate::store::{
    Direction, Durability, EventStore, KeyRange, PageLimit, Pages, Projection, ScanRequest, StoreError,
    Table, View, WriteBatch,
};
use crate::tables::{EventRow, expiry_key, name, parse_event_key, parse_expiry_key};
use crate::{Event, EventKey, ReadError, Timestamp};

/// The first due rows, as many as one commit takes.
pub(crate) struct Due {
    pub(crate) rows: Vec<(Timestamp, EventKey)>,
    /// The moment of the first row behind them.
    pub(crate) next: Option<Timestamp>,
}

/// The expired values by `now`, and the next expiry.
pub(crate) async fn due(view: &dyn View, now: Timestamp) -> Result<Due, StoreError> {
    let request = ScanRequest {
        table: Table::Timetable,
        range: KeyRange::ALL,
        direction: Direction::Forward,
        projection: Projection::Keys,
        limit: PageLimit::rows(EXPIRED_AT_ONCE + 1),
    };
    let page = view.scan(request).await?;
    // Malformed rows are for `verify` to report.
    let mut rows: Vec<_> = page.rows().filter_map(|(key, _)| parse_expiry_key(key)).collect();
    let due = rows.partition_point(|(expiry, _)| *expiry <= now).min(EXPIRED_AT_ONCE);
    let next = rows.get(due).map(|(expiry, _)| *expiry);
    rows.truncate(due);
    Ok(Due { rows, next })
}

/// The time until which expiries were reported to watchers; `None` in a store without a timetable.
pub(crate) async fn told_until(view: &dyn View) -> Result<Option<Timestamp>, StoreError> {
    let row = view.get(Table::Meta, name::EXPIRED.as_bytes()).await?;
    // An unreadable row says nothing: then all rows must be there.
    Ok(row.map(|row| Timestamp::from_millis(row[..].try_into().map_or(0, u64::from_be_bytes))))
}

/// Records in `batch` the time until which expiries are reported.
pub(crate) fn put_told_until(until: Timestamp, batch: &mut WriteBatch) {
    batch.put(Table::Meta, name::EXPIRED, Bytes::copy_from_slice(&until.as_millis().to_be_bytes()));
}

/// The missing row of `event`, if it must have one.
pub(crate) async fn missing_row(view: &dyn View, event: &Event) -> Result<Option<Bytes>, StoreError> {
    let Some(expiry) = event.expiry() else { return Ok(None) };
    let Some(told) = told_until(view).await? else { return Ok(None) };
    let row = expiry_key(expiry, event.event_key());
    let is_there = expiry <= told || view.get(Table::Timetable, &row).await?.is_some();
    Ok((!is_there).then(|| Bytes::copy_from_slice(&row)))
}

/// Whether there is a row for an event with this expiry. A damaged one counts.
pub(crate) async fn stands(view: &dyn View, row: &[u8]) -> Result<bool, ReadError> {
    let Some((expiry, event_key)) = parse_expiry_key(row) else { return Ok(false) };
    match read_event(view, event_key).await {
        Ok(event) => Ok(event.is_some_and(|event| event.expiry() == Some(expiry))),
        Err(ReadError::Damaged(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Writes the rows of all values that expire after `now`, for a store of a release without a timetable. It may be
/// interrupted and started again. Cost: reads the row of each event.
pub(crate) async fn make(store: &dyn EventStore, now: Timestamp) -> Result<(), StoreError> {
    let view = store.view().await?;
    let mut pages = Pages::new(&*view, Table::Events, KeyRange::ALL, Projection::Rows);
    while let Some(page) = pages.next().await? {
        let mut batch = WriteBatch::new();
        for (key, row) in page.into_rows() {
            let (Some(event_key), Ok(row)) = (parse_event_key(&key), EventRow::parse(&row)) else { continue };
            if let Some(expiry) = row.expiry(event_key.timestamp).filter(|expiry| *expiry > now) {
                batch.put(
                    Table::Timetable,
                    Bytes::copy_from_slice(&expiry_key(expiry, event_key)),
                    Bytes::new(),
                );
            }
        }
        if !batch.is_empty() {
            store.commit(batch, Durability::Buffered).await?;
        }
    }
    Ok(())
}
