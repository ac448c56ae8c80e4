//! The state of a read, and its recovery from the store: at the start, and after a failed commit.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::kept_sketch::StoredSketch;
use crate::arrivals::{Arrival, Effect, Runs};
use crate::fault_injection::{Bug, injected};
use crate::index::{IndexReader, Pending};
use crate::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, View, WriteBatch};
use crate::tables::{Checkpoint, EventRow, encode_event_key, name, parse_event_key};
use crate::{EventKey, ReadError};

/// The state of a read: a view, and the index rows that are not in it yet. The two belong together.
pub(crate) struct ReadState {
    pub(crate) view: Arc<dyn View>,
    pub(crate) pending: Pending,
    pub(crate) checkpoint: Checkpoint,
}

impl ReadState {
    pub(crate) fn index(&self) -> IndexReader<'_> {
        IndexReader::new(&*self.view, &self.pending)
    }
}

/// The checkpoint of the store; `None` if it is missing or damaged.
pub(super) async fn read_checkpoint(view: &dyn View) -> Result<Option<Checkpoint>, ReadError> {
    let row = view.get(Table::Meta, name::CHECKPOINT.as_bytes()).await?;
    Ok(row.and_then(|row| Checkpoint::parse(&row)))
}

/// The stored sketch; `None` if it is missing or damaged.
pub(super) async fn read_sketch(view: &dyn View) -> Result<Option<StoredSketch>, ReadError> {
    let row = view.get(Table::Meta, name::SKETCH.as_bytes()).await?;
    let stored = row.as_ref().and_then(|row| StoredSketch::parse(row));
    if row.is_some() && stored.is_none() {
        tracing::error!("the row of the sketch is damaged");
    }
    Ok(stored)
}

/// The state of the store, with the index rows that were pending when it was last open: those of the arrivals since
/// the last index batch. Also returns the damaged events among them. If one of these arrivals is damaged, the rows of
/// all events are written at once.
///
/// A replica opens in spite of damage here: `verify` names it, and `rebuild` mends it as far as possible. A damaged
/// event needs an index row, or a read would silently answer with the version before. The row may have a wrong key,
/// where no read finds the damage: so events are checked here, except those with a body of their own.
pub(super) async fn recover(
    store: &dyn EventStore,
    view: Arc<dyn View>,
    checkpoint: Checkpoint,
) -> Result<(ReadState, Vec<EventKey>), ReadError> {
    if let Some((pending, damaged)) = pending_rows(&*view, &checkpoint).await? {
        return Ok((ReadState { view, pending, checkpoint }, damaged));
    }
    tracing::error!("arrivals that are not indexed yet are damaged: looking for their events among all");
    let checkpoint = index_all(store, view, checkpoint).await?;
    // The scrub finds the damaged ones.
    Ok((ReadState { view: store.view().await?, pending: Pending::default(), checkpoint }, Vec::new()))
}

/// The index rows of the arrivals since the last index batch, and the damaged events among them; `None` if not all of
/// these arrivals can be read.
async fn pending_rows(
    view: &dyn View,
    checkpoint: &Checkpoint,
) -> Result<Option<(Pending, Vec<EventKey>)>, ReadError> {
    let (mut pending, mut damaged) = (Pending::default(), Vec::new());
    let mut arena = BytesMut::new();
    let mut expected = checkpoint.next_to_index;
    if expected == checkpoint.next_arrival || injected(Bug::PendingForgotten) {
        return Ok(Some((pending, damaged)));
    }
    let mut runs = Runs::from(view, checkpoint.next_to_index).await?;
    while let Some(page) = runs.next().await? {
        for run in page {
            let Ok(run) = run else { return Ok(None) };
            if run.first > expected {
                return Ok(None);
            }
            // Expired events were indexed when they were stored.
            let stored =
                run.from(checkpoint.next_to_index).filter(|arrival| arrival.effect == Effect::Stored);
            for Arrival { event_key, .. } in stored {
                let row = view.get(Table::Events, &encode_event_key(event_key)).await?;
                match row.as_ref().map(EventRow::parse) {
                    Some(Ok(row)) => {
                        pending.insert(&row.key, event_key, &mut arena);
                        if !row.needs_body() && row.into_event(event_key, None).is_err() {
                            damaged.push(event_key);
                        }
                    }
                    Some(Err(_)) => damaged.push(event_key),
                    None => {
                        tracing::error!(%event_key, "an event that arrived last is missing; run `verify`");
                    }
                }
            }
            expected = run.end();
        }
    }
    Ok((expected >= checkpoint.next_arrival).then_some((pending, damaged)))
}

/// Writes the missing index rows of all events. Cost: reads all events, and searches for the row of each. It may be
/// interrupted and repeated.
async fn index_all(
    store: &dyn EventStore,
    events: Arc<dyn View>,
    mut checkpoint: Checkpoint,
) -> Result<Checkpoint, ReadError> {
    let mut pages = Pages::new(&*events, Table::Events, KeyRange::ALL, Projection::Rows);
    while let Some(page) = pages.next().await? {
        let mut batch = WriteBatch::new();
        let view = store.view().await?;
        let (mut rows, mut arena) = (Pending::default(), BytesMut::new());
        for (key, row) in page.into_rows() {
            if let (Some(event_key), Ok(event)) = (parse_event_key(&key), EventRow::parse(&row)) {
                rows.insert(&event.key, event_key, &mut arena);
            }
        }
        for row in rows.rows() {
            if view.get(Table::ByKey, row).await?.is_none() {
                batch.put(Table::ByKey, row.clone(), Bytes::new());
            }
        }
        if !batch.is_empty() {
            checkpoint.indexed_keys += rows.count_new_keys(&*view).await?;
            batch.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
            store.commit(batch, Durability::Buffered).await?;
        }
    }
    checkpoint.next_to_index = checkpoint.next_arrival;
    let mut batch = WriteBatch::new();
    batch.put(Table::Meta, name::CHECKPOINT, checkpoint.encode());
    store.commit(batch, Durability::Immediate).await?;
    Ok(checkpoint)
}
