//! The paths of a file that begin with `crate` or `super`.

use super::{Kind, Source, Token, closing};

/// A path from the root of the crate.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tidy) struct CratePath {
    /// Of the first segment that is written out.
    pub(in crate::tidy) offset: usize,
    /// The last may be `*`.
    pub(in crate::tidy) segments: Vec<String>,
}

impl CratePath {
    /// The name below the root of the crate, or `*`.
    pub(in crate::tidy) fn head(&self) -> Option<&str> {
        self.segments.first().map(String::as_str)
    }
}

/// All such paths in `source`, the file of the module `module`, except in tests. A group gives each of its paths.
pub(in crate::tidy) fn crate_paths(source: &Source, module: &[&str]) -> Vec<CratePath> {
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
            // `super` first leaves modules inside the file; the rest leads up from the file's own.
            let up = supers.saturating_sub(nested.depth());
            expand(tokens, rest, &module[..module.len().saturating_sub(up)], &mut found);
            at = rest;
        } else if token.text() == "crate" && is_separator(tokens.get(at + 1)) {
            expand(tokens, rest, &[], &mut found);
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

/// Adds the path or the group of paths at `at`, which continues the path `from`.
fn expand(tokens: &[Token], at: usize, from: &[&str], found: &mut Vec<CratePath>) {
    for leaf in leaves(tokens, at) {
        let segments = from.iter().copied().chain(leaf.segments.iter().copied());
        let segments: Vec<String> =
            segments.filter(|segment| *segment != "self").map(str::to_owned).collect();
        found.push(CratePath { offset: leaf.offset, segments });
    }
}

/// One path of a group.
pub(in crate::tidy) struct Leaf<'t> {
    pub(in crate::tidy) offset: usize,
    pub(in crate::tidy) segments: Vec<&'t str>,
    /// The name that `as` gives.
    pub(in crate::tidy) alias: Option<&'t str>,
}

/// The paths of the path or group at `at`, as they are written.
pub(in crate::tidy) fn leaves(tokens: &[Token], at: usize) -> Vec<Leaf<'_>> {
    match tokens.get(at) {
        Some(first) if first.text() == "{" => {
            let mut found = Vec::new();
            let end = closing(tokens, at);
            let mut next = at + 1;
            while next < end {
                found.extend(leaves(tokens, next));
                next = next_in_group(tokens, next, end);
            }
            found
        }
        Some(first) if first.is_word() || first.text() == "*" => {
            let mut longer = match is_separator(tokens.get(at + 1)) {
                true => leaves(tokens, at + 2),
                false => Vec::new(),
            };
            for leaf in &mut longer {
                leaf.offset = first.offset;
                leaf.segments.insert(0, first.text());
            }
            if longer.is_empty() {
                let is_renamed = tokens.get(at + 1).is_some_and(|next| next.text() == "as");
                let alias = is_renamed.then(|| tokens.get(at + 2).map(Token::text)).flatten();
                longer.push(Leaf { offset: first.offset, segments: vec![first.text()], alias });
            }
            longer
        }
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

    fn paths(module: &[&str], text: &str) -> Vec<String> {
        let paths = crate_paths(&Source::parse(text), module);
        paths.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_give_each_of_their_paths() {
        assert_eq!(paths(&["m"], "use crate::{a, b::{c, d}, E as F,};"), ["a", "b::c", "b::d", "E"]);
        assert_eq!(paths(&["m"], "use crate::a::{self, *};"), ["a", "a::*"]);
        assert_eq!(paths(&["m"], "use {crate::a::b, super::c};"), ["a::b", "c"]);
        assert_eq!(paths(&["m"], "fn f(x: &crate::A) { crate::b::c(x) }"), ["A", "b::c"]);
        assert_eq!(paths(&["m"], "crate::a::<u8>();"), ["a"]);
    }

    #[test]
    fn super_stays_in_the_module_until_it_leaves_it() {
        assert_eq!(paths(&["m", "n"], "use super::x;"), ["m::x"]);
        assert_eq!(paths(&["m", "n"], "use super::super::x;"), ["x"]);
        assert_eq!(paths(&["m"], "use super::{x, y::z};"), ["x", "y::z"]);
        assert_eq!(paths(&["m"], "mod i { use super::x; } use super::y;"), ["m::x", "y"]);
    }

    #[test]
    fn visibility_and_macros_are_no_paths() {
        let text = "pub(crate) fn f() {} pub(super) fn g() {} m! { $crate::$name }";
        assert_eq!(paths(&["m"], text), Vec::<String>::new());
    }
}
