//! Files of columns: templates make key, time and value from them.

use std::collections::HashSet;
use std::io::{self, BufRead, Cursor, Read};

use aevrion_core::{Event, Parameters, Value};
use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use super::rows::{Begun, QuoteFault, Rows};
use super::source::{Source, explain, longest_record};
use super::template::{Template, column};

use super::reading::{ImportError, Records};
use crate::cli::{ColumnArgs, Condition, FileFormat, Quotes, may_delimit};
use crate::failure::Failure;
use crate::human::abbreviated;
use crate::record::{BadField, ReadEvent};
use crate::times::TimeStyle;

/// The line before the header by which a spreadsheet names its delimiter.
const SAYS_DELIMITER: &[u8] = b"sep=";

/// A byte order mark. Concatenated files contain further ones.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// The rows of a CSV file as events.
pub(super) struct CsvRows {
    reader: Reader<Rows>,
    longest: u64,
    names: StringRecord,
    key: Template,
    time: Template,
    style: TimeStyle,
    value: Option<Template>,
    delete_if: Option<(usize, String)>,
    expires: Option<usize>,
    row: StringRecord,
    /// Line at which the current row begins.
    line: u64,
    broken: bool,
}

impl CsvRows {
    pub(super) fn new(
        source: Source,
        format: FileFormat,
        columns: &ColumnArgs,
        style: TimeStyle,
        parameters: &Parameters,
    ) -> Result<Self, Failure> {
        let (Some(key), Some(time)) = (&columns.key, &columns.time) else {
            return Err(Failure::usage(
                "a file of columns needs --key and --time, such as --key 'plane:{tailnum}' --time time_hour",
            ));
        };
        let longest = longest_record(parameters);
        let text = source.into_reader();
        let unread = |error: io::Error| Failure::error(explain(&error));
        let (said, text, line) = said_delimiter(text).map_err(unread)?;
        let text = behind_marks(text).map_err(unread)?;
        let delimiter = delimiter(columns.delimiter, said, format)?;
        let quotes = columns.quote.unwrap_or_else(|| Quotes::usual(format)) == Quotes::Double;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quotes)
            .flexible(true)
            .trim(if columns.trim { Trim::All } else { Trim::None })
            .from_reader(Rows::new(text, delimiter, quotes, line));
        let names = header(&mut reader, longest)?;
        if columns.value.is_none()
            && let Some(twice) = named_twice(&names)
        {
            return Err(Failure::error(abbreviated(format!(
                "two columns are called `{twice}`, and a JSON object has room for one: say with --value what to keep"
            ))));
        }
        let time = if time.contains('{') { time.clone() } else { format!("{{{time}}}") };
        let delete_if = columns.delete_if.as_ref().map(|Condition { column: name, value }| {
            column("--delete-if", name, &names).map(|column| (column, value.clone()))
        });
        let expires = columns.expires.as_ref().map(|name| column("--expires", name, &names));
        Ok(Self {
            key: Template::parse("--key", key, &names)?,
            time: Template::parse("--time", &time, &names)?,
            value: columns
                .value
                .as_ref()
                .map(|value| Template::parse("--value", value, &names))
                .transpose()?,
            delete_if: delete_if.transpose()?,
            expires: expires.transpose()?,
            style,
            longest,
            reader,
            names,
            row: StringRecord::new(),
            line: 1,
            broken: false,
        })
    }

    fn made(&self) -> Result<ReadEvent, BadField> {
        if self.row.len() != self.names.len() {
            let (columns, names) = (self.row.len(), self.names.len());
            return Err(BadField::new("row", format!("it has {columns} columns, the header has {names}")));
        }
        if self.row.iter().all(str::is_empty) {
            return Err(BadField::new("row", "it is empty, as the rows below a table often are"));
        }
        if let Some(column) = self.key.empty_column(&self.row) {
            return Err(BadField::new("key", format!("the column `{}` is empty", &self.names[column])));
        }
        let key = self.key.fill(&self.row);
        let time = self.style.read(&self.time.fill(&self.row));
        let time = time.map_err(|problem| BadField::new("time", problem))?;
        let event = Event::new(key.into(), self.value()?, time.at)
            .map_err(|error| BadField::new("value", error.to_string()))?;
        Ok(ReadEvent { event, time })
    }

    fn value(&self) -> Result<Value, BadField> {
        let expires = self.expires.map(|column| &self.row[column]).filter(|text| !text.is_empty());
        match (self.content(), expires) {
            (Value::Data(data), Some(expires)) => {
                let read = self.style.read(expires).map_err(|problem| BadField::new("expires", problem))?;
                Ok(Value::Expiring { data, expires_at: read.at })
            }
            (content, _) => Ok(content),
        }
    }

    fn content(&self) -> Value {
        match (&self.delete_if, &self.value) {
            (Some((column, value)), _) if self.row[*column] == **value => Value::Deletion,
            (_, Some(template)) => Value::Data(template.fill(&self.row).into_bytes().into()),
            (_, None) => Value::Data(self.row_as_json().into()),
        }
    }

    /// The row as a JSON object of texts, in the order of the columns.
    fn row_as_json(&self) -> Vec<u8> {
        let fields = self.names.iter().zip(&self.row);
        let object: serde_json::Map<_, _> =
            fields.map(|(name, text)| (name.to_owned(), text.to_owned().into())).collect();
        serde_json::Value::Object(object).to_string().into_bytes()
    }

    /// Turns the row just read, or the error of reading it, into an event or an error.
    fn record(&mut self, begun: Option<Begun>, read: Result<(), BadField>) -> Result<ReadEvent, ImportError> {
        match begun.and_then(|begun| begun.fault) {
            // The parser has swallowed the rest of the file, which may be other rows: no later row can be read.
            Some(QuoteFault::Open { line }) => {
                self.broken = true;
                Err(ImportError::File(format!(
                    "the quote that is opened in line {line} is not closed; if quotes are data here, say --quote none"
                )))
            }
            Some(QuoteFault::Stray { line }) => Err(ImportError::Record(BadField::new(
                "row",
                format!(
                    "text follows a closing quote in line {line}; if quotes are data here, say --quote none"
                ),
            ))),
            None => read.and_then(|()| self.made()).map_err(ImportError::Record),
        }
    }
}

