//! Files of JSON objects: one per line, or all in one array.

use std::io::{BufRead, Read};

use aevrion_core::Parameters;

use super::reading::{ImportError, Records};
use super::source::{Source, explain, longest_record};
use crate::record::{self, BadField, ReadEvent};
use crate::times::TimeStyle;

/// JSON objects of bounded length: a file without line ends must not end up in memory.
pub(super) struct JsonObjects {
    reader: Box<dyn BufRead + Send>,
    style: TimeStyle,
    longest: u64,
    object: Vec<u8>,
    /// The reader's line, and the line at which the current object began.
    line: u64,
    began: u64,
    layout: Layout,
    broken: bool,
}

/// The layout of the objects in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Unknown before the first byte.
    Unknown,
    Lines,
    /// In an array; `any` is true once an element was read.
    Array {
        any: bool,
    },
    /// After the end of the array.
    Ended,
}

impl JsonObjects {
    pub(super) fn new(source: Source, style: TimeStyle, parameters: &Parameters) -> Self {
        Self {
            reader: source.into_reader(),
            style,
            longest: longest_record(parameters),
            object: Vec::new(),
            line: 1,
            began: 1,
            layout: Layout::Unknown,
            broken: false,
        }
    }

    /// Reads the next object into `self.object`; `None` at the end of the file.
    fn read_object(&mut self) -> Result<Option<()>, ImportError> {
        self.object.clear();
        if self.layout == Layout::Unknown {
            self.layout = match self.next_but_space()? {
                Some(b'[') => {
                    self.reader.consume(1);
                    Layout::Array { any: false }
                }
                _ => Layout::Lines,
            };
        }
        match self.layout {
            Layout::Array { any } => self.read_element(any),
            Layout::Ended => match self.next_but_space()? {
                None => Ok(None),
                Some(_) => Err(self.broken("something follows the end of the array")),
            },
            Layout::Unknown | Layout::Lines => self.read_line(),
        }
    }

    fn read_line(&mut self) -> Result<Option<()>, ImportError> {
        self.began = self.line;
        self.line += 1;
        let read = self.reader.by_ref().take(self.longest).read_until(b'\n', &mut self.object);
        match read.map_err(|error| self.broken(&explain(&error)))? {
            0 => Ok(None),
            _ if self.object.ends_with(b"\n") || (self.object.len() as u64) < self.longest => Ok(Some(())),
            _ => {
                let problem = self.too_long();
                self.reader.skip_until(b'\n').map_err(|error| self.broken(&explain(&error)))?;
                Err(ImportError::Record(BadField::new("line", problem)))
            }
        }
    }

    /// Reads the next element of the array, if there is one.
    fn read_element(&mut self, any: bool) -> Result<Option<()>, ImportError> {
        match self.next_but_space()? {
            Some(b']') => {
                self.reader.consume(1);
                self.layout = Layout::Ended;
                return self.read_object();
            }
            Some(b',') if any => {
                self.reader.consume(1);
                self.next_but_space()?;
            }
            Some(_) if any => return Err(self.broken("a comma is missing between two objects of the array")),
            _ => {}
        }
        self.layout = Layout::Array { any: true };
        self.began = self.line;
        let mut depth = Depth::default();
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok([]) => return Err(self.broken("the array ends in the middle: the file was cut off")),
                Ok(bytes) => bytes,
                Err(error) => {
                    let problem = explain(&error);
                    return Err(self.broken(&problem));
                }
            };
            let end = bytes.iter().position(|byte| depth.ends_before(*byte));
            let taken = &bytes[..end.unwrap_or(bytes.len())];
            self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.object.extend_from_slice(taken);
            let taken = taken.len();
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(()));
            }
            if self.object.len() as u64 > self.longest {
                let problem = self.too_long();
                return Err(self.broken(&problem));
            }
        }
    }

    /// Skips white space, and peeks at the byte behind it.
    fn next_but_space(&mut self) -> Result<Option<u8>, ImportError> {
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) => {
                    let problem = explain(&error);
                    return Err(self.broken(&problem));
                }
            };
            let space = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.line += bytes[..space].iter().filter(|byte| **byte == b'\n').count() as u64;
            let (next, ended) = (bytes.get(space).copied(), bytes.is_empty());
            self.reader.consume(space);
            if next.is_some() || ended {
                return Ok(next);
            }
        }
    }

    fn too_long(&self) -> String {
        format!("it is longer than {} bytes, which no event of this store can need", self.longest)
    }

    fn broken(&mut self, problem: &str) -> ImportError {
        self.broken = true;
        if self.layout != Layout::Lines {
            self.began = self.line;
        }
        ImportError::File(problem.to_owned())
    }
}

