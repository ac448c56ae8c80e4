//! Files of columns: templates say how key, time and value are made of them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use aevrion_core::{Event, Parameters, Timestamp, Value};
use csv::{Reader, ReaderBuilder, StringRecord};
use jiff::fmt::strtime;

use super::source::{Source, explain, longest_record};
use super::{Record, Records};
use crate::cli::{ImportArgs, TimeUnit};
use crate::exit::Failure;
use crate::moment::from_jiff;
use crate::record::{BadField, parse_time};

/// The rows of a CSV file as events.
pub(super) struct CsvRows {
    reader: Reader<Bounded>,
    /// Bytes that may still be read for the row at hand.
    allowance: Arc<AtomicU64>,
    longest: u64,
    names: StringRecord,
    key: Template,
    time: Template,
    time_format: Option<String>,
    unit: TimeUnit,
    value: Option<Template>,
    row: StringRecord,
    broken: bool,
}

impl CsvRows {
    pub(super) fn new(
        source: Source,
        arguments: &ImportArgs,
        parameters: &Parameters,
    ) -> Result<Self, Failure> {
        let csv = &arguments.csv;
        let (Some(key), Some(time)) = (&csv.key, &csv.time) else {
            return Err(Failure::usage(
                "a CSV file needs --key and --time, such as --key 'plane:{tailnum}' --time time_hour",
            ));
        };
        let Some(delimiter) = u8::try_from(csv.delimiter).ok().filter(u8::is_ascii) else {
            return Err(Failure::usage(format!("--delimiter {}: give one ASCII character", csv.delimiter)));
        };
        let longest = longest_record(parameters);
        let allowance = Arc::new(AtomicU64::new(longest));
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .from_reader(Bounded { inner: source.into_reader(), allowance: Arc::clone(&allowance) });
        let names = reader.headers().map_err(|error| Failure::error(problem(&error)))?.clone();
        if names.is_empty() {
            return Err(Failure::error("the file is empty: a CSV file begins with the names of its columns"));
        }
        if csv.value.is_none()
            && let Some(twice) = named_twice(&names)
        {
            return Err(Failure::error(format!(
                "two columns are called `{twice}`, and a JSON object has room for one: say with --value what to keep"
            )));
        }
        let time = if time.contains('{') { time.clone() } else { format!("{{{time}}}") };
        Ok(Self {
            key: Template::parse("--key", key, &names)?,
            time: Template::parse("--time", &time, &names)?,
            value: csv.value.as_ref().map(|value| Template::parse("--value", value, &names)).transpose()?,
            time_format: csv.time_format.clone(),
            unit: arguments.time_unit,
            allowance,
            longest,
            reader,
            names,
            row: StringRecord::new(),
            broken: false,
        })
    }

    fn event(&self) -> Result<Event, BadField> {
        if let Some(column) = self.key.empty_column(&self.row) {
            return Err(BadField::new("key", format!("the column `{}` is empty", &self.names[column])));
        }
        let key = self.key.fill(&self.row);
        let timestamp = self.timestamp(&self.time.fill(&self.row))?;
        let data = match &self.value {
            Some(template) => template.fill(&self.row).into_bytes(),
            None => self.row_as_json(),
        };
        Event::new(key.into(), Value::Data(data.into()), timestamp)
            .map_err(|error| BadField::new("value", error.to_string()))
    }

    fn timestamp(&self, text: &str) -> Result<Timestamp, BadField> {
        let Some(format) = &self.time_format else {
            return match text.parse::<jiff::Timestamp>() {
                Ok(moment) => from_jiff(moment).map_err(|problem| BadField::new("time", problem)),
                Err(_) if text.is_empty() => Err(BadField::new("time", "it is empty")),
                Err(_) if text.bytes().all(|byte| byte.is_ascii_digit() || b"-.eE".contains(&byte)) => {
                    parse_time("time", text, self.unit)
                }
                Err(_) => Err(BadField::new(
                    "time",
                    format!(
                        "`{text}` is neither a number nor RFC 3339: say how it is written with --time-format"
                    ),
                )),
            };
        };
        let parsed = strtime::parse(format, text).and_then(|time| match time.offset() {
            Some(_) => time.to_timestamp(),
            None => Ok(time.to_datetime()?.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp()),
        });
        let moment = parsed.map_err(|error| {
            BadField::new("time", format!("`{text}` is not written as --time-format says: {error}"))
        })?;
        from_jiff(moment).map_err(|problem| BadField::new("time", problem))
    }

    /// The row as a JSON object of texts, in the order of the columns.
    fn row_as_json(&self) -> Vec<u8> {
        let fields = self.names.iter().zip(&self.row);
        let object: serde_json::Map<_, _> =
            fields.map(|(name, text)| (name.to_owned(), text.to_owned().into())).collect();
        serde_json::Value::Object(object).to_string().into_bytes()
    }
}

impl Records for CsvRows {
    fn next(&mut self) -> Option<(u64, Record)> {
        if self.broken {
            return None;
        }
        let line = self.reader.position().line();
        self.allowance.store(self.longest, Relaxed);
        match self.reader.read_record(&mut self.row) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.row.position().map_or(line, csv::Position::line);
                Some((line, self.event().map_or_else(Record::Bad, Record::Event)))
            }
            Err(error) if error.is_io_error() => {
                self.broken = true;
                Some((line, Record::Broken(problem(&error))))
            }
            Err(error) => Some((line, Record::Bad(BadField::new("row", problem(&error))))),
        }
    }
}

fn problem(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => explain(error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} columns, the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("it is not UTF-8: {err}"),
        _ => error.to_string(),
    }
}

/// Text with columns in braces, such as `plane:{tailnum}`.
struct Template(Vec<Part>);

enum Part {
    Text(String),
    Column(usize),
}

impl Template {
    fn parse(flag: &str, text: &str, names: &StringRecord) -> Result<Self, Failure> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                return Err(Failure::usage(format!("{flag} '{text}': a brace is not closed")));
            };
            let Some(column) = names.iter().position(|known| known == name) else {
                let known = names.iter().collect::<Vec<_>>().join(", ");
                return Err(Failure::usage(format!(
                    "{flag}: there is no column `{name}`, there are {known}"
                )));
            };
            parts.extend([Part::Text(before.to_owned()), Part::Column(column)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// A column of the template that has nothing in this row.
    fn empty_column(&self, row: &StringRecord) -> Option<usize> {
        self.0.iter().find_map(|part| match part {
            Part::Column(column) if row.get(*column).unwrap_or_default().is_empty() => Some(*column),
            _ => None,
        })
    }

    fn fill(&self, row: &StringRecord) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Column(column) => row.get(*column).unwrap_or_default(),
        });
        parts.collect()
    }
}

fn named_twice(names: &StringRecord) -> Option<&str> {
    names
        .iter()
        .enumerate()
        .find(|(at, name)| names.iter().take(*at).any(|before| before == *name))
        .map(|(_, name)| name)
}

/// A reader that gives up when one row takes more than its allowance: a quote that is never closed would otherwise make
/// one row of the rest of the file.
struct Bounded {
    inner: Box<dyn BufRead + Send>,
    allowance: Arc<AtomicU64>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.load(Relaxed);
        if left == 0 {
            return Err(io::Error::other(
                "a row is too long for any event of this store: is a quote not closed?",
            ));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.allowance.fetch_sub(count as u64, Relaxed);
        Ok(count)
    }
}
