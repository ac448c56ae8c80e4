//! The names at the root of a crate, read from its `lib.rs`: its modules, and re-exports from them.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::rust::{Kind, Source, Token, closing};

#[derive(Debug, Default)]
pub(super) struct RootNames {
    modules: BTreeSet<String>,
    /// Name at the root to the first segment of its origin.
    exported: BTreeMap<String, String>,
}

/// The origin of a name at the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Home<'a> {
    Module(&'a str),
    /// Another crate.
    Elsewhere,
    Unknown,
}

impl RootNames {
    pub(super) fn parse(lib: &Source) -> Self {
        let tokens = lib.tokens();
        let mut names = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token.text() {
                _ if lib.is_test(at) => {}
                "mod" => names.modules.extend(tokens.get(at + 1).map(|name| name.text().to_owned())),
                "use" => {
                    let length = tokens[at..].iter().position(|token| token.text() == ";").unwrap_or(0);
                    names.import(&tokens[at + 1..=at + length]);
                    at += length;
                }
                // Bodies contain no names of the root.
                "{" => at = closing(tokens, at),
                _ => {}
            }
            at += 1;
        }
        names
    }

    /// Adds the names of `use …;`, given without the `use`.
    fn import(&mut self, tokens: &[Token]) {
        let origin = tokens.iter().find(|token| token.is_word() && !matches!(token.text(), "crate" | "self"));
        let Some(origin) = origin else { return };
        for pair in tokens.windows(2) {
            let (name, next) = (&pair[0], &pair[1]);
            // `A as B` adds B.
            let is_last = next.kind != Kind::PathSeparator && next.text() != "as";
            if name.is_word() && is_last && !matches!(name.text(), "as" | "self") {
                self.exported.insert(name.text().to_owned(), origin.text().to_owned());
            }
        }
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    pub(super) fn home(&self, name: &str) -> Home<'_> {
        let origin = self.exported.get(name).map_or(name, String::as_str);
        match self.modules.get(origin) {
            Some(module) => Home::Module(module),
            None if self.exported.contains_key(name) => Home::Elsewhere,
            None => Home::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_traced_to_their_modules() {
        let lib = "pub mod a;\nmod b;\npub use a::{One, deep::{Two as Three, Four}};\nuse self::b::Five;\n\
            pub use bytes::Bytes;\nmacro_rules! m { () => { mod no; } }\n#[cfg(test)]\nmod tests { use b::Six; }";
        let names = RootNames::parse(&Source::parse(lib));
        assert_eq!(names.modules().collect::<Vec<_>>(), ["a", "b"]);
        for (name, module) in [("a", "a"), ("One", "a"), ("Three", "a"), ("Four", "a"), ("Five", "b")] {
            assert_eq!(names.home(name), Home::Module(module), "{name}");
        }
        assert_eq!(names.home("Bytes"), Home::Elsewhere);
        for name in ["Two", "Six", "deep", "no"] {
            assert_eq!(names.home(name), Home::Unknown, "{name}");
        }
    }
}
