//! The file to import: plain or gzip, counted as it is read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use aevrion_core::Parameters;
use flate2::read::MultiGzDecoder;

/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1F, 0x8B];

const BUFFER: usize = 256 << 10;

/// A file being read, unpacked if need be.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    read: Arc<AtomicU64>,
    length: Option<u64>,
}

/// Counts the bytes of the file itself, not those unpacked from it.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(u64::try_from(count).unwrap_or(0), Relaxed);
        Ok(count)
    }
}

impl Source {
    /// Opens a file, or standard input if it is called `-`. Whether it is gzip shows in its first bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (inner, length): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::Error::other("it is a directory"));
            }
            let length = metadata.is_file().then_some(metadata.len());
            (Box::new(file), length)
        };
        Self::new(inner, length)
    }

    /// Begins to read what may be gzip.
    pub(super) fn new(inner: Box<dyn Read + Send>, length: Option<u64>) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let mut counted = Counted { inner, read: Arc::clone(&read) };
        let mut head = Vec::new();
        counted.by_ref().take(2).read_to_end(&mut head)?;
        let zipped = head == GZIP;
        let whole = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(counted));
        let reader: Box<dyn BufRead + Send> = if zipped {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { reader, read, length })
    }

    /// Bytes of the file read so far, for others to look at.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Bytes of the file, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The contents, unpacked.
    pub(super) fn into_reader(self) -> Box<dyn BufRead + Send> {
        self.reader
    }
}

/// Bytes that the longest record of a store can take in a file: JSON writes some characters with six times their bytes.
pub(super) fn longest_record(parameters: &Parameters) -> u64 {
    6 * (u64::from(parameters.largest_data) + u64::from(parameters.longest_key)) + 65_536
}

/// What a failing read means for whoever imports the file.
pub(super) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the gzip file ends in the middle: it was cut off, fetch it again".into()
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("the gzip file is damaged: {error}")
        }
        _ => format!("cannot read on: {error}"),
    }
}
