//! Output of events: a table for people, JSON for programs, or raw.

use std::io::{self, Write};

use aevrion_core::{Effect, Event, Timestamp};
use anstyle::{AnsiColor, Style};

use crate::cli::Format;
use crate::failure::Failure;
use crate::moment;
use crate::record::Shown;
use crate::sanitize::sanitized_bytes;
use crate::stderr::say;

/// Longest value shown in a table, in characters.
const SHOWN_VALUE: usize = 80;
/// Eight digits of the node, and a number that rarely has more than ten.
const CURSOR_WIDTH: usize = 19;
const HEADER: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const DELETED: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

/// Writes events one by one, so that a listing of any length needs no memory.
pub(crate) struct Listing {
    format: Format,
    out: Box<dyn Write>,
    rows: u64,
    key_width: usize,
    /// The earliest of the noted pages; nothing if one of them has none.
    stable_until: Option<Option<Timestamp>>,
}

impl Listing {
    pub(crate) fn new(format: Format) -> Self {
        let out: Box<dyn Write> = match format {
            Format::Table => Box::new(anstream::AutoStream::auto(io::stdout())),
            _ => Box::new(io::BufWriter::new(io::stdout().lock())),
        };
        Self { format, out, rows: 0, key_width: 0, stable_until: None }
    }

    /// Adds a page of events.
    pub(crate) fn add(&mut self, events: &[Event]) -> Result<(), Failure> {
        let widest =
            events.iter().map(|event| sanitized_bytes(event.key()).chars().count()).max().unwrap_or(0);
        self.key_width = self.key_width.max(widest.min(48)).max(3);
        for event in events {
            written(self.row(event))?;
            self.rows += 1;
        }
        Ok(())
    }

    /// Notes until when a page of the past is stable. The minimum of all pages is reported at the end.
    pub(crate) fn note_stable(&mut self, until: Option<Timestamp>) {
        self.stable_until = Some(self.stable_until.map_or(until, |before| before.min(until)));
    }

