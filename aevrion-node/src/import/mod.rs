//! `import`: stores a file of events, or the history of a repository.
//!
//! A thread reads, unpacks and parses; the replica, here or on a node, stores batch by batch, each batch one atomic,
//! durable write. Stored events are skipped, so an interrupted import is simply repeated. A node reads an uploaded file
//! in the same way.
//!
//! Every skip, change and assumption on the way is counted, and reported at the end.

mod batches;
mod changes;
mod csv;
mod decoding;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod git;
mod jsonl;
#[cfg(test)]
mod mutations;
#[cfg(any(test, feature = "fuzzing"))]
mod outcome;
mod packed;
mod reading;
mod rows;
mod sink;
mod source;
mod succession;
mod template;
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

use aevrion_core::Parameters;
use tokio::sync::mpsc;

use crate::backend::Backend;
use crate::cleanup::{Cleanup, CleanupScope};
use crate::cli::{FileFormat, Format, ImportArgs, ImportFrom, Ties, TimeUnit};
use crate::failure::Failure;
use crate::output::Listing;
use crate::progress::{Bar, Counts};
use crate::stderr::say;
use crate::times::TimeStyle;
use batches::{EndOfMessages, read_all};
use changes::Changes;
use git::GitChanges;
use reading::{Order, Reading, Records};
use sink::Sink;
use source::Source;

pub(crate) use reading::{Message, Stop};

/// Bad records that are reported one by one; further ones are counted.
const REPORTED: u64 = 10;

/// The name of invalid records of a file.
pub(crate) const BAD_LINES: &str = "bad lines";

/// Batches parsed ahead of the store.
const BATCHES_AHEAD: usize = 2;

/// A file or repository that is open, and whose beginning is valid: nothing else is touched before.
pub(crate) struct ImportSource {
    name: String,
    from: ImportFrom,
    records: Box<dyn Records>,
    read: Arc<AtomicU64>,
    length: Option<u64>,
    skip_bad: bool,
    ties: Option<Ties>,
    unit: Option<TimeUnit>,
    /// Ends the git programs of this import, and of no other.
    programs: CleanupScope,
}

impl ImportSource {
    pub(crate) fn new(arguments: &ImportArgs, cleanup: &Cleanup) -> Result<Self, Failure> {
        let name = arguments.file.display().to_string();
        let ImportArgs { from, skip_bad, ties, time_unit: unit, .. } = *arguments;
        let programs = cleanup.scope();
        if from == ImportFrom::Git {
            let changes = GitChanges::new(arguments, &Parameters::default(), programs.cleanup())?;
            let (read, length) = (changes.progress(), changes.length(arguments));
            let records = Box::new(changes);
            return Ok(Self { name, from, records, read, length, skip_bad, ties, unit, programs });
        }
        if !arguments.paths.is_empty() {
            return Err(Failure::usage("--path is for a repository: say --from git if this is one"));
        }
        let source = Source::open(&arguments.file, arguments.encoding)
            .map_err(|error| Failure::error(format!("cannot read {name}: {error}")))?;
        let (read, length) = (source.progress(), source.length());
        let records = records_of(source, arguments)?;
        Ok(Self { name, from, records, read, length, skip_bad, ties, unit, programs })
    }

    /// Stores its events.
    pub(crate) async fn import(self, backend: &Backend) -> Result<(), Failure> {
        let parameters = backend.parameters().await?;
        self.run(parameters, Sink::Stored(backend.import())).await
    }

    /// Shows the first events, and counts the rest.
    pub(crate) async fn show(self, format: Format) -> Result<(), Failure> {
        self.run(Parameters::default(), Sink::Shown(Listing::new(format), 0)).await
    }

