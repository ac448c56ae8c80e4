//! `export`: every event, one JSON object a line, in the order of time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use crate::backend::Backend;
use crate::exit::{Failure, written};
use crate::output::thousands;
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
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = NamedTempFile::new_in(parent).map_err(failed)?;
    let told = |result: io::Result<()>| result.map_err(failed);
    let count = if path.extension().is_some_and(|extension| extension == "gz") {
        let mut out = GzEncoder::new(BufWriter::new(draft.as_file()), Compression::default());
        let count = write_all(backend, &mut out, told).await?;
        out.finish().and_then(|mut inner| inner.flush()).map_err(failed)?;
        count
    } else {
        let mut out = BufWriter::new(draft.as_file());
        let count = write_all(backend, &mut out, told).await?;
        out.flush().map_err(failed)?;
        count
    };
    draft.as_file().sync_all().map_err(failed)?;
    readable_by_others(draft.as_file()).map_err(failed)?;
    draft.persist(path).map_err(|error| failed(error.error))?;
    anstream::eprintln!("{} events written to {}", thousands(count), path.display());
    Ok(())
}

/// A draft is private; the file is to be like any other.
fn readable_by_others(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    let _ = file;
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
