//! A check of the bytes given to the CSV parser. The parser accepts everything: an unclosed quote makes the rest of the
//! file one row, and text behind a closing quote is appended. Here that is a fault of its row. Lines are counted here
//! too, with any line ends.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use crate::human::thousands;

/// Columns that a row may have. A parser takes many bytes for each, so a few packed bytes could fill the memory.
const MOST_COLUMNS: u64 = 1 << 18;

/// A reader that knows the beginnings of rows in the bytes it has given, and fails when a row exceeds its allowance.
pub(super) struct Rows {
    inner: Box<dyn BufRead + Send>,
    /// Bytes left for the current row.
    allowance: u64,
    delimiter: u8,
    /// Whether quotes are syntax, not data.
    quotes: bool,
    state: State,
    line: u64,
    /// Columns of the row so far.
    columns: u64,
    /// The beginning of the quoted field.
    opened: u64,
    /// Whether the last byte was a CR, perhaps the first half of a line end.
    after_cr: bool,
    begun: VecDeque<Begun>,
    ended: bool,
}

/// The beginning of a row, and the fault of its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) line: u64,
    pub(super) fault: Option<QuoteFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuoteFault {
    /// A quote opened in this line is not closed.
    Open { line: u64 },
    /// Text follows a closing quote, in this line.
    Stray { line: u64 },
}

/// The parser state before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two rows.
    Line,
    /// At the beginning of a field.
    Field,
    Plain,
    Quoted,
    /// After a quote that closes the field, or is the first half of an escaped one.
    Closing,
}

impl Rows {
    /// Reads the rows of a text; `line` is the number of its first line.
    pub(super) fn new(inner: Box<dyn BufRead + Send>, delimiter: u8, quotes: bool, line: u64) -> Self {
        Self {
            inner,
            allowance: 0,
            delimiter,
            quotes,
            state: State::Line,
            line,
            columns: 0,
            opened: line,
            after_cr: false,
            begun: VecDeque::new(),
            ended: false,
        }
    }

    /// Allows the next row to take `bytes` bytes.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.allowance = bytes;
    }

    /// The beginning of the next row, once the parser has returned it.
    pub(super) fn next_row(&mut self) -> Option<Begun> {
        self.begun.pop_front()
    }

    /// The parser's current line, for errors outside rows.
    pub(super) fn line(&self) -> u64 {
        self.begun.front().map_or(self.line, |begun| begun.line)
    }

    /// The line of a quote that is open at the reader's position.
    pub(super) fn open_quote(&self) -> Option<u64> {
        (self.state == State::Quoted).then_some(self.opened)
    }

    fn look_at(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // The second half of a line end belongs to the first.
            let second = std::mem::replace(&mut self.after_cr, *byte == b'\r') && *byte == b'\n';
            if !second {
                self.step(*byte);
            }
        }
    }

    fn step(&mut self, byte: u8) {
        let ends_line = matches!(byte, b'\r' | b'\n');
        if self.state == State::Line && !ends_line {
            self.begun.push_back(Begun { line: self.line, fault: None });
            self.columns = 1;
            self.state = State::Field;
        }
        self.state = match self.state {
            State::Quoted if byte == b'"' => State::Closing,
            State::Quoted => State::Quoted,
            State::Closing if byte == b'"' => State::Quoted,
            _ if ends_line => State::Line,
            _ if byte == self.delimiter => {
                self.columns += 1;
                State::Field
            }
            State::Field if byte == b'"' && self.quotes => {
                self.opened = self.line;
                State::Quoted
            }
            State::Closing => {
                if let Some(begun) = self.begun.back_mut() {
                    begun.fault.get_or_insert(QuoteFault::Stray { line: self.line });
                }
                State::Plain
            }
            State::Line | State::Field | State::Plain => State::Plain,
        };
        self.line += u64::from(ends_line);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true)
            && let Some(line) = self.open_quote()
            && let Some(begun) = self.begun.back_mut()
        {
            // The worst fault of a row: all rows behind the quote are skipped with it.
            begun.fault = Some(QuoteFault::Open { line });
        }
    }
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.allowance == 0 {
            return Err(io::Error::other(match self.open_quote() {
                Some(line) => format!(
                    "the row is too long for any event of this store: the quote that is opened in line {line} is not \
                     closed"
                ),
                None => "the row is too long for any event of this store".to_owned(),
            }));
        }
        if self.columns > MOST_COLUMNS {
            return Err(io::Error::other(format!(
                "the row has over {} columns: if they are separated by something else, say by what with --delimiter",
                thousands(MOST_COLUMNS)
            )));
        }
        let most = buffer.len().min(usize::try_from(self.allowance).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.allowance -= count as u64;
        self.look_at(&buffer[..count]);
        if count == 0 && most > 0 {
            self.end();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(text: &str, quotes: bool) -> Vec<(u64, Option<QuoteFault>)> {
        let mut rows = Rows::new(Box::new(io::Cursor::new(text.to_owned())), b',', quotes, 1);
        rows.allow(u64::MAX);
        rows.read_to_end(&mut Vec::new()).unwrap();
        rows.begun.iter().map(|begun| (begun.line, begun.fault)).collect()
    }

    #[test]
    fn rows_have_the_numbers_of_their_lines() {
        assert_eq!(begun("a\nb\n\nc", true), [(1, None), (2, None), (4, None)]);
        assert_eq!(begun("a\rb\r\rc\r", true), [(1, None), (2, None), (4, None)]);
        assert_eq!(begun("a\r\n\"b\r\n\r\n\",1\r\nc\r\n", true), [(1, None), (2, None), (5, None)]);
        assert_eq!(begun("\n\n", true), []);
    }

    #[test]
    fn quotes_that_make_no_sense_are_noticed() {
        let (open, stray) = (QuoteFault::Open { line: 3 }, QuoteFault::Stray { line: 2 });
        assert_eq!(begun("a\n\"x\n\",\"y\nb\n", true), [(1, None), (2, Some(open))]);
        assert_eq!(begun("a\n\"x\"y,1\nb\n", true), [(1, None), (2, Some(stray)), (3, None)]);
        assert_eq!(
            begun("a\n\"x\"y,1,\n\"x\"y,\"z\nb\n", true),
            [(1, None), (2, Some(stray)), (3, Some(open))]
        );
        assert_eq!(begun("a\n\"x\"\"y\",\"\"\nx\"y\"\n", true), [(1, None), (2, None), (3, None)]);
        assert_eq!(begun("a\n\"x\nb\n", false), [(1, None), (2, None), (3, None)]);
    }
}
