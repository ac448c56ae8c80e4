//! A file to import: opened, its bytes counted, unpacked, and decoded to text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use aevrion_core::Parameters;
use encoding_rs::Encoding;

use super::decoding::decoded;
use super::packed::unpacked;

const BUFFER: usize = 256 << 10;

/// Small files need no large buffer.
const SMALL_BUFFER: usize = 8 << 10;

/// A file being read.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    read: Arc<AtomicU64>,
    length: Option<u64>,
}

/// Counts the bytes of the file itself, not the unpacked ones.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Some unpackers and parsers do not retry interrupted reads.
        let count = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.read.fetch_add(u64::try_from(count).unwrap_or(0), Relaxed);
        Ok(count)
    }
}

impl Source {
    /// Opens a file, or standard input if it is called `-`.
    pub(super) fn open(path: &Path, encoding: Option<&'static Encoding>) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(Box::new(io::stdin()), encoding);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::other("it is a directory"));
        }
        let length = metadata.is_file().then_some(metadata.len());
        Self::begin(Box::new(file), Some(path), encoding, length)
    }

    /// Reads from a source without a name.
    pub(super) fn new(inner: Box<dyn Read + Send>, encoding: Option<&'static Encoding>) -> io::Result<Self> {
        Self::begin(inner, None, encoding, None)
    }

    /// Reads from a source of this name.
    pub(super) fn begin(
        inner: Box<dyn Read + Send>,
        path: Option<&Path>,
        encoding: Option<&'static Encoding>,
        length: Option<u64>,
    ) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner, read: Arc::clone(&read) };
        let most = length.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BUFFER);
        let packed = Box::new(BufReader::with_capacity(most.clamp(SMALL_BUFFER, BUFFER), counted));
        Ok(Self { reader: decoded(unpacked(packed, path)?, encoding)?, read, length })
    }

    /// Bytes of the file read so far, shared with other threads.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Bytes of the file, if known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The contents, unpacked and decoded.
    pub(super) fn into_reader(self) -> Box<dyn BufRead + Send> {
        self.reader
    }
}

/// Bytes of the longest possible record in a file: JSON writes some characters in six times their bytes.
pub(super) fn longest_record(parameters: &Parameters) -> u64 {
    6 * (u64::from(parameters.largest_data) + u64::from(parameters.longest_key)) + 65_536
}

/// The error message of a failed read.
pub(super) fn explain(error: &io::Error) -> String {
    match error.kind() {
        // An error made here, about the file.
        io::ErrorKind::Other => error.to_string(),
        _ => format!("cannot read on: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Interrupts every other read.
    struct Interrupted<R>(R, bool);

    impl<R: Read> Read for Interrupted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(buffer) }
        }
    }

    #[test]
    fn a_signal_ends_nothing() {
        let file = Interrupted(Cursor::new(b"a\0b\0".to_vec()), false);
        let mut reader =
            Source::new(Box::new(file), crate::cli::import::encoding("utf-16le").ok()).unwrap().into_reader();
        let mut text = Vec::new();
        while let [first, ..] = reader.fill_buf().unwrap() {
            text.push(*first);
            reader.consume(1);
        }
        assert_eq!(text, b"ab");
    }
}
