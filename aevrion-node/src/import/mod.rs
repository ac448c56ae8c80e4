//! `import`: a file of events into the store.
//!
//! A thread reads, unpacks and parses; the replica, here or on a node, stores lot by lot, each lot one atomic, durable
//! write. What is stored already is passed over, so an import that broke off is simply repeated. A node that is sent a
//! file reads it in the same way.
//!
//! Whatever is passed over, changed or assumed on the way is counted, and said at the end.

mod csv;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod jsonl;
mod lots;
#[cfg(test)]
mod mutations;
#[cfg(any(test, feature = "fuzzing"))]
mod outcome;
mod packed;
mod rows;
mod sink;
mod source;
mod tally;
mod template;
mod text;
mod ties;
mod units;
#[cfg(test)]
mod whole_files;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use aevrion_core::{Event, Inserted, Parameters};
use tokio::sync::mpsc;

use crate::backend::Backend;
use crate::cli::{FileFormat, Format, ImportArgs, Ties, TimeUnit};
use crate::exit::Failure;
use crate::output::{Listing, say, thousands};
use crate::progress::{Bar, Counts};
use crate::record::{BadField, Made};
use crate::times::TimeStyle;
use lots::{Over, read_all};
use sink::Sink;
use source::Source;
use tally::Tally;

pub(crate) use text::encoding;

/// Bad records that are reported one by one; what is beyond is counted.
const REPORTED: u64 = 10;

/// Lots parsed ahead of the store.
const LOTS_AHEAD: usize = 2;

/// Why a record brings no event.
enum Wrong {
    /// It cannot be imported. The next one may.
    Record(BadField),
    /// The file cannot be read further.
    File(String),
}

/// Reads a file record by record, each with the number of its line.
trait Records: Send {
    fn next(&mut self) -> Option<(u64, Result<Made, Wrong>)>;
}

/// What the reading thread tells.
pub(crate) enum Message {
    Lot(Vec<Event>),
    Skipped(String),
    /// Nothing follows.
    Stopped(Stop),
    /// The file has come to its end, and this was done to it.
    Ended(Tally),
}

/// Why a file is not read further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) why: String,
    /// Whether it is one record that is wrong, which can be passed over.
    can_be_skipped: bool,
}

/// A file that was opened, and whose first lines make sense: nothing else is touched before.
pub(crate) struct Opened {
    name: String,
    records: Box<dyn Records>,
    read: Arc<AtomicU64>,
    length: Option<u64>,
    skip_bad: bool,
    ties: Option<Ties>,
    unit: Option<TimeUnit>,
}

impl Opened {
    pub(crate) fn new(arguments: &ImportArgs) -> Result<Self, Failure> {
        let name = arguments.file.display().to_string();
        let source = Source::open(&arguments.file, arguments.encoding)
            .map_err(|error| Failure::error(format!("cannot read {name}: {error}")))?;
        let ImportArgs { skip_bad, ties, time_unit: unit, .. } = *arguments;
        let (read, length) = (source.progress(), source.length());
        Ok(Self { name, records: records_of(source, arguments)?, read, length, skip_bad, ties, unit })
    }

    /// Stores its events.
    pub(crate) async fn import(self, backend: &Backend) -> Result<(), Failure> {
        let parameters = backend.parameters().await?;
        self.run(parameters, Sink::Stored(backend.import())).await
    }

    /// Shows the first ones, and counts the rest.
    pub(crate) async fn show(self, format: Format) -> Result<(), Failure> {
        self.run(Parameters::default(), Sink::Shown(Listing::new(format), 0)).await
    }

