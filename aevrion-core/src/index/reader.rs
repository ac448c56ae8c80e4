//! Reading the index: rows of the store and pending rows merged, resolved to events.

use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::{AsOf, Entries, EntryQuery, KeySpan, Order, Pending, VersionQuery, Versions};
use crate::bounds::{PAGE_BYTES, PAGE_ROWS};
use crate::event::{RESERVED_PREFIX, is_reserved};
use crate::events::decode_event;
use crate::store::{Direction, KeyRange, PageLimit, Pages, Projection, ScanRequest, Table, View};
use crate::tables::{
    IndexRow, encode_event_key, escape, key_end, parse_event_key, versions_at, versions_until,
};
use crate::{Event, ReadError, Timestamp};

/// The index at one moment of the store.
#[derive(Clone, Copy)]
pub(crate) struct IndexReader<'v> {
    view: &'v dyn View,
    pending: &'v Pending,
}

impl<'v> IndexReader<'v> {
    pub(crate) fn new(view: &'v dyn View, pending: &'v Pending) -> Self {
        Self { view, pending }
    }

    /// The version of `key` that wins at `at`, even if it is a deletion or expired. Cost: two searches in the store.
    pub(crate) async fn winner(&self, key: &[u8], at: Timestamp) -> Result<Option<Event>, ReadError> {
        let (start, end) = versions_until(key, at);
        let Some(row) = self.first_row(KeyRange::half_open(&start, &end)).await? else { return Ok(None) };
        // The moment follows the key part of `start`.
        let key_part = start.len() - size_of::<u64>();
        let row = IndexRow::parse_of(key, key_part, &row).ok_or_else(|| unreadable(&row))?;
        Ok(self.resolve(&row).await?.into_iter().next())
    }

    /// The newest version of `key`, even from the future. Cost: as [`IndexReader::winner`].
    pub(crate) async fn newest(&self, key: &[u8]) -> Result<Option<Event>, ReadError> {
        self.winner(key, Timestamp::MAX).await
    }

    /// Whether `key` has a version at exactly this moment, as far as its rows are readable.
    pub(crate) async fn has_version_at(&self, key: &[u8], at: Timestamp) -> Result<bool, ReadError> {
        let (start, end) = versions_at(key, at);
        Ok(self.first_row(KeyRange::half_open(&start, &end)).await?.is_some())
    }

    /// A page of the versions of `key` no later than `until`.
    pub(crate) async fn versions(
        &self,
        key: &[u8],
        until: Timestamp,
        query: &VersionQuery,
    ) -> Result<Versions, ReadError> {
        let limit = query.limit.clamp(1, PAGE_ROWS);
        let (mut start, mut end) = versions_until(key, until);
        let direction = match query.order {
            Order::NewestFirst => Direction::Forward,
            Order::OldestFirst => Direction::Backward,
        };
        // Resumes at the row of the last version: ids with a common prefix share a row.
        if let Some(after) = query.after {
            match query.order {
                Order::NewestFirst => start = start.max(versions_until(key, after.timestamp).0),
                Order::OldestFirst => {
                    end = after.timestamp.as_millis().checked_sub(1).map_or(end.clone(), |earlier| {
                        end.clone().min(versions_until(key, Timestamp::from_millis(earlier)).0)
                    });
                }
            }
        }
        let mut versions = Versions { events: Vec::new(), next: None };
        let mut weight = 0;
        let mut range_start = Bound::Included(start.freeze());
        let mut range_end = Bound::Excluded(end.freeze());
        loop {
            let range = KeyRange {
                start: range_start.as_ref().map(|start| &start[..]),
                end: range_end.as_ref().map(|end| &end[..]),
            };
            let (rows, complete) = self.rows(range, direction, limit - versions.events.len() + 1).await?;
            for row in &rows {
                let mut events = self.events_of(row).await?;
                if query.order == Order::OldestFirst {
                    events.reverse();
                }
                for event in events {
                    let passed = query.after.is_some_and(|after| match query.order {
                        Order::NewestFirst => event.event_key() >= after,
                        Order::OldestFirst => event.event_key() <= after,
                    });
                    if passed {
                        continue;
                    }
                    if versions.events.len() == limit || weight >= PAGE_BYTES {
                        versions.next = versions.events.last().map(Event::event_key);
                        return Ok(versions);
                    }
                    weight += event.weight();
                    versions.events.push(event);
                }
            }
            let Some(last) = rows.last().filter(|_| !complete) else { return Ok(versions) };
            match direction {
                Direction::Forward => range_start = Bound::Excluded(last.clone()),
                Direction::Backward => range_end = Bound::Excluded(last.clone()),
            }
        }
    }