/// Nesting depth of a byte of JSON.
#[derive(Debug, Default)]
struct Depth {
    brackets: u32,
    in_text: bool,
    escaped: bool,
}

impl Depth {
    /// Whether an element of the array ends before this byte.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_text {
            let escaped = std::mem::take(&mut self.escaped);
            self.escaped = byte == b'\\' && !escaped;
            self.in_text = byte != b'"' || escaped;
            return false;
        }
        match byte {
            b',' | b']' if self.brackets == 0 => return true,
            b'"' => self.in_text = true,
            b'{' | b'[' => self.brackets = self.brackets.saturating_add(1),
            b'}' | b']' => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        false
    }
}

impl Records for JsonObjects {
    fn next(&mut self) -> Option<Result<ReadEvent, ImportError>> {
        while !self.broken {
            let record = match self.read_object() {
                Ok(None) => return None,
                Ok(Some(())) if self.layout == Layout::Lines && self.object.trim_ascii().is_empty() => {
                    continue;
                }
                Ok(Some(())) => {
                    record::parse(self.object.trim_ascii(), &self.style).map_err(ImportError::Record)
                }
                Err(wrong) => Err(wrong),
            };
            return Some(record);
        }
        None
    }

    fn place(&self) -> String {
        format!("line {}", self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, Result<String, String>)> {
        let source = Source::new(Box::new(std::io::Cursor::new(text.as_bytes().to_vec())), None).unwrap();
        let mut objects = JsonObjects::new(source, TimeStyle::default(), &Parameters::default());
        std::iter::from_fn(|| objects.next().map(|record| (objects.began, record)))
            .map(|(line, record)| match record {
                Ok(made) => (line, Ok(String::from_utf8(made.event.key().to_vec()).unwrap())),
                Err(ImportError::Record(BadField { problem, .. }) | ImportError::File(problem)) => {
                    (line, Err(problem))
                }
            })
            .collect()
    }

    fn object(key: &str) -> String {
        format!(r#"{{"key":"{key}","value":[1,{{"a":"]}},\"["}}],"timestamp":1}}"#)
    }

    #[test]
    fn lines_and_arrays_hold_the_same() {
        let (a, b) = (object("a"), object("b"));
        let both = |lines: [u64; 2]| [(lines[0], Ok("a".to_owned())), (lines[1], Ok("b".to_owned()))];
        assert_eq!(read(&format!("{a}\n\n{b}")), both([1, 3]));
        assert_eq!(read(&format!("\n[\n{a},\n{b}\n]\n")), both([3, 4]));
        assert_eq!(read(&format!("[{a},{b}]")), both([1, 1]));
        assert_eq!(read(" [ ] \n"), []);
        assert_eq!(read(""), []);
    }

    #[test]
    fn an_array_that_is_none_is_broken_at_its_line() {
        let a = object("a");
        for (text, line, word) in [
            (format!("[\n{a}"), 2, "cut off"),
            (format!("[\n{a}\n{a}\n]"), 2, ""),
            (format!("[\n{a}\n]\n{a}"), 4, "follows"),
        ] {
            let records = read(&text);
            let (at, last) = records.last().unwrap();
            assert!(
                *at == line && last.as_ref().is_err_and(|problem| problem.contains(word)),
                "{text}: {records:?}"
            );
        }
        assert!(read("[,]").last().unwrap().1.is_err());
        assert!(read("[1]").last().unwrap().1.is_err());
    }
}
