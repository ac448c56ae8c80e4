//! The query of a URL: every name once and known, every value any bytes.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;

use crate::problem::Problem;
use crate::wire::unescape;

/// The pairs of a query, taken out one by one; the rest is unknown.
pub(super) struct Query {
    pairs: Vec<(String, Vec<u8>)>,
    asked: Vec<&'static str>,
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // As in forms: a plus is a blank.
            let decoded = |text: &str| unescape(&text.replace('+', " "));
            let name = String::from_utf8(decoded(name)?)
                .map_err(|_| Problem::bad_request(format!("the name `{name}` is not text in UTF-8")))?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Problem::bad_request(format!("`{name}` is there twice: give it once")));
            }
            pairs.push((name, decoded(value)?));
        }
        Ok(Self { pairs, asked: Vec::new() })
    }

    /// The bytes of a parameter.
    pub(super) fn bytes(&mut self, name: &'static str) -> Option<Bytes> {
        self.asked.push(name);
        let at = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.swap_remove(at).1.into())
    }

    /// The text of a parameter.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let text = self.bytes(name).map(|bytes| String::from_utf8(bytes.into()));
        text.transpose().map_err(|_| Problem::bad_request(format!("`{name}` is not text in UTF-8")))
    }

    /// The parsed text of a parameter.
    pub(super) fn get<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Problem::bad_request(format!("{name}={text}: {error}")))
    }

    /// Whether a switch is on: `?name` or `?name=true`.
    pub(super) fn switch(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => {
                Err(Problem::bad_request(format!("{name}={other}: give {name}=true, or leave it out")))
            }
        }
    }

    /// The limit of a page.
    pub(super) fn limit(&mut self) -> Result<Option<usize>, Problem> {
        match self.get("limit")? {
            Some(0) => Err(Problem::bad_request("limit=0: a page has at least one")),
            limit => Ok(limit),
        }
    }

    /// Refuses remaining parameters: a misspelt name is worse than none.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let known = match &self.asked[..] {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        Err(Problem::bad_request(format!("`{name}` is not known here: this address takes {known}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_any_bytes_and_names_are_known() {
        let mut query = Query::parse(Some("prefix=%FF%2F+a&limit=3&")).unwrap();
        assert_eq!(query.bytes("prefix").unwrap(), &b"\xFF/ a"[..]);
        assert_eq!(query.limit().unwrap(), Some(3));
        assert!(!query.switch("reverse").unwrap());
        query.finish().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |query: &str| {
            let parsed = Query::parse(Some(query)).and_then(|mut query| {
                query.limit()?;
                query.switch("reverse")?;
                query.finish()
            });
            parsed.unwrap_err().detail
        };
        for (query, word) in [
            ("limit=1&limit=2", "twice"),
            ("limit=0", "at least one"),
            ("limit=many", "limit=many"),
            ("limit=%FF", "UTF-8"),
            ("reverse=perhaps", "reverse=true"),
            ("prefx=a", "limit, reverse"),
            ("limit=%ZZ", "`%ZZ` at byte 0"),
            ("%limit=1", "`%li` at byte 0"),
            ("%FF=1", "`%FF`"),
        ] {
            assert!(refused(query).contains(word), "{query}: {}", refused(query));
        }
    }
}
