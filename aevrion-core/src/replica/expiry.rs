//! Expiry: an event whose value expires while it is the latest of its key arrives once more, as expired, so that
//! watchers see it in its place among the others, once by cursor.
//!
//! The timetable has a row for each value that will expire, in the order of the moments; the writer sleeps until the
//! first of them. One commit removes rows and brings the arrivals, so a crash loses none and repeats none. Values
//! that expired while the replica was closed follow when it opens; a value that has expired before it arrives follows
//! at once.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::committer::Committer;
use super::failure::RETRY_AFTER;
use super::read_state::ReadState;
use super::state::Shared;
use crate::steady;
use crate::store::{Durability, StoreError, Table};
use crate::tables::{EventRow, encode_event_key};
use crate::timetable::{self, Due};
use crate::{EventKey, ReadError, Timestamp};

/// Expiries within this time share a commit: each commit costs a sync.
const PACE: Duration = Duration::from_millis(20);

/// How long the writer sleeps at most without a look at the wall clock, which may be set.
const WALL_CHECKED: Duration = Duration::from_secs(1);

/// The pace at which expired values arrive.
pub(super) struct Expiry {
    /// When the timetable is read next, at the earliest.
    not_before: Instant,
}

impl Expiry {
    pub(super) fn new() -> Self {
        Self { not_before: steady::now() }
    }

    /// When to read the timetable, whose first row is at `next`, if the wall shows `now` and runs on.
    pub(super) fn wake_at(&self, next: Option<Timestamp>, now: Timestamp) -> Option<Instant> {
        let wait = next?.ahead_of(now).min(WALL_CHECKED);
        Some(self.not_before.max(steady::now() + wait))
    }

    /// Lets events arrive as expired, as many as fit into one commit.
    pub(super) async fn commit_due(&mut self, committer: &mut Committer) {
        let now = committer.shared.wall.now();
        if committer.next_expiry.is_none_or(|next| next > now) {
            return;
        }
        let committed = commit_due_at(now, committer).await;
        self.not_before = steady::now() + if committed.is_ok() { PACE } else { RETRY_AFTER };
    }
}

async fn commit_due_at(now: Timestamp, committer: &mut Committer) -> Result<(), StoreError> {
    let state = committer.ready().await?;
    let Due { rows, next } = timetable::due(&*state.view, now).await?;
    if let Some((last, _)) = rows.last() {
        let mut batch = committer.batch(state.clone());
        for (expiry, event_key) in &rows {
            batch.remove_expiry(*expiry, *event_key);
            if let Some(key) = expired_key(&committer.shared, &state, *event_key).await? {
                batch.expire(*event_key, key);
            }
        }
        let until = timetable::told_until(&*state.view).await?.max(Some(*last)).unwrap_or(*last);
        timetable::put_told_until(until, &mut batch.writes);
        committer.commit_batch(batch, Durability::Immediate).await?;
    }
    committer.next_expiry = next;
    Ok(())
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
