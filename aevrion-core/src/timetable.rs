//! The timetable: when each value expires that watchers have not been told of yet, in the order of the moments.
//!
//! A row stands for each event that expires later than the moment until which they were told, as `meta` says; earlier
//! ones may have a row still, or have been told.

use bytes::Bytes;

use crate::bounds::EXPIRED_AT_ONCE;
use crate::events::read_event;
use crate::store::{
    Direction, Durability, EventStore, KeyRange, PageLimit, Pages, Projection, ScanRequest, StoreError,
    Table, View, WriteBatch,
};
use crate::tables::{EventRow, expiry_key, name, parse_address, parse_expiry_key};
use crate::{Address, Event, ReadError, Timestamp};

/// The first rows that are due, as many as one commit takes.
pub(crate) struct Due {
    pub(crate) rows: Vec<(Timestamp, Address)>,
    /// The moment of the first row behind them.
    pub(crate) next: Option<Timestamp>,
}

/// What has expired by `now`, and what expires next.
pub(crate) async fn due(view: &dyn View, now: Timestamp) -> Result<Due, StoreError> {
    let request = ScanRequest {
        table: Table::Timetable,
        range: KeyRange::ALL,
        direction: Direction::Forward,
        projection: Projection::Keys,
        limit: PageLimit::rows(EXPIRED_AT_ONCE + 1),
    };
    let page = view.scan(request).await?;
    // What is no such row is for `verify` to name.
    let mut rows: Vec<_> = page.rows().filter_map(|(key, _)| parse_expiry_key(key)).collect();
    let due = rows.partition_point(|(expiry, _)| *expiry <= now).min(EXPIRED_AT_ONCE);
    let next = rows.get(due).map(|(expiry, _)| *expiry);
    rows.truncate(due);
    Ok(Due { rows, next })
}

/// Until when watchers were told what expired; `None` in a store without a timetable.
pub(crate) async fn told_until(view: &dyn View) -> Result<Option<Timestamp>, StoreError> {
    let row = view.get(Table::Meta, name::EXPIRED.as_bytes()).await?;
    // Of a row that cannot be read nothing is known: all rows are to be there.
    Ok(row.map(|row| Timestamp::from_millis(row[..].try_into().map_or(0, u64::from_be_bytes))))
}

/// Says in `batch` until when watchers are told what expired.
pub(crate) fn put_told_until(until: Timestamp, batch: &mut WriteBatch) {
    batch.put(Table::Meta, name::EXPIRED, Bytes::copy_from_slice(&until.as_millis().to_be_bytes()));
}

/// The row that `event` must have and has not.
pub(crate) async fn missing_row(view: &dyn View, event: &Event) -> Result<Option<Bytes>, StoreError> {
    let Some(expiry) = event.expiry() else { return Ok(None) };
    let Some(told) = told_until(view).await? else { return Ok(None) };
    let row = expiry_key(expiry, event.address());
    let is_there = expiry <= told || view.get(Table::Timetable, &row).await?.is_some();
    Ok((!is_there).then(|| Bytes::copy_from_slice(&row)))
}

/// Whether a row stands for an event that expires then. A damaged one counts.
pub(crate) async fn stands(view: &dyn View, row: &[u8]) -> Result<bool, ReadError> {
    let Some((expiry, address)) = parse_expiry_key(row) else { return Ok(false) };
    match read_event(view, address).await {
        Ok(event) => Ok(event.is_some_and(|event| event.expiry() == Some(expiry))),
        Err(ReadError::Damaged(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Writes the rows of all that expires after `now`, for a store of a release that told nobody. It may be interrupted and
/// begun again. Cost: reads the row of each event.
pub(crate) async fn make(store: &dyn EventStore, now: Timestamp) -> Result<(), StoreError> {
    let view = store.view().await?;
    let mut pages = Pages::new(&*view, Table::Events, KeyRange::ALL, Projection::Rows);
    while let Some(page) = pages.next().await? {
        let mut batch = WriteBatch::new();
        for (key, row) in page.into_rows() {
            let (Some(address), Ok(row)) = (parse_address(&key), EventRow::parse(&row)) else { continue };
            if let Some(expiry) = row.expiry(address.timestamp).filter(|expiry| *expiry > now) {
                batch.put(
                    Table::Timetable,
                    Bytes::copy_from_slice(&expiry_key(expiry, address)),
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
