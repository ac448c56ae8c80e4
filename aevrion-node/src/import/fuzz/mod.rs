//! The invariants of importing any file with any flags: events that are all in the file, with counts that add up to its
//! records, or an error with its place. A target below `fuzz/` searches for a counterexample.

pub(super) mod choices;
mod reference;
mod variant;

use std::io::{Cursor, Read};

use aevrion_core::{Event, Parameters};

use super::Stop;
use super::outcome::{Outcome, source_of};
use crate::cli::{ColumnArgs, FileFormat, ImportArgs, Quotes};
use reference::Table;

/// Longest text imported a second time.
const LONGEST: u64 = 1 << 20;

/// Imports a file that follows a line of choices.
///
/// # Panics
/// If an invariant is violated.
pub fn import(input: &[u8]) {
    drop(outcome(input));
}

/// The outcome of a file that follows a line of choices, if there is one.
pub(super) fn outcome(input: &[u8]) -> Option<Outcome> {
    let (choices, file) = choices::read(input)?;
    let arguments = &choices.arguments;
    let outcome = Outcome::of(Cursor::new(file.to_vec()), file.len(), arguments);
    let judge = Judge::new(file, arguments, &outcome);
    judge.judge();
    if let Some(other) = choices.variant.apply(file, arguments) {
        judge.judge_other(&Outcome::of(other, file.len(), arguments));
    }
    Some(outcome)
}

/// Compares the outcome of a file with its contents.
struct Judge<'f> {
    arguments: &'f ImportArgs,
    outcome: &'f Outcome,
    /// The readable part of the text.
    text: Vec<u8>,
    /// Whether the file is undamaged up to the last byte read.
    read_on: bool,
    /// Whether the text is complete.
    whole: bool,
    format: FileFormat,
}

impl<'f> Judge<'f> {
    fn new(file: &[u8], arguments: &'f ImportArgs, outcome: &'f Outcome) -> Self {
        let mut text = Vec::new();
        let read = source_of(Cursor::new(file.to_vec()), file.len(), arguments)
            .and_then(|source| source.into_reader().take(LONGEST).read_to_end(&mut text));
        let read_on = read.is_ok();
        let whole = read_on && (text.len() as u64) < LONGEST;
        let format = arguments.format.unwrap_or_else(|| super::format_of(&arguments.file));
        Self { arguments, outcome, text, read_on, whole, format }
    }

    fn judge(&self) {
        let outcome = self.outcome;
        for event in &outcome.events {
            let within = Parameters::default().check(event.key(), event.value());
            assert!(within.is_ok(), "{event:?}: {within:?}");
        }
        if let Some(stop) = &outcome.stopped {
            self.judge_stop(stop);
        } else {
            assert!(self.read_on, "what cannot be read is silent: {outcome:?}");
            assert!(self.arguments.skip_bad || outcome.skipped == 0, "{outcome:?}");
        }
        self.judge_lines();
        if !self.is_judged_whole() {
            return;
        }
        match self.format {
            FileFormat::Jsonl => self.judge_objects(),
            FileFormat::Csv | FileFormat::Tsv => self.judge_table(),
        }
    }

    /// Compares the outcome with that of the same file in another form.
    fn judge_other(&self, other: &Outcome) {
        if self.read_on {
            return assert_eq!(other, self.outcome, "the variant of the file makes a difference");
        }
        // The readable part of a damaged file depends on the bytes unpacked at once.
        let (one, other) = (self.outcome, other);
        assert!(one.stopped.is_some() && other.stopped.is_some(), "{one:?} and {other:?}");
        assert!(
            one.events.iter().zip(&other.events).all(|(one, other)| one == other),
            "{one:?} and {other:?}"
        );
    }

    /// Whether the whole file and its whole outcome are known.
    fn is_judged_whole(&self) -> bool {
        self.whole && self.outcome.events.len() as u64 == self.outcome.brought
    }

    fn judge_stop(&self, stop: &Stop) {
        assert!(!stop.why.trim().is_empty());
        assert!(!stop.can_be_skipped || !self.arguments.skip_bad, "{stop:?}");
        assert!(!stop.can_be_skipped || line(&stop.why).is_some(), "{stop:?}");
    }

    /// Checks that the lines in messages are ascending, and in the file.
    fn judge_lines(&self) {
        let stop = self.outcome.stopped.as_ref().filter(|stop| stop.can_be_skipped);
        let mut before = 0;
        let last = self.text.iter().filter(|byte| matches!(**byte, b'\n' | b'\r')).count() as u64 + 1;
        for said in self.outcome.passed_over.iter().chain(stop.map(|stop| &stop.why)) {
            let line = line(said).expect("a record that is wrong is named by its line");
            let follows = if self.is_array() { line >= before } else { line > before };
            assert!(follows && (line <= last || !self.whole), "{said}, after {before}, of {last}");
            before = line;
        }
    }

    fn is_array(&self) -> bool {
        self.format == FileFormat::Jsonl && self.text.trim_ascii_start().starts_with(b"[")
    }

