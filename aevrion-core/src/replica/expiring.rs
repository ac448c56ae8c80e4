//! Expiry that is told: an event whose value expires while it is the latest of its key arrives once more, as expired, so
//! that watchers see it in its place among the others, once by cursor.
//!
//! The timetable has a row for each value that will expire, in the order of the moments; the writer sleeps until the
//! first of them. One commit takes rows out and brings the arrivals: a crash loses none, and none is told twice. What
//! expired while the replica was closed is told when it opens, and what has expired before it came, right behind it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::commit_batch::CommitBatch;
use super::failure::RETRY_AFTER;
use super::read_state::ReadState;
use super::state::Shared;
use super::writer::Writer;
use crate::store::{Durability, StoreError, Table};
use crate::tables::{EventRow, encode_event_key};
use crate::timetable::{self, Due};
use crate::{EventKey, ReadError, Timestamp, steady};

/// What expires within this time is told together: each commit costs a sync.
const PACE: Duration = Duration::from_millis(20);

impl Writer {
    /// Tells watchers what has expired, as much of it as one commit may bring.
    pub(super) async fn tell_expired(&mut self) {
        let now = self.shared.wall.now();
        if self.expiry_alarm.next.is_none_or(|next| next > now) {
            return;
        }
        let told = self.tell_expired_until(now).await;
        self.expiry_alarm.after = steady::now() + if told.is_ok() { PACE } else { RETRY_AFTER };
    }

    async fn tell_expired_until(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.expect_no_refusal()?;
        let state = self.base().await?;
        let Due { rows, next } = timetable::due(&*state.view, now).await?;
        if let Some((last, _)) = rows.last() {
            let shared = Arc::clone(&self.shared);
            let mut batch = CommitBatch::new(&state, self.greatest, &shared);
            for (expiry, event_key) in &rows {
                batch.remove_expiry(*expiry, *event_key);
                if let Some(key) = expired_key(&shared, &state, *event_key).await? {
                    batch.expire(*event_key, key);
                }
            }
            let until = timetable::told_until(&*state.view).await?.max(Some(*last)).unwrap_or(*last);
            timetable::put_told_until(until, &mut batch.writes);
            self.finish(batch, &state, Durability::Immediate).await?;
        }
        self.expiry_alarm.next = next;
        Ok(())
    }
}

/// The key that has no value any more because this event has expired; `None` if a later one counts.
async fn expired_key(
    shared: &Shared,
    state: &ReadState,
    event_key: EventKey,
) -> Result<Option<Bytes>, StoreError> {
    let row = state.view.get(Table::Events, &encode_event_key(event_key)).await?;
    let Some(Ok(event)) = row.as_ref().map(EventRow::parse) else {
        tracing::error!(%event_key, "an event that expires cannot be read; run `verify`");
        return Ok(None);
    };
    match state.index().winner(&event.key, shared.now()).await {
        Ok(winner) => {
            Ok(winner.filter(|winner| winner.event_key() == event_key).map(|winner| winner.key().clone()))
        }
        Err(ReadError::Store(error)) => Err(error),
        Err(error) => {
            shared.note_damage(&error);
            Ok(None)
        }
    }
}
