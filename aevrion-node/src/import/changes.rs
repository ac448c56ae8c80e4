//! Counts of the changes to a file's records during an import, for the user: no change is silent.

use super::succession::Succession;
use super::ties::Moments;
use crate::cli::Ties;
use crate::human::{counted, thousands};
use crate::record::ReadEvent;

/// Counts of one file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    as_utc: u64,
    cut: u64,
    /// Events repeated in the file.
    pub(super) repeated: u64,
    tied: u64,
    moved: u64,
    farthest: u64,
    overflowed: bool,
    in_file_order: bool,
    /// Keys of a history whose last change is not their value, and keys with a change moved to a later time.
    overtaken: u64,
    put_in_order: u64,
    forgotten: bool,
    /// Remarks of the records' reader.
    pub(super) of_source: Vec<String>,
}

impl Changes {
    /// Counts an event made from a record.
    pub(super) fn note(&mut self, made: &ReadEvent) {
        self.as_utc += u64::from(made.time.as_utc);
        self.cut += u64::from(made.time.cut);
    }

    /// Adds the counts known at the end of the file.
    pub(super) fn conclude(&mut self, moments: &Moments, ties: Option<Ties>) {
        self.repeated = moments.repeated;
        self.tied = moments.tied();
        (self.moved, self.farthest) = (moments.moved, moments.farthest);
        self.overflowed = moments.overflowed;
        self.in_file_order = ties == Some(Ties::FileOrder);
    }

    /// Adds the counts known at the end of a history.
    pub(super) fn conclude_history(&mut self, succession: &Succession) {
        self.repeated += succession.repeated;
        self.moved += succession.moved;
        self.farthest = self.farthest.max(succession.farthest);
        self.overtaken = succession.overtaken();
        self.put_in_order = succession.keys_moved();
        self.forgotten = succession.overflowed;
    }

    /// One sentence per kind of change; skipped records are called `bad`.
    pub(super) fn remarks(&self, skipped: u64, bad: &str) -> Vec<String> {
        let told = |number: u64, of: &str, what: &str| {
            (number > 0).then(|| format!("{}: {what}", counted(number, of)))
        };
        let ordered = self.in_file_order;
        let farthest = thousands(self.farthest);
        [
            (skipped > 0).then(|| format!("{} {bad} were passed over", thousands(skipped))),
            told(self.repeated, "record", "the same as an earlier one of the file"),
            told(
                if ordered { 0 } else { self.tied },
                "key",
                "several values in one moment; which of them counts is not for the order of the file to say (with --ties \
                 file-order it is the last one)",
            ),
            told(
                self.moved,
                "record",
                &match self.put_in_order {
                    0 => format!(
                        "put later, by {farthest} ms at most, for {} had several values in one moment",
                        counted(self.tied, "key")
                    ),
                    keys => format!(
                        "put later, by {farthest} ms at most, so that each change of {} follows the one before it",
                        counted(keys, "key")
                    ),
                },
            ),
            told(
                self.overtaken,
                "key",
                &format!(
                    "the last change has an earlier time than one before it, which therefore counts{}",
                    if ordered { "" } else { " (with --ties file-order it is the last one)" }
                ),
            ),
            self.overflowed.then(|| {
                "the file has more moments than are remembered: beyond them several values in one were not looked for"
                    .to_owned()
            }),
            self.forgotten.then(|| {
                "the history has more keys than are remembered: of those beyond it was not looked whether times go backwards"
                    .to_owned()
            }),
            told(self.as_utc, "time", "taken for UTC, for it has no zone (--time-zone says another)"),
            told(self.cut, "time", "a fraction of a millisecond was cut off"),
        ]
        .into_iter()
        .flatten()
        .chain(self.of_source.iter().cloned())
        .collect()
    }
}