    fn judge_objects(&self) {
        let Some(objects) = reference::objects(&self.text) else {
            let sound = self.outcome.stopped.is_none() && self.outcome.skipped == 0;
            assert!(!sound || self.text.contains(&0x0C), "an array that is none: {:?}", self.outcome);
            return;
        };
        if self.outcome.stopped.is_none() {
            assert_eq!(self.outcome.records(), objects.len() as u64, "{:?}", self.outcome);
        }
        let mut objects = objects.into_iter();
        for event in &self.outcome.events {
            let found = objects
                .any(|object| reference::key(object).is_none_or(|key| key.as_bytes() == &event.key()[..]));
            assert!(found, "{event:?} does not stand there");
        }
    }

    fn judge_table(&self) {
        let ColumnArgs { delimiter, quote, .. } = self.arguments.columns;
        let (said, text) = reference::said_delimiter(&self.text);
        let usual = if self.format == FileFormat::Tsv { b'\t' } else { b',' };
        let delimiter = delimiter.or(said).unwrap_or(usual);
        let quotes = quote.unwrap_or_else(|| Quotes::usual(self.format)) == Quotes::Double;
        let table = Table::read(reference::behind_marks(text), delimiter, quotes);
        let Some((header, rows)) = table.rows.split_first() else {
            return assert!(self.outcome.stopped.is_some(), "a table without a header");
        };
        if self.outcome.stopped.is_none() {
            assert!(!table.open && !header.stray, "{:?}", self.outcome);
            assert_eq!(self.outcome.records(), rows.len() as u64, "{:?}", self.outcome);
        }
        let mut rows = rows.iter();
        for event in &self.outcome.events {
            let found = rows.any(|row| !row.stray && self.is_of(event, &header.cells, &row.cells));
            assert!(found, "{event:?} does not stand there");
        }
    }

    /// Whether an event may come from a row, as far as the templates need not be parsed.
    fn is_of(&self, event: &Event, names: &[Vec<u8>], cells: &[Vec<u8>]) -> bool {
        if names.len() != cells.len() {
            return false;
        }
        let ColumnArgs { key, value, delete_if, .. } = &self.arguments.columns;
        let says = |template: &Option<String>, bytes: &[u8]| {
            let cell = template.as_ref().and_then(|template| self.cell(template, names, cells));
            cell.is_none_or(|cell| cell == bytes)
        };
        let content = match event.value().data() {
            Some(data) => says(value, data),
            None => delete_if.is_some(),
        };
        content && says(key, event.key())
    }

    /// The cell of a template that is one column alone.
    fn cell<'c>(&self, template: &str, names: &[Vec<u8>], cells: &'c [Vec<u8>]) -> Option<&'c [u8]> {
        let name = template.strip_prefix('{')?.strip_suffix('}')?;
        if name.contains(['{', '}']) {
            return None;
        }
        let at = names.iter().position(|known| self.trimmed(known) == name.as_bytes())?;
        Some(self.trimmed(&cells[at]))
    }

    fn trimmed<'c>(&self, cell: &'c [u8]) -> &'c [u8] {
        match std::str::from_utf8(cell) {
            Ok(text) if self.arguments.columns.trim => text.trim().as_bytes(),
            _ => cell,
        }
    }
}

/// The line number at the beginning of a message.
fn line(said: &str) -> Option<u64> {
    let (number, _) = said.strip_prefix("line ")?.split_once(',')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const TABLE: &[u8] =
        b"0101000011100000\nid,when,v\n1,2024-05-01T10:00:00Z,x\n2,2024-05-01T10:00:00Z,y\n3\n";
    const LINES: &[u8] =
        b"0000000000000000\n{\"key\":\"a\",\"value\":1,\"timestamp\":1}\n{\"key\":\"b\",\"value\":1,\"timestamp\":1}\n";

    /// Whether a changed outcome is detected.
    fn is_noticed(input: &[u8], otherwise: impl FnOnce(&mut Outcome)) -> bool {
        let (choices, file) = choices::read(input).unwrap();
        let mut outcome = Outcome::of(Cursor::new(file.to_vec()), file.len(), &choices.arguments);
        otherwise(&mut outcome);
        let judge = Judge::new(file, &choices.arguments, &outcome);
        catch_unwind(std::panic::AssertUnwindSafe(|| judge.judge())).is_err()
    }

    #[test]
    fn a_promise_that_is_broken_is_noticed() {
        for input in [TABLE, LINES] {
            assert!(!is_noticed(input, |_| {}));
            assert!(is_noticed(input, |outcome| outcome.events.swap(0, 1)));
            assert!(is_noticed(input, |outcome| outcome.repeated += 1));
            assert!(is_noticed(input, |outcome| {
                outcome.events.pop();
                outcome.brought -= 1;
            }));
            assert!(is_noticed(input, |outcome| outcome.stopped = Some(Stop::of_file(String::new()))));
        }
        assert!(is_noticed(TABLE, |outcome| outcome.passed_over[0] = "line 9, row: bad".to_owned()));
        assert!(is_noticed(LINES, |outcome| outcome.skipped += 1));
    }
}