    /// A page of all versions of the keys of a span, at any time, behind the row `after`; and the row to continue
    /// behind, if there may be more. Damaged events are skipped, and logged.
    pub(crate) async fn all_versions(
        &self,
        span: &KeySpan,
        after: Option<&Bytes>,
    ) -> Result<(Vec<Event>, Option<Bytes>), ReadError> {
        let (start, end) = (escape(&span.start), span.end.as_ref().map(|end| escape(end)));
        let range = KeyRange {
            start: after.map_or(Bound::Included(&start[..]), |after| Bound::Excluded(&after[..])),
            end: end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..])),
        };
        let (rows, complete) = self.rows(range, Direction::Forward, PAGE_ROWS).await?;
        let mut events = Vec::new();
        let mut weight = 0;
        for row in &rows {
            match self.events_of(row).await {
                Ok(more) => {
                    weight += more.iter().map(Event::weight).sum::<usize>();
                    events.extend(more);
                }
                Err(error @ ReadError::Damaged(_)) => tracing::warn!(%error, "passed over"),
                Err(error) => return Err(error),
            }
            if weight >= PAGE_BYTES {
                return Ok((events, Some(row.clone())));
            }
        }
        Ok((events, rows.last().filter(|_| !complete).cloned()))
    }

    /// A page of the keys of a span with a value as of a moment.
    pub(crate) async fn entries(&self, as_of: AsOf, query: &EntryQuery) -> Result<Entries, ReadError> {
        let limit = query.limit.clamp(1, PAGE_ROWS);
        let mut entries = Entries { events: Vec::new(), as_of, next: None };
        let mut keys = KeyWalk::new(&query.span, query.after.as_ref());
        let mut weight = 0;
        let mut examined = 0;
        while let Some((key, newest)) = keys.next(self).await? {
            if let Some(event) = self.visible(&key, &newest, as_of).await? {
                weight += event.weight();
                entries.events.push(event);
            }
            examined += 1;
            if entries.events.len() == limit || weight >= PAGE_BYTES || examined == PAGE_ROWS {
                entries.next = Some(key);
                break;
            }
        }
        Ok(entries)
    }

    /// The event with the value of `key` as of a moment; `newest` is the first row of the key.
    async fn visible(&self, key: &[u8], newest: &IndexRow, as_of: AsOf) -> Result<Option<Event>, ReadError> {
        let winner = if newest.timestamp <= as_of.visible {
            self.resolve(newest).await?.into_iter().next()
        } else {
            self.winner(key, as_of.visible).await?
        };
        Ok(winner.filter(|event| event.value().visible_at(as_of.expiry).is_some()))
    }

    async fn first_row(&self, range: KeyRange<'_>) -> Result<Option<Bytes>, ReadError> {
        let (direction, projection, limit) = (Direction::Forward, Projection::Keys, PageLimit::ONE);
        let request = ScanRequest { table: Table::ByKey, range, direction, projection, limit };
        let stored = self.view.scan(request).await?.into_rows().next().map(|(row, _)| row);
        let pending = self.pending.first(range);
        Ok(match (stored, pending) {
            (Some(stored), Some(pending)) => Some(stored.min(pending)),
            (stored, pending) => stored.or(pending),
        })
    }

    /// Up to `limit` rows of a range, stored and pending ones, and whether the range ends with them.
    async fn rows(
        &self,
        range: KeyRange<'_>,
        direction: Direction,
        limit: usize,
    ) -> Result<(Vec<Bytes>, bool), ReadError> {
        let request = ScanRequest {
            table: Table::ByKey,
            range,
            direction,
            projection: Projection::Keys,
            limit: PageLimit::rows(limit),
        };
        let page = self.view.scan(request).await?;
        let pending = self.pending.range(range, direction, limit);
        let mut complete = page.complete();
        let mut rows: Vec<Bytes> = page.into_rows().map(|(row, _)| row).collect();
        if !pending.is_empty() {
            let stored = rows.len();
            let horizon = rows.last().cloned().filter(|_| !complete);
            rows.extend(pending.into_iter().filter(|row| match (&horizon, direction) {
                (None, _) => true,
                (Some(horizon), Direction::Forward) => row <= horizon,
                (Some(horizon), Direction::Backward) => row >= horizon,
            }));
            if rows.len() > stored {
                match direction {
                    Direction::Forward => rows.sort_unstable(),
                    Direction::Backward => rows.sort_unstable_by(|a, b| b.cmp(a)),
                }
                rows.dedup();
            }
            complete &= rows.len() < limit;
            rows.truncate(limit);
        }
        Ok((rows, complete))
    }

    async fn events_of(&self, row: &[u8]) -> Result<Vec<Event>, ReadError> {
        self.resolve(&IndexRow::parse(row).ok_or_else(|| unreadable(row))?).await
    }

    /// The events of a row, the winner first: nearly always one.
    async fn resolve(&self, row: &IndexRow) -> Result<Vec<Event>, ReadError> {
        let (first, last) = row.event_keys();
        let (start, end) = (encode_event_key(first), encode_event_key(last));
        let range = KeyRange::inclusive(&start, &end);
        let mut pages = Pages::new(self.view, Table::Events, range, Projection::Rows);
        let mut events = Vec::with_capacity(1);
        while let Some(page) = pages.next().await? {
            // A malformed key is no event.
            for (event_key, stored) in page.into_rows().filter(|(key, _)| parse_event_key(key).is_some()) {
                let event = decode_event(self.view, &event_key, &stored).await?;
                if event.key() == &row.key {
                    events.push(event);
                }
            }
        }
        if events.is_empty() {
            let mut bytes = BytesMut::new();
            row.write(&mut bytes);
            return Err(ReadError::damaged(Table::ByKey, &bytes, "its event is not in the store"));
        }
        events.reverse();
        Ok(events)
    }
}

