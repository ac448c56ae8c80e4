//! redb's errors as errors of the core.

use std::io;
use std::sync::Arc;

use aevrion_core::store::StoreError;
use redb::{DatabaseError, Error};

use crate::OpenError;

pub(crate) fn into_store_error(error: impl Into<Error>) -> StoreError {
    match error.into() {
        Error::Io(error) => error.into(),
        Error::PreviousIo => {
            StoreError::Io(Arc::new(io::Error::other("the database failed before and is being reopened")))
        }
        Error::DatabaseClosed => StoreError::Closed,
        error => StoreError::Corrupt(error.to_string()),
    }
}

pub(crate) fn into_open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::UpgradeRequired(version) => OpenError::TooOld(version),
        error => OpenError::Store(into_store_error(error)),
    }
}
