//! Files of one JSON object a line.

use std::io::{BufRead, Read};

use aevrion_core::Parameters;

use super::source::{Source, explain, longest_record};
use super::{Record, Records};
use crate::cli::TimeUnit;
use crate::record::{self, BadField};

/// Lines of JSON, each bounded: a file without line ends must not end up in memory.
pub(super) struct JsonLines {
    reader: Box<dyn BufRead + Send>,
    unit: TimeUnit,
    longest: u64,
    line: Vec<u8>,
    number: u64,
    broken: bool,
}

impl JsonLines {
    pub(super) fn new(source: Source, unit: TimeUnit, parameters: &Parameters) -> Self {
        let longest = longest_record(parameters);
        Self { reader: source.into_reader(), unit, longest, line: Vec::new(), number: 0, broken: false }
    }

    /// Reads the next line into `self.line`; `None` at the end of the file.
    fn read_line(&mut self) -> Option<Result<(), Record>> {
        self.line.clear();
        self.number += 1;
        match self.reader.by_ref().take(self.longest).read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) if self.line.ends_with(b"\n") || (self.line.len() as u64) < self.longest => Some(Ok(())),
            Ok(_) => {
                let problem = format!(
                    "it is longer than {} bytes, which no event of this store can need",
                    self.longest
                );
                Some(Err(match skip_line(&mut self.reader) {
                    Ok(()) => Record::Bad(BadField::new("line", problem)),
                    Err(error) => self.broken(&error),
                }))
            }
            Err(error) => Some(Err(self.broken(&error))),
        }
    }

    fn broken(&mut self, error: &std::io::Error) -> Record {
        self.broken = true;
        Record::Broken(explain(error))
    }
}

impl Records for JsonLines {
    fn next(&mut self) -> Option<(u64, Record)> {
        while !self.broken {
            let record = match self.read_line()? {
                Ok(()) if self.line.trim_ascii().is_empty() => continue,
                Ok(()) => match record::parse(self.line.trim_ascii(), self.unit) {
                    Ok(event) => Record::Event(event),
                    Err(bad) => Record::Bad(bad),
                },
                Err(record) => record,
            };
            return Some((self.number, record));
        }
        None
    }
}

/// Reads to the end of the line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    reader.skip_until(b'\n').map(drop)
}
