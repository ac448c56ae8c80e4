//! The messages between a reader of a file and its listener. Every format and every destination stands above them.

use aevrion_core::{Event, Inserted, Parameters};

use super::changes::Changes;
use crate::cli::{Ties, TimeUnit};
use crate::human::thousands;
use crate::record::{BadField, ReadEvent};

/// The reason for which a record brings no event.
pub(super) enum ImportError {
    /// The record cannot be imported. The next one may be.
    Record(BadField),
    /// The file cannot be read further.
    File(String),
}

/// Reads a file record by record.
pub(super) trait Records: Send {
    fn next(&mut self) -> Option<Result<ReadEvent, ImportError>>;

    /// The place of the last record, for people, such as `line 5`.
    fn place(&self) -> String;

    /// Further remarks, once there are no more records.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One message of the reading thread.
pub(crate) enum Message {
    Batch(Vec<Event>),
    Skipped(String),
    /// Nothing follows.
    Stopped(Stop),
    /// The end of the file, with the changes to its records.
    Ended(Changes),
}

/// The reason for which a file is not read further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) why: String,
    /// One record is wrong, and can be skipped.
    pub(super) can_be_skipped: bool,
}

/// The order that decides which record of a key is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The times of the records, wherever they are in the file.
    Times,
    /// The order of the file, against the times if need be.
    History,
}

/// The way to read a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) parameters: Parameters,
    pub(super) skip_bad: bool,
    /// Whether to detect several values of a key at one time, which takes memory.
    pub(super) looks_for_ties: bool,
    pub(super) ties: Option<Ties>,
    /// The configured unit of numeric times.
    pub(super) unit: Option<TimeUnit>,
    pub(super) order: Order,
}

impl Stop {
    pub(super) fn of_file(why: String) -> Self {
        Self { why, can_be_skipped: false }
    }

    /// The advice after events were stored, and the flag that skips `bad` records.
    pub(crate) fn advice(&self, inserted: Inserted, bad: &str, how_to_skip: &str) -> Option<String> {
        let stored = inserted.new + inserted.known;
        let skip = match self.can_be_skipped {
            true => format!(", or pass over {bad} with {how_to_skip}"),
            false => String::new(),
        };
        (self.can_be_skipped || stored > 0).then(|| {
            format!(
                "{} events before it are stored; import again when it is mended (what is stored is passed over){skip}",
                thousands(stored)
            )
        })
    }
}