impl Records for CsvRows {
    fn next(&mut self) -> Option<Result<ReadEvent, ImportError>> {
        if self.broken {
            return None;
        }
        self.reader.get_mut().allow(self.longest);
        let read = self.reader.read_record(&mut self.row);
        self.line = self.reader.get_ref().line();
        let read = match read {
            Ok(false) => return None,
            Ok(true) => Ok(()),
            Err(error) if error.is_io_error() => {
                self.broken = true;
                return Some(Err(ImportError::File(problem(&error, &self.names))));
            }
            Err(error) => Err(BadField::new("row", problem(&error, &self.names))),
        };
        let begun = self.reader.get_mut().next_row();
        self.line = begun.map_or(self.line, |begun| begun.line);
        Some(self.record(begun, read))
    }

    fn place(&self) -> String {
        format!("line {}", self.line)
    }
}

/// The delimiter named by a line before the header, the text behind it, and the number of its first line.
fn said_delimiter(
    mut text: Box<dyn BufRead + Send>,
) -> io::Result<(Option<u8>, Box<dyn BufRead + Send>, u64)> {
    let mut head = Vec::new();
    text.by_ref().take(SAYS_DELIMITER.len() as u64).read_to_end(&mut head)?;
    if !head.eq_ignore_ascii_case(SAYS_DELIMITER) {
        return Ok((None, Box::new(Cursor::new(head).chain(text)), 1));
    }
    let mut rest = Vec::new();
    text.by_ref().take(4).read_until(b'\n', &mut rest)?;
    match rest.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        Some([byte]) if may_delimit(*byte) => Ok((Some(*byte), text, 2)),
        _ => Ok((None, Box::new(Cursor::new([head, rest].concat()).chain(text)), 1)),
    }
}

/// Skips all byte order marks: the parser skips only one, and a quote behind a mark is an opening one.
fn behind_marks(mut text: Box<dyn BufRead + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    loop {
        let mut head = Vec::new();
        text.by_ref().take(MARK.len() as u64).read_to_end(&mut head)?;
        if head != MARK {
            return Ok(Box::new(Cursor::new(head).chain(text)));
        }
    }
}

fn delimiter(asked: Option<u8>, said: Option<u8>, format: FileFormat) -> Result<u8, Failure> {
    match (asked, said) {
        (Some(asked), Some(said)) if asked != said => Err(Failure::usage(format!(
            "the file says that `{}` separates its columns, and --delimiter says `{}`",
            said.escape_ascii(),
            asked.escape_ascii()
        ))),
        (Some(delimiter), _) | (None, Some(delimiter)) => Ok(delimiter),
        (None, None) => Ok(if format == FileFormat::Tsv { b'\t' } else { b',' }),
    }
}

/// The names of the columns.
fn header(reader: &mut Reader<Rows>, longest: u64) -> Result<StringRecord, Failure> {
    reader.get_mut().allow(longest);
    let names = reader
        .headers()
        .map_err(|error| Failure::error(format!("line 1: {}", problem(&error, &StringRecord::new()))))?;
    let names = names.clone();
    match reader.get_mut().next_row() {
        None => Err(Failure::error("the file is empty: it is to begin with the names of its columns")),
        Some(Begun { line, fault: Some(_) }) => Err(Failure::error(format!(
            "line {line}: the quotes of the header make no sense; if quotes are data here, say --quote none"
        ))),
        Some(_) => Ok(names),
    }
}

