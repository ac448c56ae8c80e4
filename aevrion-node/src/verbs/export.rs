//! `export`: every event, one JSON object a line, in the order of time.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::backend::Backend;
use crate::drafts::Draft;
use crate::exit::{Failure, written};
use crate::output::{say, thousands};
use crate::progress::{Bar, Counts};
use crate::record::Shown;
use crate::report::Step;

pub(super) async fn run(backend: &Backend, file: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        let mut out = BufWriter::new(io::stdout().lock());
        write_all(backend, &mut out, written).await?;
        return written(out.flush());
    };
    let failed = |error: io::Error| Failure::error(format!("cannot write {}: {error}", path.display()));
    // The name appears only when the file is whole.
    let draft = Draft::beside(path).map_err(failed)?;
    let told = |result: io::Result<()>| result.map_err(failed);
    let count = if path.extension().is_some_and(|extension| extension == "gz") {
        let mut out = GzEncoder::new(BufWriter::new(draft.file()), Compression::default());
        let count = write_all(backend, &mut out, told).await?;
        out.finish().and_then(|mut inner| inner.flush()).map_err(failed)?;
        count
    } else {
        let mut out = BufWriter::new(draft.file());
        let count = write_all(backend, &mut out, told).await?;
        out.flush().map_err(failed)?;
        count
    };
    draft.finish(path).map_err(failed)?;
    say!("{} events written to {}", thousands(count), path.display());
    Ok(())
}

async fn write_all(
    backend: &Backend,
    out: &mut impl Write,
    told: impl Fn(io::Result<()>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let total = backend.status().await?.events;
    let mut bar = Bar::new("export", Counts::Rows);
    let mut export = backend.export().await?;
    let mut count = 0;
    while let Some(events) = export.next().await? {
        for event in &events {
            let line = serde_json::to_writer(&mut *out, &Shown::new(event)).map_err(io::Error::from);
            told(line.and_then(|()| out.write_all(b"\n")))?;
            count += 1;
        }
        bar.follow(Step { phase: "export".to_owned(), done: count, total });
    }
    Ok(count)
}
