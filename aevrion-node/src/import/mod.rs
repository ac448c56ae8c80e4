//! `import`: a file of events into the store.
//!
//! A thread reads, unpacks and parses; the replica, here or on a node, stores lot by lot, each lot one atomic, durable
//! write. What is stored already is passed over, so an import that broke off is simply repeated. A node that is sent a
//! file reads it in the same way.

mod csv;
mod jsonl;
mod source;
mod units;

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use aevrion_core::bounds::{LOT_BYTES, LOT_EVENTS};
use aevrion_core::{Event, Inserted, Parameters, WriteError, is_reserved};
use tokio::sync::mpsc;

use crate::backend::Backend;
use crate::cli::{FileFormat, ImportArgs, TimeUnit};
use crate::exit::Failure;
use crate::output::{counted, thousands};
use crate::progress::{Bar, Counts};
use crate::record::BadField;
use source::Source;
use units::Units;

/// Bad lines that are reported one by one; what is beyond is counted.
const REPORTED: u64 = 10;

/// Lots parsed ahead of the store.
const LOTS_AHEAD: usize = 2;

/// What one line of the file brought.
enum Record {
    Event(Event),
    /// A line that cannot be imported. The next one may.
    Bad(BadField),
    /// The file cannot be read further.
    Broken(String),
}

/// Reads a file record by record, each with the number of its line.
trait Records: Send {
    fn next(&mut self) -> Option<(u64, Record)>;
}

/// What the reading thread tells.
pub(crate) enum Message {
    Lot(Vec<Event>),
    Skipped(String),
    /// Nothing follows, and this is why.
    Stopped(String),
}

pub(crate) async fn run(backend: &Backend, arguments: &ImportArgs) -> Result<(), Failure> {
    let name = arguments.file.display().to_string();
    let source = Source::open(&arguments.file)
        .map_err(|error| Failure::error(format!("cannot read {name}: {error}")))?;
    let (read, length) = (source.progress(), source.length());
    let parameters = backend.parameters().await?;
    let records: Box<dyn Records> = match format_of(arguments) {
        FileFormat::Jsonl => Box::new(jsonl::JsonLines::new(source, arguments.time_unit, &parameters)),
        FileFormat::Csv => Box::new(csv::CsvRows::new(source, arguments, &parameters)?),
    };
    let mut messages = begin_reading(move || Ok(records), parameters, arguments.skip_bad);

    let mut bar = Bar::new("import", Counts::Bytes);
    let mut import = backend.import();
    let mut units = Units::default();
    let (mut skipped, mut stopped) = (0, None);
    while let Some(message) = messages.recv().await {
        match message {
            Message::Lot(events) => {
                if let Some(warning) = units.see(&events) {
                    bar.print(&warning);
                }
                import.push(events).await.map_err(|failure| partly(failure, import.inserted()))?;
                bar.set(read.load(Relaxed), length.unwrap_or_else(|| read.load(Relaxed)));
                bar.say_events(import.inserted().new + import.inserted().known);
            }
            Message::Skipped(what) => {
                skipped += 1;
                if skipped <= REPORTED {
                    bar.print(&format!("skipped {what}"));
                }
            }
            Message::Stopped(why) => stopped = Some(why),
        }
    }
    import.settle().await.map_err(|failure| partly(failure, import.inserted()))?;
    let inserted = import.inserted();
    let (took, rate) = (bar.elapsed(), bar.rate(inserted.new + inserted.known));
    drop(bar);
    if let Some(why) = stopped {
        return Err(Failure::error(format!("{name}: {why}\n{}", advice(inserted, "--skip-bad"))));
    }
    anstream::eprintln!(
        "{} imported, {} were stored already; {:.1} s, {} events/s",
        counted(inserted.new, "event"),
        thousands(inserted.known),
        took.as_secs_f64(),
        rate,
    );
    if let Some(warning) = units.verdict() {
        anstream::eprintln!("{warning}");
    }
    if skipped > 0 {
        anstream::eprintln!("{} bad lines were passed over", thousands(skipped));
    }
    Ok(())
}

