//! Index rows that are not in the store yet.

use std::ops::Bound;

use bytes::{Bytes, BytesMut};
use imbl::OrdSet;

use crate::EventKey;
use crate::event::is_reserved;
use crate::store::{Direction, KeyRange, StoreError, View};
use crate::tables::{IndexRow, has_key};

/// A sorted set of rows of `by_key`. Cloning shares everything, so every reader holds the set of its moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    rows: OrdSet<Bytes>,
}

impl Pending {
    /// Adds the row of the version of `key` with this event key.
    pub(crate) fn insert(&mut self, key: &[u8], event_key: EventKey, arena: &mut BytesMut) {
        IndexRow::encode(key, event_key, arena);
        self.rows.insert(arena.split().freeze());
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, ascending.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Bytes> {
        self.rows.iter()
    }

    /// Whether this row is pending.
    pub(crate) fn contains(&self, row: &[u8]) -> bool {
        self.rows.contains(row)
    }

    /// The first row of a range.
    pub(super) fn first(&self, range: KeyRange<'_>) -> Option<Bytes> {
        self.range(range, Direction::Forward, 1).pop()
    }

    /// Up to `limit` rows of a range, in the order of the walk.
    pub(super) fn range(&self, range: KeyRange<'_>, direction: Direction, limit: usize) -> Vec<Bytes> {
        if self.rows.is_empty() || range.is_empty() {
            return Vec::new();
        }
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (range.start, range.end);
        let rows = self.rows.range::<_, [u8]>(bounds);
        match direction {
            Direction::Forward => rows.take(limit).cloned().collect(),
            Direction::Backward => rows.rev().take(limit).cloned().collect(),
        }
    }

    /// The number of pending client keys without a row in the store. Cost: one search for each pending key.
    pub(crate) async fn count_new_keys(&self, view: &dyn View) -> Result<u64, StoreError> {
        let mut new = 0;
        let mut previous: &[u8] = &[];
        for row in &self.rows {
            let key = IndexRow::key_part(row);
            if key != previous && !is_reserved(key) && !has_key(view, key).await? {
                new += 1;
            }
            previous = key;
        }
        Ok(new)
    }
}
