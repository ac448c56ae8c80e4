//! The tokens of masked source text.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tidy) enum Kind {
    Word,
    /// `::`, the only relevant mark of two characters.
    PathSeparator,
    Mark,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tidy) struct Token {
    pub(in crate::tidy) kind: Kind,
    /// In bytes from the beginning of the file.
    pub(in crate::tidy) offset: usize,
    text: String,
}

impl Token {
    pub(in crate::tidy) fn text(&self) -> &str {
        &self.text
    }

    pub(in crate::tidy) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }
}

pub(super) fn tokens(masked: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = masked;
    while let Some(first) = rest.chars().next() {
        let offset = masked.len() - rest.len();
        let (kind, length) = match first {
            _ if is_word(first) => (Kind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            ':' if rest.starts_with("::") => (Kind::PathSeparator, 2),
            _ => (Kind::Mark, first.len_utf8()),
        };
        let (text, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(Token { kind, offset, text: text.to_owned() });
        }
        rest = after;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_marks_and_separators() {
        let found = tokens("use a_1::{b};");
        let texts: Vec<&str> = found.iter().map(Token::text).collect();
        assert_eq!(texts, ["use", "a_1", "::", "{", "b", "}", ";"]);
        assert_eq!(found[1].offset, 4);
        assert_eq!(
            (found[1].kind, found[2].kind, found[3].kind),
            (Kind::Word, Kind::PathSeparator, Kind::Mark)
        );
    }
}
