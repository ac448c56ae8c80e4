//! Packed files: recognised by their first bytes, unpacked as they are read.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const BUFFER: usize = 256 << 10;

/// Most memory that a packed file may request: the largest presets of the usual tools need less.
const MEMORY_KIB: u32 = 128 << 10;

/// Bytes needed to recognise a format.
const TELLING: usize = 6;

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";

/// The compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstandard,
    Bzip2,
    Xz,
}

/// The contents of `bytes`, unpacked if they are packed. The name of the file, if there is one, must not contradict its
/// bytes.
pub(super) fn unpacked(
    bytes: Box<dyn BufRead + Send>,
    path: Option<&Path>,
) -> io::Result<Box<dyn BufRead + Send>> {
    let mut bytes = Ahead::new(bytes);
    let head = bytes.peek(TELLING)?;
    if head.starts_with(ZIP) {
        return Err(io::Error::other(
            "it is a zip archive: unpack it first; of a spreadsheet, export its table as CSV",
        ));
    }
    let packing = Packing::of_bytes(head);
    if let Some(named) = path.and_then(Packing::of_name)
        && packing != Some(named)
    {
        let what = packing.map_or("not packed", Packing::name);
        return Err(io::Error::other(format!(
            "its name says {}, and its first bytes that it is {what}: give it the name that it should have",
            named.name()
        )));
    }
    Ok(match packing {
        None => Box::new(bytes),
        Some(packing) => {
            let inner: Box<dyn Read + Send> = match packing {
                Packing::Gzip | Packing::Zstandard => {
                    Box::new(Members { packing, member: Member::None(bytes) })
                }
                Packing::Bzip2 => Box::new(MultiBzDecoder::new(bytes)),
                Packing::Xz => Box::new(XzReader::new_mem_limit(bytes, true, MEMORY_KIB)),
            };
            Box::new(BufReader::with_capacity(BUFFER, Unpacked { inner, packing }))
        }
    })
}

impl Packing {
    fn of_bytes(head: &[u8]) -> Option<Self> {
        match head {
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Self::Zstandard),
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Self::Zstandard),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstandard),
            "bz2" => Some(Self::Bzip2),
            "xz" => Some(Self::Xz),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstandard => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}

/// Whether a file with these bytes is recognised as packed, or as an archive.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn is_packed(head: &[u8]) -> bool {
    Packing::of_bytes(head).is_some() || head.starts_with(ZIP)
}

/// The name of a file without the extension of its compression.
pub(super) fn bare_name(path: &Path) -> &Path {
    match Packing::of_name(path) {
        Some(_) => path.file_stem().map_or(path, Path::new),
        None => path,
    }
}

/// Adds to errors that the file is packed.
struct Unpacked {
    inner: Box<dyn Read + Send>,
    packing: Packing,
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let name = self.packing.name();
        self.inner.read(buffer).map_err(|error| match error.kind() {
            // One unpacker reports it only in its message.
            kind if kind == io::ErrorKind::UnexpectedEof
                || error.to_string().contains("fill whole buffer") =>
            {
                io::Error::other(format!(
                    "the {name} file ends in the middle: it was cut off, fetch it again"
                ))
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                io::Error::other(format!("the {name} file is damaged: {error}"))
            }
            _ => error,
        })
    }
}

/// A file may consist of several packed members, as `cat` or a parallel packer makes them.
struct Members {
    packing: Packing,
    member: Member,
}

enum Member {
    /// Between two members, or after the last.
    None(Ahead),
    Gzip(GzDecoder<Ahead>),
    Zstandard(Box<StreamingDecoder<Ahead, FrameDecoder>>),
    /// The file is damaged: the rest is unreadable.
    Lost,
}

