//! The outcome of importing a whole file: for tests of whole files and for the fuzz target.

use std::io::Read;
use std::path::Path;

use aevrion_core::{Event, Parameters};

use super::batches::{EndOfMessages, read_all};
use super::reading::{Message, Order, Reading, Stop};
use super::{Source, records_of};
use crate::cli::ImportArgs;

/// Events and messages that are kept; further ones are only counted. A packed file of a few bytes can hold millions.
const KEPT: usize = 1 << 18;

/// The outcome of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The first events, in the order of the file.
    pub(super) events: Vec<Event>,
    /// The number of all events.
    pub(super) brought: u64,
    /// The messages about the first skipped records.
    pub(super) passed_over: Vec<String>,
    pub(super) skipped: u64,
    pub(super) repeated: u64,
    /// Why reading stopped before the end.
    pub(super) stopped: Option<Stop>,
}

impl Outcome {
    /// Imports a file with these contents, of `length` bytes, named as in the arguments.
    pub(super) fn of(contents: impl Read + Send + 'static, length: usize, arguments: &ImportArgs) -> Self {
        let refused = |why| Self { stopped: Some(Stop::of_file(why)), ..Self::default() };
        let records = match source_of(contents, length, arguments) {
            Ok(source) => match records_of(source, arguments) {
                Ok(records) => records,
                Err(failure) => return refused(failure.to_string()),
            },
            Err(error) => return refused(error.to_string()),
        };
        let ImportArgs { skip_bad, ties, time_unit: unit, .. } = *arguments;
        let parameters = Parameters::default();
        let order = Order::Times;
        let reading = Reading { parameters, skip_bad, looks_for_ties: true, ties, unit, order };
        let (mut outcome, mut ended) = (Self::default(), false);
        let mut note = |message| {
            assert!(!ended, "something follows the end");
            ended = matches!(message, Message::Stopped(_) | Message::Ended(_));
            outcome.note(message);
            Ok(())
        };
        // `EndOfMessages` only means that no message follows.
        let (Ok(()) | Err(EndOfMessages)) = read_all(records, &mut note, reading);
        assert!(ended, "a file that has no end");
        outcome
    }

    /// Records of the file that the outcome accounts for.
    pub(super) fn records(&self) -> u64 {
        self.brought + self.skipped + self.repeated
    }

    fn note(&mut self, message: Message) {
        match message {
            Message::Batch(events) => {
                self.brought += events.len() as u64;
                let room = KEPT - self.events.len();
                self.events.extend(events.into_iter().take(room));
            }
            Message::Skipped(what) => {
                self.skipped += 1;
                if self.passed_over.len() < KEPT {
                    self.passed_over.push(what);
                }
            }
            Message::Stopped(stop) => self.stopped = Some(stop),
            Message::Ended(changes) => self.repeated = changes.repeated,
        }
    }
}

/// The contents, unpacked and as text.
pub(super) fn source_of(
    contents: impl Read + Send + 'static,
    length: usize,
    arguments: &ImportArgs,
) -> std::io::Result<Source> {
    let length = u64::try_from(length).ok();
    let path = Some(arguments.file.as_path()).filter(|path| *path != Path::new("-"));
    Source::begin(Box::new(contents), path, arguments.encoding, length)
}
