//! Types and signatures in one line, with the blanks that rustfmt would set.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

/// Words after which a bracket or an operand is set apart.
const WORDS_BEFORE_A_TYPE: [&str; 7] = ["as", "const", "dyn", "impl", "in", "mut", "where"];

pub(super) fn in_one_line(syntax: &impl ToTokens) -> String {
    let mut atoms = Vec::new();
    flatten(syntax.to_token_stream(), &mut atoms);
    let mut line = String::new();
    let mut before = "";
    for (at, atom) in atoms.iter().enumerate() {
        // A comma after the last element stands there only for lines of their own.
        let is_trailing =
            atom == "," && atoms.get(at + 1).is_some_and(|next| is_closing(next) && next != "}");
        if is_trailing && !is_tuple_of_one(&atoms[..at]) {
            continue;
        }
        if !before.is_empty() && is_apart(before, atom) {
            line.push(' ');
        }
        line.push_str(atom);
        before = atom;
    }
    line
}

/// Brackets become atoms, and joined punctuation becomes one.
fn flatten(stream: TokenStream, atoms: &mut Vec<String>) {
    let mut joined = String::new();
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                atoms.push(open.to_owned());
                flatten(group.stream(), atoms);
                atoms.push(close.to_owned());
            }
            TokenTree::Punct(punct) => {
                joined.push(punct.as_char());
                if punct.spacing() == Spacing::Alone || punct.as_char() == '<' {
                    atoms.push(std::mem::take(&mut joined));
                }
            }
            other => atoms.push(format!("{}{other}", std::mem::take(&mut joined))),
        }
    }
    atoms.retain(|atom| !atom.is_empty());
}

/// `(T,)`: the last parenthesis that is open holds no other comma.
fn is_tuple_of_one(atoms: &[String]) -> bool {
    let mut depth = 0;
    for (at, atom) in atoms.iter().enumerate().rev() {
        match atom.as_str() {
            ")" | "]" | "}" | ">" => depth += 1,
            "[" | "{" | "<" if depth == 0 => return false,
            "(" if depth == 0 => {
                return !at.checked_sub(1).is_some_and(|name| is_name(&atoms[name]) || atoms[name] == ">");
            }
            "(" | "[" | "{" | "<" => depth -= 1,
            "," if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

fn is_apart(before: &str, atom: &str) -> bool {
    match (before, atom) {
        ("{", _) | (_, "{" | "}" | "=" | "+" | "->" | "==") => true,
        (_, ")" | "]" | ">" | "," | ";" | ":" | "::") => false,
        ("(" | "[" | "<" | "&" | "*" | "::" | "?" | "!" | "..", _) => false,
        (_, "(" | "[" | "<") => !is_name(before) && !matches!(before, ">" | ")" | "]"),
        _ => true,
    }
}

/// A word that takes arguments or parameters in brackets.
fn is_name(atom: &str) -> bool {
    atom.starts_with(|c: char| c.is_alphanumeric() || c == '_') && !WORDS_BEFORE_A_TYPE.contains(&atom)
}

fn is_closing(atom: &str) -> bool {
    matches!(atom, ")" | "]" | "}" | ">")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let Ok(kind) = syn::parse_str::<syn::Type>(text) else { panic!("{text} is no type") };
        in_one_line(&kind)
    }

    #[test]
    fn types_are_set_as_rustfmt_sets_them() {
        for text in [
            "&'a mut [u8; 32]",
            "Result<Option<Arc<dyn Connection>>, StoreError>",
            "Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + 'static>",
            "<Self as View>::Rows",
            "for<'a> fn(&'a str, &mut dyn Read) -> (u8, [u8; LEN])",
            "impl Into<Vec<u8>> + ?Sized",
            "Pin<Box<dyn Future<Output = ()> + Send>>",
            "(u64,)",
            "*const u8",
            "&(dyn Any + Send)",
            "[u8; { N + 1 }]",
        ] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn lines_are_joined() {
        assert_eq!(line("Result<\n    (\n u8,\n u8,\n ),\n    Error,\n>"), "Result<(u8, u8), Error>");
    }
}