/// What to do about a line that cannot be imported.
pub(crate) fn advice(inserted: Inserted, how_to_skip: &str) -> String {
    format!(
        "{} events before it are stored; import again when it is mended (what is stored is passed over), or pass over \
         bad lines with {how_to_skip}",
        thousands(inserted.new + inserted.known)
    )
}

/// The store stopped taking events.
fn partly(failure: Failure, inserted: Inserted) -> Failure {
    let stored = thousands(inserted.new);
    failure.and(format!("{stored} events were stored before that; import again later"))
}

/// Reads JSON lines, gzip or plain, from anywhere, on a thread of its own.
pub(crate) fn read_lines(
    input: impl Read + Send + 'static,
    parameters: Parameters,
    skip_bad: bool,
) -> mpsc::Receiver<Message> {
    let open = move || {
        let source = Source::new(Box::new(input), None)?;
        Ok(Box::new(jsonl::JsonLines::new(source, TimeUnit::Ms, &parameters)) as Box<dyn Records>)
    };
    begin_reading(open, parameters, skip_bad)
}

/// Parses on a thread of its own, so that the next lot is ready when the last one is stored.
fn begin_reading(
    open: impl FnOnce() -> io::Result<Box<dyn Records>> + Send + 'static,
    parameters: Parameters,
    skip_bad: bool,
) -> mpsc::Receiver<Message> {
    let (sender, messages) = mpsc::channel(LOTS_AHEAD);
    // Detached on purpose: if the import fails it ends at its next send, and nobody waits for it.
    thread::spawn(move || match open() {
        Ok(records) => read_all(records, &sender, &parameters, skip_bad),
        // Whoever listened is gone only if the import failed: nothing is left to tell.
        Err(error) => drop(sender.blocking_send(Message::Stopped(source::explain(&error)))),
    });
    messages
}

fn format_of(arguments: &ImportArgs) -> FileFormat {
    arguments
        .format
        .unwrap_or_else(|| if names_csv(&arguments.file) { FileFormat::Csv } else { FileFormat::Jsonl })
}

fn names_csv(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase();
    name.ends_with(".csv") || name.ends_with(".csv.gz")
}

/// Parses the whole file and sends it in lots.
fn read_all(
    mut records: Box<dyn Records>,
    messages: &mpsc::Sender<Message>,
    parameters: &Parameters,
    skip_bad: bool,
) {
    let mut lot = Vec::new();
    let mut bytes = 0;
    while let Some((line, record)) = records.next() {
        let message = match checked(record, parameters) {
            Record::Event(event) => {
                bytes += event.weight();
                lot.push(event);
                if lot.len() < LOT_EVENTS && bytes < LOT_BYTES {
                    continue;
                }
                bytes = 0;
                Message::Lot(std::mem::take(&mut lot))
            }
            Record::Bad(BadField { field, problem }) => {
                let what = format!("line {line}, {field}: {problem}");
                if skip_bad { Message::Skipped(what) } else { Message::Stopped(what) }
            }
            Record::Broken(problem) => Message::Stopped(format!("line {line}: {problem}")),
        };
        let ends = matches!(message, Message::Stopped(_));
        if ends && messages.blocking_send(Message::Lot(std::mem::take(&mut lot))).is_err() {
            return;
        }
        if messages.blocking_send(message).is_err() || ends {
            return;
        }
    }
    // Whoever listened is gone only if the import failed: nothing is left to tell.
    let _ = messages.blocking_send(Message::Lot(lot));
}

/// An event within the limits of the store.
fn checked(record: Record, parameters: &Parameters) -> Record {
    let Record::Event(event) = record else { return record };
    let field = match parameters.check(event.key(), event.value()) {
        Ok(()) if is_reserved(event.key()) => ("key", WriteError::ReservedKey),
        Ok(()) => return Record::Event(event),
        Err(error @ WriteError::ValueTooLong { .. }) => ("value", error),
        Err(error) => ("key", error),
    };
    Record::Bad(BadField::new(field.0, field.1.to_string()))
}