    async fn run(self, parameters: Parameters, mut store: Sink<'_>) -> Result<(), Failure> {
        // Dropped at the end: after a failed import the git programs would run in vain.
        let Self { name, from, records, read, length, skip_bad, ties, unit, programs: _programs } = self;
        let order = from.order();
        let reading = Reading { parameters, skip_bad, looks_for_ties: true, ties, unit, order };
        let mut messages = begin_reading(move || Ok(records), reading);
        let mut bar = Bar::new("import", from.counts());
        let (mut skipped, mut stopped, mut changes) = (0, None, Changes::default());
        while let Some(message) = messages.recv().await {
            match message {
                Message::Batch(events) => {
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
                Message::Ended(done) => changes = done,
            }
        }
        let stored = store.finish().await?;
        let (took, rate) = (bar.elapsed(), bar.rate(stored.events()));
        drop(bar);
        if let Some(stop) = stopped {
            let failure = Failure::error(format!("{name}: {}", stop.why));
            return Err(match stored.advice(&stop, from.bad_records()) {
                Some(advice) => failure.and(advice),
                None => failure,
            });
        }
        say!("{}; {:.1} s, {rate} events/s", stored.outcome(), took.as_secs_f64());
        for remark in changes.remarks(skipped, from.bad_records()) {
            say!("{remark}");
        }
        Ok(())
    }
}

impl ImportFrom {
    fn order(self) -> Order {
        match self {
            Self::File => Order::Times,
            Self::Git => Order::History,
        }
    }

    fn counts(self) -> Counts {
        match self {
            Self::File => Counts::Bytes,
            Self::Git => Counts::Commits,
        }
    }

    /// The name of invalid records.
    fn bad_records(self) -> &'static str {
        match self {
            Self::File => BAD_LINES,
            Self::Git => "bad changes",
        }
    }
}

/// The records of a file, by its format. Flags that do not apply to the format are refused.
fn records_of(source: Source, arguments: &ImportArgs) -> Result<Box<dyn Records>, Failure> {
    // The size limits are the same for every store.
    let parameters = &Parameters::default();
    let format = arguments.format.unwrap_or_else(|| format_of(&arguments.file));
    let style = TimeStyle::new(&arguments.times, arguments.time_unit.unwrap_or_default());
    if format != FileFormat::Jsonl {
        let rows = csv::CsvRows::new(source, format, &arguments.columns, style, parameters)?;
        return Ok(Box::new(rows));
    }
    let of_format = arguments.times.time_format.is_some().then_some("--time-format");
    if let Some(flag) = arguments.columns.given_but(&[]).or(of_format) {
        return Err(Failure::usage(format!(
            "{flag} is for columns, and this file is read as JSON: if it has columns, say --format csv or tsv"
        )));
    }
    Ok(Box::new(jsonl::JsonObjects::new(source, style, parameters)))
}

/// The format of a file, by its name.
fn format_of(path: &Path) -> FileFormat {
    let bare = packed::bare_name(path);
    match bare.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default().to_lowercase().as_str() {
        "csv" => FileFormat::Csv,
        "tsv" | "tab" => FileFormat::Tsv,
        _ => FileFormat::Jsonl,
    }
}

/// Reads JSON, gzip or plain, from any reader, on a thread of its own.
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
    let (unit, order) = (Some(TimeUnit::Ms), Order::Times);
    begin_reading(open, Reading { parameters, skip_bad, looks_for_ties: false, ties: None, unit, order })
}

/// Parses on a thread of its own, so that the next batch is ready when the last one is stored.
fn begin_reading(
    open: impl FnOnce() -> io::Result<Box<dyn Records>> + Send + 'static,
    reading: Reading,
) -> mpsc::Receiver<Message> {
    let (sender, messages) = mpsc::channel(BATCHES_AHEAD);
    // Detached on purpose: after a failed import it ends at its next send, and nothing waits for it.
    thread::spawn(move || match open() {
        // The listener is gone only after a failed import: no one needs the message.
        Ok(records) => {
            let mut tell = |message| sender.blocking_send(message).map_err(|_| EndOfMessages);
            drop(read_all(records, &mut tell, reading));
        }
        Err(error) => drop(sender.blocking_send(Message::Stopped(Stop::of_file(source::explain(&error))))),
    });
    messages
}
