//! Derived rows: the meaning of each, for the checks and for the writer before it removes one, and their corrections
//! on the way to the writer.

use bytes::Bytes;

use super::queue::{CountCorrection, Queue, Request};
use crate::bounds::PAGE_ROWS;
use crate::events::{decode_event, outermost_event, read_event};
use crate::store::{Direction, KeyRange, Pages, Projection, StoreError, Table, View, WriteBatch};
use crate::tables::{
    EventRow, IndexRow, encode_event_key, parse_event_key, parse_expiry_key, parse_node_key,
};
use crate::tree::{LEVELS, NodePosition, Shape};
use crate::{ReadError, Timestamp, WriteError, timetable};

/// Whether a row of `by_key` has its event. A damaged event counts: its row must stay, or a read would silently answer
/// with the version before.
pub(super) async fn stands_for_event(view: &dyn View, row: &[u8]) -> Result<bool, ReadError> {
    let Some(parsed) = IndexRow::parse(row) else { return Ok(false) };
    let (first, last) = parsed.event_keys();
    let (start, end) = (encode_event_key(first), encode_event_key(last));
    let mut pages = Pages::new(view, Table::Events, KeyRange::inclusive(&start, &end), Projection::Rows);
    while let Some(page) = pages.next().await? {
        for (event_key, event) in page.into_rows() {
            if EventRow::parse(&event).map_or(true, |event| event.key == parsed.key) {
                return Ok(true);
            }
            // Another key: either the id of another event begins alike, or this event is damaged.
            match decode_event(view, &event_key, &event).await {
                Ok(_) => {}
                Err(ReadError::Damaged(_)) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(false)
}

/// The node of a row of `nodes`; `None` if the tree has no such node.
pub(super) fn node_of(shape: Shape, row: &[u8]) -> Option<NodePosition> {
    let (level, index) = parse_node_key(row)?;
    (level < LEVELS && shape.indexes(level).contains(&index)).then_some(NodePosition { level, index })
}

/// Whether the node of a row of `nodes` has events.
pub(super) async fn node_has_events(view: &dyn View, shape: Shape, row: &[u8]) -> Result<bool, ReadError> {
    let Some(node) = node_of(shape, row) else { return Ok(false) };
    let span = (shape.first(node), shape.last(node));
    Ok(outermost_event(view, span, Direction::Forward).await?.is_some())
}

/// Leaves out the corrections that later commits made obsolete: a derived row stays if its event has come since, an
/// event if a sound copy has mended it, and an expiry is not added after its arrival. Returns the number of events
/// that stay. `view` has to be the latest.
pub(super) async fn still_wrong(batch: WriteBatch, view: &dyn View) -> Result<(WriteBatch, i64), StoreError> {
    let mut left = WriteBatch::new();
    let mut events_kept = 0;
    let told = timetable::told_until(view).await?;
    for (table, writes) in batch.into_tables() {
        for write in writes {
            match write.value {
                Some(_) if table == Table::Timetable && was_told(&write.key, told) => {}
                Some(value) => left.put(table, write.key, value),
                None if table == Table::ByKey && in_doubt_yes(stands_for_event(view, &write.key).await)? => {}
                None if table == Table::Timetable
                    && in_doubt_yes(timetable::stands(view, &write.key).await)? => {}
                None if table == Table::Events && is_sound_by_now(view, &write.key).await? => {
                    events_kept += 1;
                }
                None => left.remove(table, write.key),
            }
        }
    }
    Ok((left, events_kept))
}

async fn is_sound_by_now(view: &dyn View, key: &[u8]) -> Result<bool, StoreError> {
    let Some(event_key) = parse_event_key(key) else { return Ok(false) };
    match read_event(view, event_key).await {
        Err(ReadError::Store(error)) => Err(error),
        event => Ok(matches!(event, Ok(Some(_)))),
    }
}

fn was_told(row: &[u8], until: Option<Timestamp>) -> bool {
    parse_expiry_key(row).is_none_or(|(expiry, _)| until.is_none_or(|until| expiry <= until))
}

/// Lets a row stay if its event cannot be read.
fn in_doubt_yes(stands: Result<bool, ReadError>) -> Result<bool, StoreError> {
    match stands {
        Err(ReadError::Store(error)) => Err(error),
        stands => Ok(stands.unwrap_or(true)),
    }
}

/// Corrections of derived rows on their way to the writer, a commit at a time.
pub(super) struct Mend<'q> {
    queue: &'q Queue,
    batch: WriteBatch,
    in_batch: usize,
    rows: u64,
}

impl<'q> Mend<'q> {
    pub(super) fn new(queue: &'q Queue) -> Self {
        Self { queue, batch: WriteBatch::new(), in_batch: 0, rows: 0 }
    }

    /// The number of rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) async fn put(&mut self, table: Table, key: Bytes, value: Bytes) -> Result<(), WriteError> {
        self.batch.put(table, key, value);
        self.added().await
    }

    pub(super) async fn remove(&mut self, table: Table, key: Bytes) -> Result<(), WriteError> {
        self.batch.remove(table, key);
        self.added().await
    }

    /// Counts a row of the batch, and sends the batch if it is full.
    async fn added(&mut self) -> Result<(), WriteError> {
        self.rows += 1;
        self.in_batch += 1;
        if self.in_batch >= PAGE_ROWS { self.send(None).await } else { Ok(()) }
    }

    async fn send(&mut self, counted: Option<CountCorrection>) -> Result<(), WriteError> {
        let batch = std::mem::take(&mut self.batch);
        self.in_batch = 0;
        if batch.is_empty() && counted.is_none() {
            return Ok(());
        }
        self.queue.write(|reply| Request::Mend(batch, counted, reply)).await
    }

    /// Sends the rest. Returns the number of rows.
    pub(super) async fn finish(mut self, counted: Option<CountCorrection>) -> Result<u64, WriteError> {
        self.send(counted).await?;
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::store::MemoryStore;
    use crate::{EventId, EventKey, Options, Replica};

    #[tokio::test]
    async fn what_has_come_meanwhile_stays() {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let here = replica.put("key", "value").await.unwrap();
        let gone = EventKey { id: EventId::from_bytes([7; 32]), ..here };
        let [stands, ghost] = [here, gone].map(|event_key| {
            let mut row = BytesMut::new();
            IndexRow::encode(b"key", event_key, &mut row);
            row.freeze()
        });
        let mut batch = WriteBatch::new();
        batch.remove(Table::ByKey, stands);
        batch.remove(Table::ByKey, ghost.clone());
        let state = replica.shared.state().unwrap();
        batch.remove(Table::Events, encode_event_key(here).to_vec());
        batch.remove(Table::Events, encode_event_key(gone).to_vec());
        let (left, events) = still_wrong(batch, &*state.view).await.unwrap();
        assert_eq!(events, 1);
        let writes: Vec<_> = left.into_tables().flat_map(|(_, writes)| writes).collect();
        assert_eq!(
            writes.iter().map(|write| &write.key).collect::<Vec<_>>(),
            [&Bytes::copy_from_slice(&encode_event_key(gone)), &ghost]
        );
    }
}