impl Members {
    /// Begins the next member; false if there is none.
    fn begin(&mut self, mut bytes: Ahead) -> io::Result<bool> {
        self.member = match self.packing {
            Packing::Gzip => {
                // gzip(1) ignores zeros after the end, which tapes and block devices leave.
                bytes.skip_zeros()?;
                match bytes.peek(2)? {
                    [] => Member::None(bytes),
                    [0x1F] | [0x1F, 0x8B] => Member::Gzip(GzDecoder::new(bytes)),
                    _ => return Err(io::Error::other("something that is not gzip follows")),
                }
            }
            _ => loop {
                let head = bytes.peek(8)?;
                match *head {
                    [] => break Member::None(bytes),
                    // A skippable frame gives its own length.
                    [0x50..=0x5F, 0x2A, 0x4D, 0x18, a, b, c, d] => {
                        let length = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
                        if io::copy(&mut bytes.by_ref().take(length), &mut io::sink())? < length {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                    _ if head.len() < 8 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => {
                        let member = StreamingDecoder::new(bytes).map_err(io::Error::other)?;
                        break Member::Zstandard(Box::new(member));
                    }
                }
            },
        };
        Ok(!matches!(self.member, Member::None(_)))
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.member {
                Member::Gzip(member) => member.read(buffer)?,
                Member::Zstandard(member) => member.read(buffer)?,
                Member::None(_) | Member::Lost => 0,
            };
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let bytes = match std::mem::replace(&mut self.member, Member::Lost) {
                Member::None(bytes) => bytes,
                Member::Gzip(member) => member.into_inner(),
                Member::Zstandard(member) => {
                    let (bytes, frame) = member.into_parts();
                    let sum = frame.get_checksum_from_data();
                    if sum.is_some() && sum != frame.get_calculated_checksum() {
                        return Err(io::Error::other("its checksum does not match"));
                    }
                    bytes
                }
                Member::Lost => return Err(io::Error::other("it cannot be read any further")),
            };
            if !self.begin(bytes)? {
                return Ok(0);
            }
        }
    }
}

/// A reader with lookahead.
struct Ahead {
    ahead: Vec<u8>,
    taken: usize,
    inner: Box<dyn BufRead + Send>,
}

impl Ahead {
    fn new(inner: Box<dyn BufRead + Send>) -> Self {
        Self { ahead: Vec::new(), taken: 0, inner }
    }

    /// Peeks at the next `bytes` bytes, or fewer at the end.
    fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        self.ahead.drain(..self.taken);
        self.taken = 0;
        let more = bytes.saturating_sub(self.ahead.len()) as u64;
        self.inner.by_ref().take(more).read_to_end(&mut self.ahead)?;
        Ok(&self.ahead[..bytes.min(self.ahead.len())])
    }

    fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let ends = zeros < bytes.len() || bytes.is_empty();
            self.consume(zeros);
            if ends {
                return Ok(());
            }
        }
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken < self.ahead.len() {
            return Ok(&self.ahead[self.taken..]);
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        if self.taken < self.ahead.len() {
            self.taken += bytes;
        } else {
            self.inner.consume(bytes);
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(text: &str) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// Made by `printf text | xz | base64`: there is no encoder here.
    const XZ: &[u8] = include_bytes!("../../../tests/data/text.xz");

    fn text(bytes: &[u8], name: Option<&str>) -> io::Result<String> {
        // A few bytes at a time, so that the recognised bytes are split.
        let reader = BufReader::with_capacity(3, io::Cursor::new(bytes.to_vec()));
        let mut text = String::new();
        unpacked(Box::new(reader), name.map(Path::new))?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_is_packed_is_unpacked_whatever_it_is_called() {
        for (packed, name) in
            [(gzip("text"), "a.gz"), (zstd("text"), "a.zst"), (bzip2("text"), "a.bz2"), (XZ.to_vec(), "a.xz")]
        {
            for name in [Some(name), Some("a"), None] {
                assert_eq!(text(&packed, name).unwrap(), "text", "{name:?}");
            }
            let other = if name == "a.gz" { "a.xz" } else { "a.gz" };
            assert!(text(&packed, Some(other)).unwrap_err().to_string().contains("its name says"), "{name}");
            let plain = text(b"text", Some(name)).unwrap_err().to_string();
            assert!(plain.contains("not packed"), "{plain}");
        }
        assert_eq!(text(b"text", Some("a.csv")).unwrap(), "text");
        assert_eq!(text(b"", None).unwrap(), "");
        assert!(text(b"PK\x03\x04...", None).unwrap_err().to_string().contains("zip archive"));
    }

    #[test]
    fn several_in_one_file_are_all_read() {
        for of in [gzip, zstd, bzip2] {
            assert_eq!(text(&[of("a"), of(""), of("b")].concat(), None).unwrap(), "ab");
        }
        assert_eq!(text(&[XZ, XZ].concat(), None).unwrap(), "texttext");
        assert_eq!(text(&[&gzip("a")[..], &[0; 5_000]].concat(), None).unwrap(), "a");
        let skipped = [&b"\x51\x2A\x4D\x18\x03\0\0\0xyz"[..], &zstd("a")].concat();
        assert_eq!(text(&skipped, None).unwrap(), "a");
    }

    #[test]
    fn what_is_cut_or_followed_by_something_else_is_an_error() {
        for packed in [gzip("some text"), zstd("some text"), bzip2("some text"), XZ.to_vec()] {
            for cut in 7..packed.len() {
                assert!(text(&packed[..cut], None).is_err(), "{:?} cut at {cut}", Packing::of_bytes(&packed));
            }
        }
        let garbage = text(&[&gzip("a")[..], b"garbage"].concat(), None).unwrap_err().to_string();
        assert!(garbage.contains("the gzip file is damaged"), "{garbage}");
    }
}
