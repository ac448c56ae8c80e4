//! The subset of Rust that the checks need: the code without comments and literals, its tokens, and its test-only
//! parts.
//!
//! A full parser would be a heavy dependency. It is enough not to take braces, words and paths inside comments and
//! literals for code, and [`mask`](mask()) ensures that.

mod mask;
mod paths;
mod tokens;

use std::ops::Range;

pub(super) use mask::{comments, mask};
pub(super) use paths::{crate_paths, leaves};
pub(super) use tokens::{Kind, Token};

/// A source file with its tokens.
pub(super) struct Source {
    /// Byte offsets at which lines begin.
    line_starts: Vec<usize>,
    tokens: Vec<Token>,
    /// Test-only code, as ranges of tokens.
    tests: Vec<Range<usize>>,
}

impl Source {
    pub(super) fn parse(text: &str) -> Self {
        let masked = mask(text);
        let tokens = tokens::tokens(&masked);
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let tests = test_items(&tokens);
        Self { line_starts, tokens, tests }
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The line, counted from 1, of a byte offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// Whether this token is test-only.
    pub(super) fn is_test(&self, token: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&token))
    }

    /// Lines of test-only items, their attributes included.
    pub(super) fn test_lines(&self) -> usize {
        self.tests
            .iter()
            .filter_map(|range| {
                Some((self.tokens.get(range.start)?, self.tokens.get(range.end.checked_sub(1)?)?))
            })
            .map(|(first, last)| self.line(last.offset) - self.line(first.offset) + 1)
            .sum()
    }
}

/// Whether the whole file at `path` is test-only, by its path.
pub(super) fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "examples"))
}

/// The module of a file in `src`: `tree/pass.rs` is `tree::pass`, `tree/mod.rs` is `tree`, and `lib.rs` the root.
pub(super) fn module_path(inside: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    if matches!(parts[..], ["lib" | "main"]) || matches!(parts.last(), Some(&"mod")) {
        parts.pop();
    }
    parts
}

/// The items after `#[cfg(test)]` or `#[cfg(all(test, …))]`, with that attribute.
fn test_items(tokens: &[Token]) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for start in 0..tokens.len() {
        let inside = items.last().is_some_and(|item| item.contains(&start));
        if !inside && is_test_attribute(&tokens[start..]) {
            items.push(start..item_end(tokens, start));
        }
    }
    items
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    let words: Vec<&str> = tokens.iter().take(7).map(Token::text).collect();
    words.starts_with(&["#", "[", "cfg", "(", "test", ")", "]"])
        || words.starts_with(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// One past the last token of the item at `start`: its `;`, or the brace that closes its body. A part of an item, such
/// as a field, ends with the item at the latest.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token.text() {
            ";" => return at + 1,
            "{" => {
                let after = closing(tokens, at) + 1;
                let is_end = tokens.get(after).is_some_and(|token| token.text() == ";");
                return after + usize::from(is_end);
            }
            "}" => return at,
            "(" | "[" => at = closing(tokens, at) + 1,
            _ => at += 1,
        }
    }
    tokens.len()
}

/// The token that closes the one at `open`, or the last one.
pub(super) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinary_words(text: &str) -> Vec<String> {
        let source = Source::parse(text);
        let ordinary = source.tokens().iter().enumerate().filter(|&(at, _)| !source.is_test(at));
        ordinary.map(|(_, token)| token.text().to_owned()).collect()
    }

    #[test]
    fn test_items_end_where_their_body_does() {
        let text = "a;\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n fn f() { [1; 2]; }\n}\nb;\n";
        assert_eq!(ordinary_words(text), ["a", ";", "b", ";"]);
        assert_eq!(Source::parse(text).test_lines(), 5);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_one_line() {
        assert_eq!(ordinary_words("#[cfg(test)]\nmod tests;\nb;"), ["b", ";"]);
        assert_eq!(ordinary_words("#[cfg(all(test, unix))] use a::{b, c}; d;"), ["d", ";"]);
        assert_eq!(ordinary_words("struct A { #[cfg(test)] b: u8 } c;").join(" "), "struct A { } c ;");
    }

    #[test]
    fn other_conditions_are_not_tests() {
        assert!(ordinary_words("#[cfg(feature = \"testkit\")] mod kit;").contains(&"kit".to_owned()));
        assert!(ordinary_words("#[cfg(not(test))] mod real;").contains(&"real".to_owned()));
    }

    #[test]
    fn lines_count_from_one() {
        let source = Source::parse("a\nb\n");
        assert_eq!((source.line(0), source.line(1), source.line(2)), (1, 1, 2));
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        assert!(is_test_file("tests/readme.rs"));
        assert!(is_test_file("a/src/replica/tests.rs"));
        assert!(!is_test_file("a/src/testkit.rs"));
    }
}
