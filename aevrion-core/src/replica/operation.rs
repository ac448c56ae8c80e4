//! Writes as clients ask for them, and the limits of a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::bounds::{BATCH_BYTES, BATCH_OPERATIONS};
use crate::fault_injection::{Bug, injected};
use crate::{Value, WriteError};

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The key.
    pub key: Bytes,
    /// Its value from now on.
    pub value: Value,
}

impl Operation {
    /// Gives `key` the value `data`.
    pub fn put(key: impl AsRef<[u8]>, data: impl Into<Bytes>) -> Self {
        Self { key: Bytes::copy_from_slice(key.as_ref()), value: Value::Data(data.into()) }
    }

    /// Leaves `key` without a value.
    pub fn delete(key: impl AsRef<[u8]>) -> Self {
        Self { key: Bytes::copy_from_slice(key.as_ref()), value: Value::Deletion }
    }
}

/// The result of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inserted {
    /// Events that were not stored before.
    pub new: u64,
    /// Events that were stored before.
    pub known: u64,
}

/// The greatest batch: the writer and the neighbours take it in one piece.
pub(super) fn check_batch(operations: usize, bytes: usize) -> Result<(), WriteError> {
    // One event of the cluster's greatest size is always a batch of its own.
    if operations > BATCH_OPERATIONS || (operations > 1 && bytes > BATCH_BYTES) {
        return Err(WriteError::BatchTooLarge { operations, bytes });
    }
    Ok(())
}

/// Each write of a key has a millisecond of its own, and all of a batch lie within the drift.
pub(super) fn check_density(operations: &[Operation], max_drift: Duration) -> Result<(), WriteError> {
    let most = usize::try_from(max_drift.as_millis()).unwrap_or(usize::MAX).max(1);
    if operations.len() <= most {
        return Ok(());
    }
    let mut writes: BTreeMap<&Bytes, usize> = BTreeMap::new();
    for operation in operations {
        *writes.entry(&operation.key).or_default() += 1;
    }
    match writes.into_values().max().filter(|writes| *writes > most) {
        Some(writes) if !injected(Bug::BatchPastDrift) => Err(WriteError::BatchTooDense { writes, most }),
        _ => Ok(()),
    }
}