    /// Ends the listing.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let end = match (self.format, self.rows) {
            (Format::Json, 0) => self.out.write_all(b"[]\n"),
            (Format::Json, _) => self.out.write_all(b"\n]\n"),
            (Format::Table, 0) => {
                say!("{FAINT}nothing there{FAINT:#}");
                Ok(())
            }
            _ => Ok(()),
        };
        written(end.and_then(|()| self.out.flush()))?;
        if let Some(until) = self.stable_until.flatten() {
            let until = moment::show(until);
            say!("{FAINT}stable until {until}: of earlier times nothing changes any more{FAINT:#}");
        }
        Ok(())
    }

    /// Adds a watched event, with its cursor, and flushes it. (A list without end is no JSON document: each event is
    /// one.)
    pub(crate) fn see(&mut self, event: &Event, effect: Effect, cursor: &str) -> Result<(), Failure> {
        self.key_width = self.key_width.max(sanitized_bytes(event.key()).chars().count().min(48)).max(3);
        let row = match self.format {
            Format::Table => self.table_row(event, effect, Some(cursor)),
            Format::Json | Format::Jsonl => {
                let shown = Shown::new(event).seen(effect, Some(cursor));
                let line = serde_json::to_writer(&mut self.out, &shown);
                line.map_err(io::Error::from).and_then(|()| self.out.write_all(b"\n"))
            }
            // An expired key has no value, as after a deletion.
            Format::Raw if effect == Effect::Expired => self.out.write_all(b"\n"),
            Format::Raw => self.row(event),
        };
        self.rows += 1;
        written(row.and_then(|()| self.out.flush()))
    }

    fn row(&mut self, event: &Event) -> io::Result<()> {
        match self.format {
            Format::Table => self.table_row(event, Effect::Stored, None),
            Format::Json => {
                self.out.write_all(if self.rows == 0 { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(&mut self.out, &Shown::new(event)).map_err(io::Error::from)
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut self.out, &Shown::new(event)).map_err(io::Error::from)?;
                self.out.write_all(b"\n")
            }
            Format::Raw => {
                self.out.write_all(event.value().data().map_or(&[], |data| &data[..]))?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn table_row(&mut self, event: &Event, effect: Effect, cursor: Option<&str>) -> io::Result<()> {
        let width = self.key_width;
        if self.rows == 0 {
            let cursor = cursor.map_or(String::new(), |_| format!("{:<CURSOR_WIDTH$}  ", "CURSOR"));
            writeln!(
                self.out,
                "{HEADER}{cursor}{:<24}  {:<width$}  {:<8}  VALUE{HEADER:#}",
                "TIME", "KEY", "ID"
            )?;
        }
        if let Some(cursor) = cursor {
            write!(self.out, "{FAINT}{cursor:<CURSOR_WIDTH$}{FAINT:#}  ")?;
        }
        let time = moment::show(event.timestamp());
        let id = event.id().to_string();
        let key = sanitized_bytes(event.key());
        write!(self.out, "{time:<24}  {key:<width$}  {FAINT}{}{FAINT:#}  ", &id[..8])?;
        match event.value().data() {
            _ if effect == Effect::Expired => write!(self.out, "{DELETED}expired{DELETED:#}")?,
            None => write!(self.out, "{DELETED}deleted{DELETED:#}")?,
            Some(data) => write!(self.out, "{}", shortened(data))?,
        }
        if let Some(expires_at) = event.value().expires_at() {
            let until = if effect == Effect::Expired { "at" } else { "until" };
            write!(self.out, "  {FAINT}{until} {}{FAINT:#}", moment::show(expires_at))?;
        }
        writeln!(self.out)
    }
}

fn shortened(data: &[u8]) -> String {
    // A character has at most four bytes: no need to look at a whole large value.
    let head = &data[..data.len().min(SHOWN_VALUE * 4)];
    let head = match std::str::from_utf8(head) {
        Err(error) if data.len() > head.len() && error.error_len().is_none() => &head[..error.valid_up_to()],
        _ => head,
    };
    let shown = sanitized_bytes(head);
    let mut short: String = shown.chars().take(SHOWN_VALUE).collect();
    if short.len() < shown.len() || head.len() < data.len() {
        short.push('…');
    }
    short
}

/// Pairs of names and values: a table, or a JSON object.
pub(crate) fn print_fields(fields: &[(&str, String)]) -> Result<(), Failure> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = anstream::AutoStream::auto(io::stdout());
    for (name, value) in fields {
        written(writeln!(out, "{FAINT}{name:<width$}{FAINT:#}  {value}"))?;
    }
    Ok(())
}

/// Prints one line.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    written(writeln!(io::stdout(), "{line}"))
}

/// Prints rows below a header, in columns of the width they need.
pub(crate) fn print_table(header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = anstream::AutoStream::auto(io::stdout());
    written(writeln!(out, "{HEADER}{}{HEADER:#}", line(&mut header.iter().copied())))?;
    for row in rows {
        written(writeln!(out, "{}", line(&mut row.iter().map(String::as_str))))?;
    }
    Ok(())
}

/// Prints one JSON document: on one line if lines are requested, else indented.
pub(crate) fn print_document(format: Format, document: &impl serde::Serialize) -> Result<(), Failure> {
    let text = match format {
        Format::Jsonl => serde_json::to_string(document),
        _ => serde_json::to_string_pretty(document),
    };
    print_line(&text.map_err(Failure::error)?)
}

/// Prints a list: one document, or one per line.
pub(crate) fn print_all(format: Format, items: &[impl serde::Serialize]) -> Result<(), Failure> {
    match format {
        Format::Jsonl => items.iter().try_for_each(|item| print_document(format, item)),
        _ => print_document(format, &items),
    }
}

/// The result of writing to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|error| Failure::error(format!("cannot write the output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_between_characters() {
        assert_eq!(shortened(b"short"), "short");
        assert_eq!(shortened("é".repeat(200).as_bytes()), format!("{}…", "é".repeat(80)));
        assert_eq!(shortened(b"line\nbreak\x1b"), "line\\nbreak\\u{1b}");
        assert_eq!(shortened(b"\xFF\x00"), "\\xff\\x00");
    }
}
