//! Decodes a file of any encoding to UTF-8.
//!
//! A byte order mark determines the encoding, and is never part of the text. Without one the file is UTF-8 unless the
//! user gives another encoding: guessing would make other keys from the same bytes. Undecodable bytes are an error, not
//! a question mark.

use std::io::{self, BufRead, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

/// Bytes of the longest byte order mark.
const LONGEST_MARK: u64 = 3;

/// Most bytes decoded at once.
const BUFFER: usize = 64 << 10;

/// Decodes `reader` from the encoding that was `named`, or that of its byte order mark.
pub(super) fn decoded(
    mut reader: Box<dyn BufRead + Send>,
    named: Option<&'static Encoding>,
) -> io::Result<Box<dyn BufRead + Send>> {
    let mut head = Vec::new();
    reader.by_ref().take(LONGEST_MARK).read_to_end(&mut head)?;
    let marked = Encoding::for_bom(&head);
    if let (Some((marked, _)), Some(named)) = (marked, named)
        && marked != named
    {
        let (marked, named) = (marked.name(), named.name());
        return Err(io::Error::other(format!(
            "its byte order mark says {marked}, and --encoding says {named}"
        )));
    }
    let (encoding, mark) = marked.unwrap_or((named.unwrap_or(UTF_8), 0));
    if marked.is_none() && named.is_none() && head.contains(&0) {
        return Err(io::Error::other(
            "it begins with zero bytes, as text in UTF-16 does: if it is, say --encoding utf-16le or utf-16be",
        ));
    }
    let mut whole = Cursor::new(head).chain(reader);
    whole.consume(mark);
    if encoding == UTF_8 {
        // The parser reports the place of invalid UTF-8.
        return Ok(Box::new(whole));
    }
    Ok(Box::new(Decoded {
        reader: whole,
        decoder: encoding.new_decoder_without_bom_handling(),
        text: Vec::new(),
        taken: 0,
        line: 1,
        bytes: mark as u64,
        ended: false,
        malformed: None,
    }))
}

/// A reader of UTF-8 over a reader of another encoding.
struct Decoded<R> {
    reader: R,
    decoder: Decoder,
    /// Decoded text; the bytes before `taken` have been read.
    text: Vec<u8>,
    taken: usize,
    line: u64,
    /// Bytes of the file decoded so far.
    bytes: u64,
    ended: bool,
    /// The fault behind the decoded text.
    malformed: Option<String>,
}

impl<R: BufRead> Decoded<R> {
    /// Decodes some more into the empty buffer.
    fn decode(&mut self) -> io::Result<()> {
        let encoded = self.reader.fill_buf()?;
        self.text.resize(BUFFER, 0);
        self.taken = 0;
        let last = encoded.is_empty();
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(encoded, &mut self.text, last);
        self.reader.consume(read);
        self.bytes += read as u64;
        self.text.truncate(written);
        self.line += self.text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if let DecoderResult::Malformed(length, after) = result {
            let at = self.bytes - u64::from(length) - u64::from(after) + 1;
            let (line, name) = (self.line, self.decoder.encoding().name());
            self.malformed = Some(format!("line {line}: byte {at} of the file is not {name}"));
        }
        self.ended = last && matches!(result, DecoderResult::InputEmpty);
        Ok(())
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.taken == self.text.len() && !self.ended {
            // Only now: the text before the fault is valid.
            if let Some(malformed) = &self.malformed {
                return Err(io::Error::other(malformed.clone()));
            }
            self.decode()?;
        }
        Ok(&self.text[self.taken..])
    }

    fn consume(&mut self, bytes: usize) {
        self.taken = (self.taken + bytes).min(self.text.len());
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::encoding;

    fn text(bytes: &[u8], named: Option<&str>) -> io::Result<String> {
        let named = named.map(|label| encoding(label).unwrap());
        // A few bytes at a time, so that characters are split.
        let reader = io::BufReader::with_capacity(3, Cursor::new(bytes.to_vec()));
        let mut text = String::new();
        decoded(Box::new(reader), named)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn marks_are_believed_and_not_part_of_the_text() {
        assert_eq!(text(b"\xEF\xBB\xBFa,b", None).unwrap(), "a,b");
        assert_eq!(text(b"\xFF\xFEa\0\xFC\0", None).unwrap(), "aü");
        assert_eq!(text(b"\xFE\xFF\0a\0\xFC", None).unwrap(), "aü");
        assert_eq!(text(b"", None).unwrap(), "");
        assert_eq!(text(b"a", None).unwrap(), "a");
        let conflict = text(b"\xEF\xBB\xBFa", Some("latin1")).unwrap_err().to_string();
        assert!(conflict.contains("UTF-8") && conflict.contains("windows-1252"), "{conflict}");
    }

    #[test]
    fn what_is_said_is_done() {
        assert_eq!(text(b"Schl\xFCssel \x80", Some("latin1")).unwrap(), "Schlüssel €");
        assert_eq!(text(b"a\0b\0", Some("utf-16le")).unwrap(), "ab");
        let guess = text(b"a\0b\0", None).unwrap_err().to_string();
        assert!(guess.contains("utf-16le"), "{guess}");
        assert!(encoding("utf-16").is_err() && encoding("klingon").is_err());
    }

    #[test]
    fn what_cannot_be_decoded_is_named_by_its_place() {
        let half = text(b"\xFF\xFEa\0\n\0b\0\x00\xD8c\0", None).unwrap_err().to_string();
        assert!(half.contains("line 2") && half.contains("byte 9"), "{half}");
        let cut = text(b"\xFF\xFEa\0b", None).unwrap_err().to_string();
        assert!(cut.contains("byte 5"), "{cut}");
    }

    #[test]
    fn what_is_before_it_is_read() {
        let mut reader =
            decoded(Box::new(Cursor::new(b"a\nb\x81\nc".to_vec())), Some(encoding("euc-kr").unwrap()));
        let reader = reader.as_mut().unwrap();
        let mut text = Vec::new();
        assert!(reader.read_to_end(&mut text).unwrap_err().to_string().contains("line 2"));
        assert_eq!(text, b"a\nb");
        assert!(reader.read_to_end(&mut text).is_err(), "it is read on behind what is malformed");
    }
}
