//! Second implementations, a page each: they read the records of a text independently of the importer.

use serde::Deserialize;

/// A row of a table.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) cells: Vec<Vec<u8>>,
    /// Whether text follows a closing quote.
    pub(super) stray: bool,
}

/// A table by RFC 4180, with any line ends. Empty lines are no rows.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// Whether a quote is opened and not closed.
    pub(super) open: bool,
}

impl Table {
    pub(super) fn read(mut text: &[u8], delimiter: u8, quotes: bool) -> Self {
        let mut table = Self::default();
        while let Some(first) = text.first() {
            if ends_line(*first) {
                text = &text[1..];
                continue;
            }
            let mut row = Row::default();
            loop {
                text = table.cell(text, delimiter, quotes, &mut row);
                match text.split_first() {
                    Some((byte, rest)) if *byte == delimiter => text = rest,
                    _ => break,
                }
            }
            table.rows.push(row);
        }
        table
    }

    /// Reads a cell, and returns the text behind it.
    fn cell<'t>(&mut self, mut text: &'t [u8], delimiter: u8, quotes: bool, row: &mut Row) -> &'t [u8] {
        let mut cell = Vec::new();
        let quoted = quotes && text.first() == Some(&b'"');
        if quoted {
            text = &text[1..];
            loop {
                match text {
                    [b'"', b'"', rest @ ..] => {
                        cell.push(b'"');
                        text = rest;
                    }
                    [b'"', rest @ ..] => {
                        text = rest;
                        break;
                    }
                    [byte, rest @ ..] => {
                        cell.push(*byte);
                        text = rest;
                    }
                    [] => {
                        self.open = true;
                        break;
                    }
                }
            }
        }
        let plain = text.iter().position(|byte| ends_line(*byte) || *byte == delimiter);
        let (plain, rest) = text.split_at(plain.unwrap_or(text.len()));
        row.stray |= quoted && !plain.is_empty();
        cell.extend_from_slice(plain);
        row.cells.push(cell);
        rest
    }
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The delimiter of a line `sep=` before the table, and the table.
pub(super) fn said_delimiter(text: &[u8]) -> (Option<u8>, &[u8]) {
    match text {
        [s, e, p, b'=', delimiter, b'\n', rest @ ..]
        | [s, e, p, b'=', delimiter, b'\r', b'\n', rest @ ..]
            if [*s, *e, *p].eq_ignore_ascii_case(b"sep")
                && delimiter.is_ascii()
                && !matches!(delimiter, b'"' | b'\r' | b'\n') =>
        {
            (Some(*delimiter), rest)
        }
        _ => (None, text),
    }
}

/// The text behind all byte order marks.
pub(super) fn behind_marks(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix("\u{FEFF}".as_bytes()) {
        text = rest;
    }
    text
}

/// The objects of a text: those of an array, or one per line. Nothing for an invalid array.
pub(super) fn objects(text: &[u8]) -> Option<Vec<&[u8]>> {
    let text = text.trim_ascii();
    if !text.starts_with(b"[") {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        return Some(lines.filter(|line| !line.is_empty()).collect());
    }
    let elements: Vec<&serde_json::value::RawValue> = serde_json::from_slice(text).ok()?;
    Some(elements.into_iter().map(|element| element.get().as_bytes()).collect())
}

/// The key of an object, if it is a string.
pub(super) fn key(object: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Key {
        key: Option<String>,
    }
    serde_json::from_slice::<Key>(object).ok()?.key
}
