//! Blanks out comments and literals, byte for byte, so that offsets and lines stay the same.

/// `text` with every comment, string and character literal replaced by blanks.
pub(in crate::tidy) fn mask(text: &str) -> String {
    blank(text, Part::Code)
}

/// `text` with everything but its comments replaced by blanks.
pub(in crate::tidy) fn comments(text: &str) -> String {
    blank(text, Part::Comment)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// `text` with every part but those of the kind `kept` replaced by blanks.
fn blank(text: &str, kept: Part) -> String {
    let bytes = text.as_bytes();
    let mut masked = Vec::with_capacity(bytes.len());
    while masked.len() < bytes.len() {
        let at = masked.len();
        let previous = at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
        let (part, length) = match (skipped(&bytes[at..], previous), bytes[at]) {
            (0, _) => (Part::Code, 1),
            (length, b'/') => (Part::Comment, length),
            (length, _) => (Part::Literal, length),
        };
        let visible = |byte: u8| if part == kept || byte == b'\n' { byte } else { b' ' };
        masked.extend(bytes[at..].iter().take(length).map(|&byte| visible(byte)));
    }
    // Whole characters were replaced, so the text is still UTF-8.
    String::from_utf8_lossy(&masked).into_owned()
}

/// The length of the comment or literal at the beginning of `rest`, else 0.
fn skipped(rest: &[u8], previous: Option<u8>) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'\'', ..] => character(rest),
        [b'r' | b'b' | b'c', ..] if !previous.is_some_and(is_word) => prefixed(rest),
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// From the opening quote to the closing one.
fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal; 0 for a lifetime, which begins alike.
fn character(rest: &[u8]) -> usize {
    let close_from =
        |from: usize| rest.iter().skip(from).position(|&byte| byte == b'\'').map(|at| from + at + 1);
    match rest.get(1) {
        Some(b'\\') => close_from(3).unwrap_or(rest.len()),
        Some(&first) => {
            let width = match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        None => 0,
    }
}

/// Literals with a letter before the quote: `b"…"`, `c"…"`, `b'…'`, `r#"…"#` and `br#"…"#`.
fn prefixed(rest: &[u8]) -> usize {
    match rest {
        [b'b' | b'c', b'"', ..] => 1 + string(&rest[1..]),
        [b'b', b'\'', ..] => 1 + character(&rest[1..]),
        [b'b' | b'c', b'r', ..] => raw_string(rest, 2),
        [b'r', ..] => raw_string(rest, 1),
        _ => 0,
    }
}

/// A raw string whose hashes begin at `hashes_at`; 0 for a raw identifier, and for a word that only begins alike.
fn raw_string(rest: &[u8], hashes_at: usize) -> usize {
    let hashes = rest.iter().skip(hashes_at).take_while(|&&byte| byte == b'#').count();
    let quote = hashes_at + hashes;
    if rest.get(quote) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[quote + 1..];
    body.windows(end.len())
        .position(|window| window == end)
        .map_or(rest.len(), |at| quote + 1 + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let masked = mask(text);
        assert_eq!(masked.len(), text.len(), "offsets must stay");
        assert_eq!(masked.matches('\n').count(), text.matches('\n').count(), "lines must stay");
        masked.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_vanish() {
        assert_eq!(words("a // b {\nc /* d /* e */ \n f */ g"), "a c g");
    }

    #[test]
    fn comments_can_be_kept_alone() {
        let text = "a \"// no\" // yes\nb /* and é */ c";
        let kept = comments(text);
        assert_eq!(kept.len(), text.len(), "offsets must stay");
        assert_eq!(kept.split_whitespace().collect::<Vec<_>>().join(" "), "// yes /* and é */");
    }

    #[test]
    fn strings_vanish_whatever_they_hold() {
        assert_eq!(words(r#"a("{ \" // b") c"#), "a( ) c");
        assert_eq!(words(r##"a(r#"b " { "#, br"\", b"\"{", c"{") d"##), "a( , , , ) d");
        assert_eq!(words("a \"b\n{\" c"), "a c");
    }

    #[test]
    fn characters_vanish_and_lifetimes_stay() {
        assert_eq!(words(r"f('{', '\'', '\\', '\u{7d}', '→', b'{', b'\'') g"), "f( , , , , , , ) g");
        assert_eq!(words("fn f<'a>(x: &'a str, y: &'static str)"), "fn f<'a>(x: &'a str, y: &'static str)");
    }

    #[test]
    fn words_that_begin_like_a_literal_stay() {
        assert_eq!(words("r#type bar b c br attr\"x\""), "r#type bar b c br attr");
    }

    #[test]
    fn an_unclosed_literal_ends_with_the_file() {
        assert_eq!(words("a \"b"), "a");
        assert_eq!(words("a /* b"), "a");
        assert_eq!(words("a r#\"b\""), "a");
        assert_eq!(words("a '\\"), "a");
    }
}