/// The keys of a span one after the other, each with its newest row.
struct KeyWalk {
    start: BytesMut,
    end: Option<BytesMut>,
}

impl KeyWalk {
    fn new(span: &KeySpan, after: Option<&Bytes>) -> Self {
        let start = escape(&span.start);
        let start = after.map_or(start.clone(), |after| start.max(key_end(after)));
        Self { start, end: span.end.as_ref().map(|end| escape(end)) }
    }

    async fn next(&mut self, index: &IndexReader<'_>) -> Result<Option<(Bytes, IndexRow)>, ReadError> {
        loop {
            let range = KeyRange {
                start: Bound::Included(&self.start),
                end: self.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end)),
            };
            if range.is_empty() {
                return Ok(None);
            }
            let Some(row) = index.first_row(range).await? else { return Ok(None) };
            let newest = IndexRow::parse(&row).ok_or_else(|| unreadable(&row))?;
            if is_reserved(&newest.key) {
                let behind = KeySpan::prefix(RESERVED_PREFIX).end.unwrap_or_default();
                self.start = escape(&behind);
                continue;
            }
            self.start = key_end(&newest.key);
            return Ok(Some((newest.key.clone(), newest)));
        }
    }
}

fn unreadable(row: &[u8]) -> ReadError {
    ReadError::damaged(Table::ByKey, row, "its row cannot be read")
}
