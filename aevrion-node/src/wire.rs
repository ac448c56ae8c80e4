//! How bytes stand in an address, and what both ends of the HTTP interface call things.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::moment::Moment;

/// Where a written event stands in time.
pub(crate) const TIMESTAMP: &str = "aevrion-timestamp";
/// Its id.
pub(crate) const ID: &str = "aevrion-id";
/// The moment before which what is read of the past can no longer change by ordinary lateness.
pub(crate) const STABLE_UNTIL: &str = "aevrion-stable-until";

/// Letters, digits and these stand for themselves. (A dot would, too, but programs resolve `.` and `..` in a path.)
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Any bytes as a segment of a path, or as a value in a query.
pub(crate) fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, ESCAPED).to_string()
}

/// The bytes that a segment of a path stands for.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

/// An address with its query, put together bit by bit.
pub(crate) struct Target {
    text: String,
    pairs: usize,
}

impl Target {
    pub(crate) fn new(path: &str) -> Self {
        Self { text: path.to_owned(), pairs: 0 }
    }

    /// The address of what concerns one key.
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
    use super::*;

    #[test]
    fn every_byte_survives_a_path() {
        let every: Vec<u8> = (0..=255).collect();
        let escaped = escape(&every);
        assert!(escaped.is_ascii() && !escaped.contains(['/', '?', '#', '.', ' ', '+', '&']));
        assert_eq!(unescape(&escaped), every);
    }

    #[test]
    fn targets() {
        let target = Target::of_key("/v1/kv/", b"a/b").with("x", b"&").with_some("y", None::<u8>);
        assert_eq!(target.as_str(), "/v1/kv/a%2Fb?x=%26");
    }
}
