//! `export`: every event in the order of time: one JSON object per line, or a row of a table.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use aevrion_core::{Event, Timestamp};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::backend::Backend;
use crate::cleanup::Cleanup;
use crate::cli::ExportFormat;
use crate::drafts::Draft;
use crate::failure::Failure;
use crate::human::thousands;
use crate::output::written;
use crate::progress::{Bar, Counts};
use crate::record::Shown;
use crate::report::ProgressReport;
use crate::stderr::say;

/// The columns of a table. `import` reads it back with `--key {key} --time timestamp --value {value}` and
/// `--delete-if deleted=true --expires expires_at`.
const COLUMNS: [&str; 6] = ["timestamp", "key", "value", "deleted", "expires_at", "id"];

pub(super) async fn run(
    backend: &Backend,
    file: Option<&Path>,
    format: Option<ExportFormat>,
    cleanup: &Cleanup,
) -> Result<(), Failure> {
    let format = format.unwrap_or_else(|| file.map_or(ExportFormat::Jsonl, ExportFormat::of_name));
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        let mut out = BufWriter::new(io::stdout().lock());
        write_all(backend, format, &mut out, written).await?;
        return written(out.flush());
    };
    let failed = |error: io::Error| Failure::error(format!("cannot write {}: {error}", path.display()));
    // The name appears only when the file is complete.
    let draft = Draft::of(path, cleanup).map_err(failed)?;
    let told = |result: io::Result<()>| result.map_err(failed);
    let count = if path.extension().is_some_and(|extension| extension == "gz") {
        let mut out = GzEncoder::new(BufWriter::new(draft.file()), Compression::default());
        let count = write_all(backend, format, &mut out, told).await?;
        out.finish().and_then(|mut inner| inner.flush()).map_err(failed)?;
        count
    } else {
        let mut out = BufWriter::new(draft.file());
        let count = write_all(backend, format, &mut out, told).await?;
        out.flush().map_err(failed)?;
        count
    };
    draft.finish().map_err(failed)?;
    say!("{} events written to {}", thousands(count), path.display());
    Ok(())
}

async fn write_all(
    backend: &Backend,
    format: ExportFormat,
    out: &mut impl Write,
    told: impl Fn(io::Result<()>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let total = backend.status().await?.events;
    let mut bar = Bar::new("export", Counts::Rows);
    let mut export = backend.export().await?;
    let mut count = 0;
    if format == ExportFormat::Csv {
        told(write_row(out, COLUMNS))?;
    }
    while let Some(events) = export.next().await? {
        for event in &events {
            match format {
                ExportFormat::Jsonl => {
                    let line = serde_json::to_writer(&mut *out, &Shown::new(event)).map_err(io::Error::from);
                    told(line.and_then(|()| out.write_all(b"\n")))?;
                }
                ExportFormat::Csv => {
                    let [timestamp, deleted, expires_at, id] = plain_columns(event);
                    let (key, value) = texts(event)?;
                    told(write_row(out, [&timestamp, key, value, &deleted, &expires_at, &id]))?;
                }
            }
            count += 1;
        }
        bar.follow(ProgressReport { phase: "export".to_owned(), done: count, total });
    }
    Ok(count)
}

fn write_row(out: &mut impl Write, row: [&str; COLUMNS.len()]) -> io::Result<()> {
    // Into memory: a CSV writer over `out` would flush it with every row.
    let mut writer = csv::WriterBuilder::new().buffer_capacity(256).from_writer(Vec::new());
    writer.write_record(row).map_err(io::Error::from)?;
    let text = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    out.write_all(&text)
}

/// The columns that are always text.
fn plain_columns(event: &Event) -> [String; 4] {
    let expires_at = event.value().expires_at().map(Timestamp::as_millis);
    [
        event.timestamp().to_string(),
        event.value().data().is_none().to_string(),
        expires_at.map_or_else(String::new, |ms| ms.to_string()),
        event.id().to_string(),
    ]
}

/// Key and value, which must be text in a table.
fn texts(event: &Event) -> Result<(&str, &str), Failure> {
    let data = event.value().data().map_or(&[][..], |data| data);
    match (std::str::from_utf8(event.key()), std::str::from_utf8(data)) {
        (Ok(key), Ok(value)) => Ok((key, value)),
        _ => Err(Failure::error(format!(
            "the event {} of {} has bytes that are no text, and a table takes only text: export it as jsonl",
            event.id(),
            crate::moment::show(event.timestamp())
        ))),
    }
}
