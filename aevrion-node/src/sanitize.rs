//! Text of other origin, made harmless to a terminal: control characters are escaped.

/// Bytes as text; bytes that are no text are escaped.
pub(crate) fn sanitized_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(text) => text.chars().flat_map(escape_control).collect(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

pub(crate) fn sanitized(text: &str) -> String {
    sanitized_bytes(text.as_bytes())
}

/// The same for several lines.
pub(crate) fn sanitized_lines(text: &str) -> String {
    text.split('\n').map(sanitized).collect::<Vec<_>>().join("\n")
}

fn escape_control(char: char) -> Vec<char> {
    if char.is_control() { char.escape_default().collect() } else { vec![char] }
}
