//! sled's errors as errors of the core.

use std::io;
use std::sync::Arc;

use aevrion_core::files;
use aevrion_core::store::{DirectoryError, StoreError};

/// The reason why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// sled cannot use its files.
    #[error("the sled files: {0}")]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether the files are read-only. Always false: sled cannot open such files.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Directory(DirectoryError::Io { source, .. }) => files::is_read_only(source),
            Self::Store(StoreError::Io(error)) => files::is_read_only(error),
            _ => false,
        }
    }
}

/// The error for a failure that changed nothing.
pub(crate) fn into_store_error(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => error.into(),
        sled::Error::Corruption { at: Some(at), .. } => StoreError::Corrupt(format!("sled, at {at:?}")),
        other => StoreError::Corrupt(format!("sled: {other}")),
    }
}

/// The error for a failure on the way to the disk: after reopening, the writes before it may or may not be stored.
pub(crate) fn into_unknown(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => unknown(error),
        other => into_store_error(other),
    }
}

/// As [`into_unknown`], for errors of the operating system.
pub(crate) fn unknown(error: io::Error) -> StoreError {
    StoreError::Unknown(Arc::new(error))
}
