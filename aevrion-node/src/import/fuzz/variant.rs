//! The same file in another form: packed, in another encoding, or a few bytes at a time. The outcome must be the same.

use std::io::{self, Cursor, Read, Write};

use bzip2::write::BzEncoder;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::cli::ImportArgs;
use crate::import::packed;

/// The form of a file in its second import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// No second import.
    None,
    /// At most this many bytes per read.
    Pieces(usize),
    Gzip,
    /// In two consecutive members.
    GzipTwice,
    Bzip2,
    Zstandard,
    Sixteen,
}

/// A reader that returns a few bytes at a time, and interruptions.
struct Pieces {
    bytes: Cursor<Vec<u8>>,
    most: usize,
    interrupted: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(self.most);
        self.bytes.read(&mut buffer[..most])
    }
}

impl Variant {
    pub(super) const ALL: [Self; 8] = [
        Self::None,
        Self::Pieces(1),
        Self::Pieces(7),
        Self::Gzip,
        Self::GzipTwice,
        Self::Bzip2,
        Self::Zstandard,
        Self::Sixteen,
    ];

    /// The file in this form, if it has one.
    pub(super) fn apply(self, file: &[u8], arguments: &ImportArgs) -> Option<Box<dyn Read + Send>> {
        let pieces = |bytes, most| {
            let pieces = Pieces { bytes: Cursor::new(bytes), most, interrupted: false };
            Some(Box::new(pieces) as Box<dyn Read + Send>)
        };
        match self {
            Self::None => None,
            Self::Pieces(most) => pieces(file.to_vec(), most),
            // Packed files are not unpacked twice, and a name may give the compression.
            _ if packed::is_packed(file) || packed::bare_name(&arguments.file) != arguments.file => None,
            Self::Sixteen => pieces(sixteen(file, arguments)?, usize::MAX),
            _ => pieces(self.packed(file).ok()?, usize::MAX),
        }
    }

    fn packed(self, file: &[u8]) -> io::Result<Vec<u8>> {
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes)?;
            encoder.finish()
        };
        match self {
            Self::Gzip => gzip(file),
            Self::GzipTwice => {
                let (first, second) = file.split_at(file.len() / 2);
                Ok([gzip(first)?, gzip(second)?].concat())
            }
            Self::Bzip2 => {
                let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(file)?;
                encoder.finish()
            }
            Self::Zstandard => Ok(compress_to_vec(file, CompressionLevel::Fastest)),
            Self::None | Self::Pieces(_) | Self::Sixteen => Ok(file.to_vec()),
        }
    }
}

/// The text in UTF-16 with its byte order mark, if it has no mark itself and the flags give no encoding.
fn sixteen(file: &[u8], arguments: &ImportArgs) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(file).ok()?;
    let begins = file.get(..3).unwrap_or(file);
    if arguments.encoding.is_some() || begins.contains(&0) || text.starts_with('\u{FEFF}') {
        return None;
    }
    Some(std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect())
}
