//! All tables in one sled tree, told apart by the first byte of a key: only within one tree is a batch of sled both
//! atomic and cheap.

use std::ops::Bound;

use aevrion_core::store::{KeyRange, Table, WriteBatch};
use sled::IVec;

/// sled's key of a row.
pub(crate) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(key.len() + 1);
    row_key.push(table.tag());
    row_key.extend_from_slice(key);
    row_key
}

/// The key of a row without the tag of its table.
pub(crate) fn key_of(row_key: &IVec) -> &[u8] {
    row_key.get(1..).unwrap_or_default()
}

/// The range of sled's keys for a range of a table.
pub(crate) fn range_of(table: Table, range: KeyRange<'_>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = match range.start {
        Bound::Unbounded => Bound::Included(vec![table.tag()]),
        bound => bound.map(|key| row_key(table, key)),
    };
    let end = match range.end {
        // There are fewer tables than bytes, so the next tag exists.
        Bound::Unbounded => Bound::Excluded(vec![table.tag() + 1]),
        bound => bound.map(|key| row_key(table, key)),
    };
    (start, end)
}

/// A batch in sled's form.
pub(crate) fn batch_of(batch: WriteBatch) -> sled::Batch {
    let mut rows = sled::Batch::default();
    for (table, writes) in batch.into_tables() {
        for write in writes {
            let key = row_key(table, &write.key);
            match write.value {
                Some(value) => rows.insert(key, &*value),
                None => rows.remove(key),
            }
        }
    }
    rows
}