fn problem(error: &csv::Error, names: &StringRecord) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => explain(error),
        csv::ErrorKind::Utf8 { err, .. } => {
            let column = names
                .get(err.field())
                .map_or_else(|| (err.field() + 1).to_string(), |name| format!("`{name}`"));
            let byte = err.valid_up_to() + 1;
            format!(
                "byte {byte} of the column {column} is not UTF-8: if the file is in another encoding, say so, as in \
                 --encoding latin1"
            )
        }
        _ => error.to_string(),
    }
}

fn named_twice(names: &StringRecord) -> Option<&str> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of all rows, and the faults of the rows.
    fn rows(text: &[u8]) -> Result<Vec<(String, Option<String>)>, String> {
        let columns = ColumnArgs {
            key: Some("{id}".to_owned()),
            time: Some("when".to_owned()),
            value: Some("-".to_owned()),
            delete_if: None,
            expires: None,
            delimiter: None,
            quote: None,
            trim: false,
        };
        let (style, parameters) = (TimeStyle::default(), Parameters::default());
        let source = Source::new(Box::new(Cursor::new(text.to_owned())), None).unwrap();
        let mut rows = CsvRows::new(source, FileFormat::Csv, &columns, style, &parameters)
            .map_err(|failure| failure.to_string())?;
        let wrong = |wrong| match wrong {
            ImportError::Record(BadField { problem, .. }) | ImportError::File(problem) => problem,
        };
        let mut read = Vec::new();
        while let Some(row) = rows.next() {
            read.push((rows.place(), row.err().map(wrong)));
        }
        Ok(read)
    }

    #[test]
    fn an_open_quote_is_told_of_whatever_else_is_wrong_with_its_row() {
        for cell in [&b"\xFF"[..], b"\"x\"y", b"x"] {
            let rows = rows(&[b"id,when\n1,2\n", cell, b",\"\n3,4\n"].concat()).unwrap();
            let (line, problem) = &rows[1];
            assert!(
                rows.len() == 2
                    && line == "line 3"
                    && problem.as_ref().is_some_and(|problem| problem.contains("line 3 is not closed")),
                "{rows:?}"
            );
        }
    }

    #[test]
    fn a_second_mark_hides_no_quote() {
        let text = b"\xEF\xBB\xBF\xEF\xBB\xBF\"a\nb\",id,when\nx,1,2\nx,3,\"4\n";
        let rows = rows(text).unwrap();
        assert_eq!(rows[0], ("line 3".to_owned(), None));
        assert!(rows.len() == 2 && rows[1].0 == "line 4" && rows[1].1.is_some(), "{rows:?}");
    }

    #[test]
    fn a_wide_table_is_read_and_one_that_is_too_wide_is_refused() {
        let header =
            |columns: u64| (0..columns).fold("id,when".to_owned(), |all, name| format!("{all},{name}"));
        let wide = header(100_000);
        let empty = ",".repeat(100_000);
        assert_eq!(rows(format!("{wide}\n1,2{empty}\n").as_bytes()), Ok(vec![("line 2".to_owned(), None)]));
        let refused = rows(format!("id,when{}\n1,2\n", ",".repeat(1 << 20)).as_bytes()).unwrap_err();
        assert!(refused.contains("line 1") && refused.contains("--delimiter"), "{refused}");
        let wider = rows(format!("id,when\n1,2\n\n1,2{}\n", ",".repeat(1 << 20)).as_bytes()).unwrap();
        assert!(
            wider.len() == 2 && wider[0] == ("line 2".to_owned(), None) && wider[1].0 == "line 4",
            "{wider:?}"
        );
        let unknown = rows(format!("{wide}x\n").replace("id,", "").as_bytes()).unwrap_err();
        assert!(unknown.contains("no column `id`") && unknown.len() < 3_000, "{unknown}");
    }

    #[test]
    fn no_line_makes_a_quote_or_a_line_end_separate_columns() {
        assert_eq!(rows(b"sep=;\nid;when\n1;2\n"), Ok(vec![("line 3".to_owned(), None)]));
        for said in [&b"sep=\"\n"[..], b"sep=\r\r\n", b"sep=\xFF\n"] {
            let refused = rows(&[said, b"id,when\n1,2\n"].concat()).unwrap_err();
            assert!(refused.contains("no column `id`") || refused.contains("UTF-8"), "{refused}");
        }
    }
}
