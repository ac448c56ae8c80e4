//! `import`: a file of events into the store.
//!
//! A thread reads, unpacks and parses; the replica, here or on a node, stores lot by lot, each lot one atomic, durable
//! write. What is stored already is passed over, so an import that broke off is simply repeated. A node that is sent a
//! file reads it in the same way.
//!
//! Whatever is passed over, changed or assumed on the way is counted, and said at the end.

mod csv;
mod jsonl;
mod packed;
mod rows;
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

use aevrion_core::bounds::{LOT_BYTES, LOT_EVENTS};
use aevrion_core::{Event, Inserted, Parameters, WriteError, is_reserved};
use tokio::sync::mpsc;

use crate::backend::Backend;
use crate::cli::{FileFormat, Format, ImportArgs, Ties, TimeUnit};
use crate::exit::Failure;
use crate::output::{Listing, say, thousands};
use crate::progress::{Bar, Counts};
use crate::record::{BadField, Made};
use crate::times::TimeStyle;
use source::Source;
use tally::Tally;
use ties::Moments;
use units::Units;

pub(crate) use text::encoding;

/// Bad records that are reported one by one; what is beyond is counted.
const REPORTED: u64 = 10;

/// Events that a dry run shows.
const SHOWN: usize = 10;

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
#[derive(Debug)]
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
        let mut messages = begin_reading(move || Ok(records), Reading { parameters, skip_bad, ties, unit });
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

/// Where the events go.
enum Sink<'b> {
    Stored(crate::backend::Importing<'b>),
    /// Nowhere: the first ones are shown, and so many were counted.
    Shown(Listing, u64),
}

/// What has become of them.
enum Stored {
    Inserted(Inserted),
    Counted(u64),
}

impl Sink<'_> {
    async fn take(&mut self, events: Vec<Event>) -> Result<(), Failure> {
        match self {
            Self::Stored(import) => {
                import.push(events).await.map_err(|failure| partly(failure, import.inserted()))
            }
            Self::Shown(listing, counted) => {
                let shown = SHOWN.saturating_sub(usize::try_from(*counted).unwrap_or(SHOWN));
                *counted += events.len() as u64;
                listing.add(&events[..shown.min(events.len())])
            }
        }
    }

    fn events(&self) -> u64 {
        match self {
            Self::Stored(import) => import.inserted().new + import.inserted().known,
            Self::Shown(_, counted) => *counted,
        }
    }

    /// Waits until everything is where it belongs.
    async fn finish(self) -> Result<Stored, Failure> {
        match self {
            Self::Stored(mut import) => {
                import.settle().await.map_err(|failure| partly(failure, import.inserted()))?;
                Ok(Stored::Inserted(import.inserted()))
            }
            Self::Shown(listing, counted) => listing.finish().map(|()| Stored::Counted(counted)),
        }
    }
}

impl Stored {
    fn events(&self) -> u64 {
        match self {
            Self::Inserted(inserted) => inserted.new + inserted.known,
            Self::Counted(counted) => *counted,
        }
    }

    fn outcome(&self) -> String {
        match self {
            Self::Inserted(Inserted { new, known, .. }) => {
                let imported = crate::output::counted(*new, "event");
                format!("{imported} imported, {} were stored already", thousands(*known))
            }
            Self::Counted(counted) => {
                format!("{} would be imported, nothing was stored", crate::output::counted(*counted, "event"))
            }
        }
    }

    /// What to do when the file is not read further.
    fn advice(&self, stop: &Stop) -> Option<String> {
        match self {
            Self::Inserted(inserted) => stop.advice(*inserted, "--skip-bad"),
            Self::Counted(counted) => Some(format!(
                "{} events before it could be imported; nothing was stored",
                thousands(*counted)
            )),
        }
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

/// The store stopped taking events.
fn partly(failure: Failure, inserted: Inserted) -> Failure {
    let stored = thousands(inserted.new);
    failure.and(format!("{stored} events were stored before that; import again later"))
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
    begin_reading(open, Reading { parameters, skip_bad, ties: None, unit: Some(TimeUnit::Ms) })
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    parameters: Parameters,
    skip_bad: bool,
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
        Ok(records) => drop(read_all(records, &sender, reading)),
        // The listener is gone only if the import failed: nothing is left to tell.
        Err(error) => drop(sender.blocking_send(Message::Stopped(Stop::of_file(source::explain(&error))))),
    });
    messages
}

/// What a file comes to, lot by lot.
struct Lots<'m> {
    messages: &'m mpsc::Sender<Message>,
    lot: Vec<Event>,
    bytes: usize,
    units: Units,
    moments: Moments,
    tally: Tally,
}

/// Nothing follows: it was said why, or the listener is gone, which it is only if the import failed.
struct Over;

impl Lots<'_> {
    fn add(&mut self, made: Made) -> Result<(), Over> {
        self.tally.note(&made);
        self.units.note(&made);
        if let Some(event) = self.moments.place(made.event) {
            self.bytes += event.weight();
            self.lot.push(event);
        }
        if self.lot.len() < LOT_EVENTS && self.bytes < LOT_BYTES { Ok(()) } else { self.send() }
    }

    /// Sends what there is, once it is known what its times count.
    fn send(&mut self) -> Result<(), Over> {
        if let Some(problem) = self.units.problem() {
            return self.stop(Stop::of_file(problem));
        }
        self.bytes = 0;
        let lot = std::mem::take(&mut self.lot);
        self.tell(Message::Lot(lot))
    }

    fn stop(&mut self, stop: Stop) -> Result<(), Over> {
        self.tell(Message::Stopped(stop))?;
        Err(Over)
    }

    fn tell(&self, message: Message) -> Result<(), Over> {
        self.messages.blocking_send(message).map_err(|_| Over)
    }

    fn end(mut self, ties: Option<Ties>) -> Result<(), Over> {
        self.send()?;
        self.tally.conclude(&self.moments, ties);
        self.tell(Message::Ended(self.tally.clone()))
    }
}

/// Parses the whole file and sends it in lots.
fn read_all(
    mut records: Box<dyn Records>,
    messages: &mpsc::Sender<Message>,
    reading: Reading,
) -> Result<(), Over> {
    let Reading { parameters, skip_bad, ties, unit } = reading;
    let mut lots = Lots {
        messages,
        lot: Vec::new(),
        bytes: 0,
        units: Units::new(unit),
        moments: Moments::new(ties),
        tally: Tally::default(),
    };
    while let Some((line, record)) = records.next() {
        let stop = match record.and_then(|made| checked(made, &parameters)) {
            Ok(made) => {
                lots.add(made)?;
                continue;
            }
            Err(Wrong::Record(BadField { field, problem })) => {
                let what = format!("line {line}, {field}: {problem}");
                if skip_bad {
                    lots.tell(Message::Skipped(what))?;
                    continue;
                }
                Stop { why: what, can_be_skipped: true }
            }
            Err(Wrong::File(problem)) => Stop::of_file(format!("line {line}: {problem}")),
        };
        lots.send()?;
        return lots.stop(stop);
    }
    lots.end(ties)
}

/// An event within the limits of the store.
fn checked(made: Made, parameters: &Parameters) -> Result<Made, Wrong> {
    let (field, error) = match parameters.check(made.event.key(), made.event.value()) {
        Ok(()) if is_reserved(made.event.key()) => ("key", WriteError::ReservedKey),
        Ok(()) => return Ok(made),
        Err(error @ WriteError::ValueTooLong { .. }) => ("value", error),
        Err(error) => ("key", error),
    };
    Err(Wrong::Record(BadField::new(field, error.to_string())))
}
