//! The part that both ends of the HTTP interface share: the escaping of bytes in URLs, names of headers, and limits.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::moment::Moment;

/// The default port of the HTTP interface.
pub(crate) const HTTP_PORT: u16 = 7387;

/// The longest wait in one request: a client that waits longer asks again.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The timestamp of a written event.
pub(crate) const TIMESTAMP: &str = "aevrion-timestamp";
/// The id of a written event.
pub(crate) const ID: &str = "aevrion-id";
/// The time before which an answer about the past cannot change any more by ordinary lateness.
pub(crate) const STABLE_UNTIL: &str = "aevrion-stable-until";

/// Letters, digits and these are not escaped. (A dot would need no escape, but programs resolve `.` and `..` in a
/// path.)
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Escapes any bytes as a segment of a path, or as a value in a query.
pub(crate) fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, ESCAPED).to_string()
}

/// A percent sign not followed by two hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{escape}` at byte {at} of `{text}` is no escape: two hexadecimal digits follow a percent sign, which itself is %25"
)]
pub(crate) struct MalformedEscape {
    text: String,
    at: usize,
    escape: String,
}

/// Checks every escape of a text.
pub(crate) fn check_escapes(text: &str) -> Result<(), MalformedEscape> {
    let is_escape = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    match text.match_indices('%').find(|(at, _)| !is_escape(*at)) {
        None => Ok(()),
        Some((at, _)) => {
            let escape = text[at..].chars().take(3).collect();
            Err(MalformedEscape { text: text.to_owned(), at, escape })
        }
    }
}

/// The bytes of an escaped path segment or query value.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, MalformedEscape> {
    check_escapes(text)?;
    Ok(percent_decode(text.as_bytes()).collect())
}

/// The key at the end of a path below `prefix`: any bytes.
pub(crate) fn key_below(path: &str, prefix: &str) -> Result<Vec<u8>, MalformedEscape> {
    unescape(path.strip_prefix(prefix).unwrap_or_default())
}

/// A builder of a path with its query.
pub(crate) struct Target {
    text: String,
    pairs: usize,
}

impl Target {
    pub(crate) fn new(path: &str) -> Self {
        Self { text: path.to_owned(), pairs: 0 }
    }

    /// The URL of a key below `path`.
    pub(crate) fn of_key(path: &str, key: &[u8]) -> Self {
        Self::new(&format!("{path}{}", escape(key)))
    }

    pub(crate) fn with(mut self, name: &str, value: &[u8]) -> Self {
        self.text.push(if self.pairs == 0 { '?' } else { '&' });
        self.pairs += 1;
        self.text.push_str(&format!("{name}={}", escape(value)));
        self
    }

    pub(crate) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string().as_bytes()),
            None => self,
        }
    }

    pub(crate) fn at(self, at: Option<Moment>) -> Self {
        self.with_some("at", at)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_survives_a_path() {
        let every: Vec<u8> = (0..=255).collect();
        let escaped = escape(&every);
        assert!(escaped.is_ascii() && !escaped.contains(['/', '?', '#', '.', ' ', '+', '&']));
        assert_eq!(unescape(&escaped), Ok(every));
    }

    #[test]
    fn what_is_no_escape_is_named_with_its_place() {
        for (text, at, escape) in
            [("%ZZ", 0, "%ZZ"), ("a%4", 1, "%4"), ("%41%", 3, "%"), ("é%é", 2, "%é"), ("%%41", 0, "%%4")]
        {
            let malformed = MalformedEscape { text: text.to_owned(), at, escape: escape.to_owned() };
            assert_eq!(unescape(text), Err(malformed));
        }
        assert_eq!(unescape("%4a%4A+"), Ok(b"JJ+".to_vec()));
    }

    proptest! {
        #[test]
        fn any_bytes_round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&escape(&bytes)), Ok(bytes));
        }

        /// An escaped path stands for one key: each of its bytes for itself, or three of them for one.
        #[test]
        fn any_text_is_decoded_whole_or_refused(text in "([%aF0Z/é]|%[0-9a-fA-F]{2}){0,12}") {
            let mut decoded = Vec::new();
            let mut rest = text.as_bytes();
            let outcome = loop {
                match rest {
                    [] => break Some(decoded),
                    [b'%', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                        let digits = [*high, *low];
                        let digits = std::str::from_utf8(&digits).unwrap();
                        decoded.push(u8::from_str_radix(digits, 16).unwrap());
                        rest = behind;
                    }
                    [b'%', ..] => break None,
                    [byte, behind @ ..] => {
                        decoded.push(*byte);
                        rest = behind;
                    }
                }
            };
            prop_assert_eq!(unescape(&text).ok(), outcome);
        }
    }

    #[test]
    fn targets() {
        let target = Target::of_key("/v1/kv/", b"a/b").with("x", b"&").with_some("y", None::<u8>);
        assert_eq!(target.as_str(), "/v1/kv/a%2Fb?x=%26");
    }
}
