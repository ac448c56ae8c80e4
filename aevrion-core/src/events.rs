//! Reading events back from the store. An event that does not match its id is reported, never served.

use std::ops::Bound;

use bytes::Bytes;

use crate::coop::rows_of;
use crate::store::{Direction, KeyRange, Pages, Projection, Table, View, in_one_piece, nearest};
use crate::tables::{EventRow, encode_event_key, parse_event_key, time_range};
use crate::{Event, EventKey, ReadError, Timestamp};

/// The event with exactly this key. Cost: one or two lookups and a BLAKE3 over the event.
pub(crate) async fn read_event(view: &dyn View, event_key: EventKey) -> Result<Option<Event>, ReadError> {
    let key = encode_event_key(event_key);
    match view.get(Table::Events, &key).await? {
        Some(row) => decode_event(view, &key, &row).await.map(Some),
        None => Ok(None),
    }
}

/// The event of a row of the table `events`.
pub(crate) async fn decode_event(view: &dyn View, key: &[u8], row: &Bytes) -> Result<Event, ReadError> {
    let damaged = |what: String| ReadError::damaged(Table::Events, key, what);
    let event_key = parse_event_key(key).ok_or_else(|| damaged("its key is not an event key".into()))?;
    let parsed = EventRow::parse(row).map_err(|error| damaged(error.to_string()))?;
    let body = if parsed.needs_body() { view.get(Table::Bodies, key).await? } else { None };
    let bytes = body.as_ref().map_or(0, Bytes::len);
    let event = in_one_piece(rows_of(bytes), move || parsed.into_event(event_key, body)).await?;
    event.map_err(|error| damaged(error.to_string()))
}

/// The first event from `first` to `last`, both included; the last one if the direction is backward. Cost: one search.
pub(crate) async fn outermost_event(
    view: &dyn View,
    (first, last): (Timestamp, Timestamp),
    direction: Direction,
) -> Result<Option<EventKey>, ReadError> {
    let (start, end) = time_range(first, last);
    let range = KeyRange::inclusive(&start, &end);
    let event = nearest(view, Table::Events, range, direction, Projection::Keys, parse_event_key).await?;
    Ok(event.map(|(event_key, _)| event_key))
}

/// Walks events in the order of time.
pub(crate) struct EventPages<'v> {
    view: &'v dyn View,
    pages: Pages<'v>,
}

impl<'v> EventPages<'v> {
    /// The events behind `after`, or all of them.
    pub(crate) fn behind(view: &'v dyn View, after: Option<EventKey>) -> Self {
        let after = after.map(encode_event_key);
        let start = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let range = KeyRange { start, end: Bound::Unbounded };
        Self { view, pages: Pages::new(view, Table::Events, range, Projection::Rows) }
    }

    /// A page of events, each with its row's key and the event or its damage; `None` after the last page.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Bytes, Result<Event, ReadError>)>>, ReadError> {
        let Some(page) = self.pages.next().await? else { return Ok(None) };
        let mut events = Vec::with_capacity(page.len());
        for (key, row) in page.into_rows() {
            let event = match decode_event(self.view, &key, &row).await {
                Err(ReadError::Store(error)) => return Err(error.into()),
                event => event,
            };
            events.push((key, event));
        }
        Ok(Some(events))
    }
}
