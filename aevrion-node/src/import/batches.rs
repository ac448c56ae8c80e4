//! The records of a file, batch by batch, on their way to the store: a bad record ends the file or is skipped, and
//! every change to a record is counted.

use aevrion_core::bounds::{COMMIT_BYTES, COMMIT_EVENTS};
use aevrion_core::{Event, Parameters, WriteError, is_reserved};

use super::changes::Changes;
use super::reading::{ImportError, Message, Order, Reading, Records, Stop};
use super::succession::Succession;
use super::ties::Moments;
use super::units::Units;
use crate::cli::Ties;
use crate::record::{BadField, ReadEvent};

/// The state of a file being read, batch by batch.
struct Batches<'l> {
    listener: &'l mut Listener<'l>,
    batch: Vec<Event>,
    bytes: usize,
    units: Units,
    moments: Moments,
    /// The order of the records, if they are a history.
    succession: Option<Succession>,
    ties: Option<Ties>,
    changes: Changes,
}

/// Receives the messages about a file.
pub(super) type Listener<'l> = dyn FnMut(Message) -> Result<(), EndOfMessages> + 'l;

/// No message follows: the last one was the reason, or the listener is gone, which happens only after a failed import.
pub(super) struct EndOfMessages;

impl Batches<'_> {
    fn add(&mut self, made: ReadEvent) -> Result<(), EndOfMessages> {
        self.changes.note(&made);
        self.units.note(&made);
        if let Some(event) = self.place(made.event) {
            self.bytes += event.weight();
            self.batch.push(event);
        }
        if self.batch.len() < COMMIT_EVENTS && self.bytes < COMMIT_BYTES { Ok(()) } else { self.send() }
    }

    /// Places an event after its predecessors; nothing if it is a repetition.
    fn place(&mut self, event: Event) -> Option<Event> {
        match (&mut self.succession, self.ties) {
            (Some(succession), Some(Ties::FileOrder)) => succession.place(event),
            (Some(succession), None) => {
                succession.note(&event);
                self.moments.place(event)
            }
            (None, _) => self.moments.place(event),
        }
    }

    /// Sends the batch, once the unit of its times is known.
    fn send(&mut self) -> Result<(), EndOfMessages> {
        if let Some(problem) = self.units.problem() {
            return self.stop(Stop::of_file(problem));
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.tell(Message::Batch(batch))
    }

    fn stop(&mut self, stop: Stop) -> Result<(), EndOfMessages> {
        self.tell(Message::Stopped(stop))?;
        Err(EndOfMessages)
    }

    fn tell(&mut self, message: Message) -> Result<(), EndOfMessages> {
        (self.listener)(message)
    }

    fn end(mut self, remarks: Vec<String>) -> Result<(), EndOfMessages> {
        self.send()?;
        self.changes.conclude(&self.moments, self.ties);
        if let Some(succession) = &self.succession {
            self.changes.conclude_history(succession);
        }
        self.changes.of_source = remarks;
        let changes = std::mem::take(&mut self.changes);
        self.tell(Message::Ended(changes))
    }
}

/// Parses the whole file and sends its events in batches.
pub(super) fn read_all<'l>(
    mut records: Box<dyn Records>,
    listener: &'l mut Listener<'l>,
    reading: Reading,
) -> Result<(), EndOfMessages> {
    let Reading { parameters, skip_bad, looks_for_ties, ties, unit, order } = reading;
    let mut batches = Batches {
        listener,
        batch: Vec::new(),
        bytes: 0,
        units: Units::new(unit),
        moments: if looks_for_ties { Moments::new(ties) } else { Moments::none() },
        succession: (order == Order::History).then(Succession::new),
        ties,
        changes: Changes::default(),
    };
    while let Some(record) = records.next() {
        let stop = match record.and_then(|made| checked(made, &parameters)) {
            Ok(made) => {
                batches.add(made)?;
                continue;
            }
            Err(ImportError::Record(BadField { field, problem })) => {
                let what = format!("{}, {field}: {problem}", records.place());
                if skip_bad {
                    batches.tell(Message::Skipped(what))?;
                    continue;
                }
                Stop { why: what, can_be_skipped: true }
            }
            Err(ImportError::File(problem)) => Stop::of_file(format!("{}: {problem}", records.place())),
        };
        batches.send()?;
        return batches.stop(stop);
    }
    batches.end(records.remarks())
}

/// Checks an event against the limits of the store.
fn checked(made: ReadEvent, parameters: &Parameters) -> Result<ReadEvent, ImportError> {
    let (field, error) = match parameters.check(made.event.key(), made.event.value()) {
        Ok(()) if is_reserved(made.event.key()) => ("key", WriteError::ReservedKey),
        Ok(()) => return Ok(made),
        Err(error @ WriteError::ValueTooLong { .. }) => ("value", error),
        Err(error) => ("key", error),
    };
    Err(ImportError::Record(BadField::new(field, error.to_string())))
}