    async fn run(self, parameters: Parameters, mut store: Sink<'_>) -> Result<(), Failure> {
        let Self { name, records, read, length, skip_bad, ties, unit } = self;
        let reading = Reading { parameters, skip_bad, looks_for_ties: true, ties, unit };
        let mut messages = begin_reading(move || Ok(records), reading);
        let mut bar = Bar::new("import", Counts::Bytes);
        let (mut skipped, mut stopped, mut tally) = (0, None, Tally::default());
        while let Some(message) = messages.recv().await {
            match message {
                Message::Lot(events) => {
                    store.take(events).await?;
                    bar.set(read.load(Relaxed), length.unwrap_or_else(|| read.load(Relaxed)));
                    bar.say_events(store.events());
                }
                Message::Skipped(what) => {
                    skipped += 1;
                    if skipped <= REPORTED {
                        bar.print(&format!("skipped {what}"));
                    }
                }
                Message::Stopped(stop) => stopped = Some(stop),
                Message::Ended(done) => tally = done,
            }
        }
        let stored = store.finish().await?;
        let (took, rate) = (bar.elapsed(), bar.rate(stored.events()));
        drop(bar);
        if let Some(stop) = stopped {
            let failure = Failure::error(format!("{name}: {}", stop.why));
            return Err(match stored.advice(&stop) {
                Some(advice) => failure.and(advice),
                None => failure,
            });
        }
        say!("{}; {:.1} s, {rate} events/s", stored.outcome(), took.as_secs_f64());
        for remark in tally.remarks(skipped) {
            say!("{remark}");
        }
        Ok(())
    }
}

impl Stop {
    fn of_file(why: String) -> Self {
        Self { why, can_be_skipped: false }
    }

    /// What to do after so much was stored.
    pub(crate) fn advice(&self, inserted: Inserted, how_to_skip: &str) -> Option<String> {
        let stored = inserted.new + inserted.known;
        let skip = match self.can_be_skipped {
            true => format!(", or pass over bad lines with {how_to_skip}"),
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

/// The records of the file, by what it holds. Flags that do not apply to that are refused.
fn records_of(source: Source, arguments: &ImportArgs) -> Result<Box<dyn Records>, Failure> {
    // The limits of sizes are those of every store.
    let parameters = &Parameters::default();
    let format = arguments.format.unwrap_or_else(|| format_of(&arguments.file));
    let style = TimeStyle::new(&arguments.times, arguments.time_unit.unwrap_or_default());
    if format != FileFormat::Jsonl {
        let rows = csv::CsvRows::new(source, format, &arguments.columns, style, parameters)?;
        return Ok(Box::new(rows));
    }
    let of_format = arguments.times.time_format.is_some().then_some("--time-format");
    if let Some(flag) = arguments.columns.given().or(of_format) {
        return Err(Failure::usage(format!(
            "{flag} is for columns, and this file is read as JSON: if it has columns, say --format csv or tsv"
        )));
    }
    Ok(Box::new(jsonl::JsonObjects::new(source, style, parameters)))
}

/// What a file holds, by its name.
fn format_of(path: &Path) -> FileFormat {
    let bare = packed::bare_name(path);
    match bare.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default().to_lowercase().as_str() {
        "csv" => FileFormat::Csv,
        "tsv" | "tab" => FileFormat::Tsv,
        _ => FileFormat::Jsonl,
    }
}

/// Reads JSON, gzip or plain, from anywhere, on a thread of its own.
pub(crate) fn read_lines(
    input: impl Read + Send + 'static,
    parameters: Parameters,
    skip_bad: bool,
) -> mpsc::Receiver<Message> {
    let open = move || {
        let source = Source::new(Box::new(input), None)?;
        let objects = jsonl::JsonObjects::new(source, TimeStyle::default(), &parameters);
        Ok(Box::new(objects) as Box<dyn Records>)
    };
    let unit = Some(TimeUnit::Ms);
    begin_reading(open, Reading { parameters, skip_bad, looks_for_ties: false, ties: None, unit })
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    parameters: Parameters,
    skip_bad: bool,
    /// Whether several values of a key in one moment are looked for, which takes memory.
    looks_for_ties: bool,
    ties: Option<Ties>,
    /// What numbers that stand for times were said to count.
    unit: Option<TimeUnit>,
}

/// Parses on a thread of its own, so that the next lot is ready when the last one is stored.
fn begin_reading(
    open: impl FnOnce() -> io::Result<Box<dyn Records>> + Send + 'static,
    reading: Reading,
) -> mpsc::Receiver<Message> {
    let (sender, messages) = mpsc::channel(LOTS_AHEAD);
    // Detached on purpose: if the import fails it ends at its next send, and nobody waits for it.
    thread::spawn(move || match open() {
        // The listener is gone only if the import failed: nothing is left to tell.
        Ok(records) => {
            let mut tell = |message| sender.blocking_send(message).map_err(|_| Over);
            drop(read_all(records, &mut tell, reading));
        }
        Err(error) => drop(sender.blocking_send(Message::Stopped(Stop::of_file(source::explain(&error))))),
    });
    messages
}
