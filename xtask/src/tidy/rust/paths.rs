//! The names at the root of the crate in a file's paths.

use crate::tidy::rust::{Kind, Source, Token, closing};

/// A path that begins with `crate` or `super`, resolved to its first segment below the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) offset: usize,
    /// A name, or `*`.
    pub(super) name: String,
}

/// All such paths in `source`, the file of the module `module`, except in tests.
pub(super) fn references(source: &Source, module: &[&str]) -> Vec<Reference> {
    let tokens = source.tokens();
    let mut found = Vec::new();
    let mut nested = Nested::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        nested.pass(tokens, at);
        let supers = count_supers(&tokens[at..]);
        // The continuation of the path after `crate::` or all of `super::super::`.
        let rest = at + 2 * supers.max(1);
        if source.is_test(at) {
            at += 1;
        } else if supers > 0 {
            found.extend(through_super(tokens, at, rest, supers, module, nested.depth()));
            at = rest;
        } else if token.text() == "crate" && is_separator(tokens.get(at + 1)) {
            found.extend(heads(tokens, rest));
            at = rest;
        } else {
            at += 1;
        }
    }
    found
}

/// The number of consecutive `super::` here.
fn count_supers(tokens: &[Token]) -> usize {
    let is_super = |pair: &&[Token]| pair[0].text() == "super" && is_separator(pair.get(1));
    tokens.chunks(2).take_while(is_super).count()
}

fn is_separator(token: Option<&Token>) -> bool {
    token.is_some_and(|token| token.kind == Kind::PathSeparator)
}

fn through_super(
    tokens: &[Token],
    at: usize,
    rest: usize,
    supers: usize,
    module: &[&str],
    nested: usize,
) -> Vec<Reference> {
    // `super` first leaves modules inside the file; the rest leads up from the file's own.
    let up = supers.saturating_sub(nested);
    match module.first() {
        Some(&top) if up < module.len() => {
            vec![Reference { offset: tokens[at].offset, name: top.to_owned() }]
        }
        _ => heads(tokens, rest),
    }
}

/// The first names of the path or group of paths at `at`.
fn heads(tokens: &[Token], at: usize) -> Vec<Reference> {
    let head = |token: &Token| Reference { offset: token.offset, name: token.text().to_owned() };
    match tokens.get(at) {
        Some(first) if first.text() == "{" => {
            let mut heads = Vec::new();
            let end = closing(tokens, at);
            let mut next = at + 1;
            while next < end {
                heads.push(head(&tokens[next]));
                next = next_in_group(tokens, next, end);
            }
            heads
        }
        Some(first) if first.is_word() || first.text() == "*" => vec![head(first)],
        // `$crate::$name` in a macro: the name is unknown.
        _ => Vec::new(),
    }
}

/// The beginning of the next path in a group, after the comma that ends the path at `at`.
fn next_in_group(tokens: &[Token], mut at: usize, end: usize) -> usize {
    while at < end {
        match tokens[at].text() {
            "," => return at + 1,
            "{" => at = closing(tokens, at) + 1,
            _ => at += 1,
        }
    }
    end
}

/// The current nesting in modules inside the file.
#[derive(Default)]
struct Nested {
    /// One past each body's last token.
    ends: Vec<usize>,
}

impl Nested {
    fn pass(&mut self, tokens: &[Token], at: usize) {
        self.ends.retain(|&end| at < end);
        let is_body = at >= 2 && tokens[at].text() == "{" && tokens[at - 2].text() == "mod";
        if is_body {
            self.ends.push(closing(tokens, at) + 1);
        }
    }

    fn depth(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(module: &[&str], text: &str) -> Vec<String> {
        references(&Source::parse(text), module).into_iter().map(|reference| reference.name).collect()
    }

    #[test]
    fn groups_give_each_of_their_heads() {
        assert_eq!(names(&["m"], "use crate::{a, b::{c, d}, E as F,};"), ["a", "b", "E"]);
        assert_eq!(names(&["m"], "use {crate::a::b, super::c};"), ["a", "c"]);
        assert_eq!(names(&["m"], "fn f(x: &crate::A) { crate::b::c(x) }"), ["A", "b"]);
    }

    #[test]
    fn super_stays_in_the_module_until_it_leaves_it() {
        assert_eq!(names(&["m", "n"], "use super::x;"), ["m"]);
        assert_eq!(names(&["m", "n"], "use super::super::x;"), ["x"]);
        assert_eq!(names(&["m"], "use super::{x, y::z};"), ["x", "y"]);
        assert_eq!(names(&["m"], "mod i { use super::x; } use super::y;"), ["m", "y"]);
    }

    #[test]
    fn visibility_and_macros_are_no_paths() {
        assert_eq!(
            names(&["m"], "pub(crate) fn f() {} pub(super) fn g() {} m! { $crate::$name }"),
            Vec::<String>::new()
        );
    }
}
