//! Names that have been replaced by the terms of the field do not come back: one thing has one name. A term that is a
//! name in code exists there.
//!
//! The changelog is apart: it names things as they were called at the time.

use std::collections::BTreeSet;

use super::Problem;
use super::rust::{comments, mask};
use super::tree::Tree;

/// Where a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In code, comments and documents, and as the name of a file.
    Everywhere,
    /// As a module (in a path, after `mod`, or alone between backticks), and as the name of a file: the word itself is
    /// plain English.
    Module,
    /// As a name in code: the word itself is plain English.
    Code,
    /// In comments and documents, in the singular and the plural.
    Text,
}

struct OldName {
    old: &'static str,
    term: &'static str,
    place: Place,
}

const fn name(old: &'static str, term: &'static str) -> OldName {
    OldName { old, term, place: Place::Everywhere }
}

const fn module(old: &'static str, term: &'static str) -> OldName {
    OldName { old, term, place: Place::Module }
}

const fn code(old: &'static str, term: &'static str) -> OldName {
    OldName { old, term, place: Place::Code }
}

const fn text(old: &'static str, term: &'static str) -> OldName {
    OldName { old, term, place: Place::Text }
}

const OLD_NAMES: &[OldName] = &[
    name("Desk", "RepairCoordinator"),
    name("Holdings", "ReplicaView"),
    name("Terms", "AgentConfig"),
    name("Halt", "AgentError"),
    name("NotHex", "ParseHexError"),
    name("NotACursor", "ParseCursorError"),
    name("WantedParameters", "ParameterOverrides"),
    name("Tips", "LatestCache"),
    name("Gate", "ConnectionPlaces"),
    name("JoinDesk", "JoinServer"),
    name("Ending", "CloseReason"),
    name("Heard", "LastReceived"),
    name("Awaited", "PendingReply"),
    name("Patience", "StallTimeouts"),
    name("NodeAddress", "NodePosition"),
    name("SyncOptions", "ReplicationOptions"),
    name("Tally", "RejectionCounters"),
    name("Tile", "NodeDigest"),
    name("DIGEST_TILES", "DIGEST_NODES"),
    name("LOT_EVENTS", "COMMIT_EVENTS"),
    name("LOT_BYTES", "COMMIT_BYTES"),
    name("sync_over", "replicate_over"),
    module("planted", "fault_injection"),
    code("Fresh", "NewEvent"),
    code("greet", "handshake"),
    text("lot", "commit batch"),
    text("desk", "repair coordinator"),
    text("holding", "replica view"),
    text("tile", "node digest"),
];

/// Files that name old names on purpose.
const APART: [&str; 2] = ["CHANGELOG.md", TABLE];

/// This table.
const TABLE: &str = "xtask/src/tidy/old_names.rs";

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let judged = tree.files().filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".md"));
    let judged = judged.filter(|(path, _)| !APART.contains(path));
    judged.flat_map(|(path, text)| in_file(path, text)).chain(gone_terms(tree)).collect()
}

/// Terms for names in code that are no longer in code themselves. A tree without the table is an input of a test.
fn gone_terms(tree: &Tree) -> Vec<Problem> {
    if tree.text(TABLE).is_none() {
        return Vec::new();
    }
    let others = tree.rust_files().filter(|(path, _)| *path != TABLE);
    let code: Vec<String> = others.map(|(_, text)| mask(text)).collect();
    let known: BTreeSet<&str> = code.iter().flat_map(|code| words(code)).map(|(_, word)| word).collect();
    let terms = OLD_NAMES.iter().filter(|old| old.place != Place::Text);
    let gone = terms.filter(|old| !known.contains(old.term));
    gone.map(|old| {
        Problem::in_file(TABLE, format!("`{}`, the term for `{}`, is no name in code", old.term, old.old))
    })
    .collect()
}

fn in_file(path: &str, text: &str) -> Vec<Problem> {
    let mut problems: Vec<Problem> = old_file_name(path).into_iter().collect();
    let (code, prose) = match path.ends_with(".rs") {
        true => (mask(text), comments(text)),
        false => (String::new(), text.to_owned()),
    };
    for (number, (code, prose)) in
        code.split('\n').chain(std::iter::repeat("")).zip(prose.split('\n')).enumerate()
    {
        let refused = |old: &&OldName| old.stands_in(code, Part::Code) || old.stands_in(prose, Part::Prose);
        let refused = OLD_NAMES.iter().filter(refused);
        problems.extend(refused.map(|old| Problem::at(path, number + 1, old.message())));
    }
    problems
}

fn old_file_name(path: &str) -> Option<Problem> {
    let mut parts = path.split('/').map(|part| part.trim_end_matches(".rs").trim_end_matches(".md"));
    let old = parts.find_map(|part| OLD_NAMES.iter().find(|old| old.file_name().as_deref() == Some(part)))?;
    Some(Problem::in_file(path, old.message()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Prose,
}

impl OldName {
    fn message(&self) -> String {
        format!("`{}` is an old name: the term is `{}`", self.old, self.term)
    }

    /// The name of a file that is named after it, without the ending.
    fn file_name(&self) -> Option<String> {
        let mut file = String::new();
        for (at, letter) in self.old.char_indices() {
            if at > 0 && letter.is_uppercase() && !file.ends_with('_') {
                file.push('_');
            }
            file.extend(letter.to_lowercase());
        }
        let is_constant = !self.old.chars().any(char::is_lowercase);
        (self.place != Place::Text && !is_constant).then_some(file)
    }

    fn stands_in(&self, line: &str, part: Part) -> bool {
        match (self.place, part) {
            (Place::Everywhere, _) => words(line).any(|(_, word)| word == self.old),
            (Place::Module, _) => words(line).any(|(at, word)| word == self.old && is_module(line, at, word)),
            (Place::Code, Part::Code) => words(line).any(|(_, word)| word == self.old),
            (Place::Code, Part::Prose) | (Place::Text, Part::Code) => false,
            (Place::Text, Part::Prose) => words(line).any(|(_, word)| {
                let word = word.to_lowercase();
                word == self.old || word.strip_suffix('s') == Some(self.old)
            }),
        }
    }
}

/// The words of a line with their offsets. A name with underscores is one word.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let words = line.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(move |word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

fn is_module(line: &str, at: usize, word: &str) -> bool {
    let (before, after) = (&line[..at], &line[at + word.len()..]);
    let quoted = before.ends_with('`') && after.starts_with('`');
    quoted || before.ends_with("::") || after.starts_with("::") || before.ends_with("mod ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn every_old_name_is_found_with_its_term() {
        for old in OLD_NAMES {
            let message = format!("`{}` is an old name: the term is `{}`", old.old, old.term);
            if old.place == Place::Code {
                assert_eq!(
                    found("a/b.rs", &format!("\nfn {}() {{}}\n", old.old)),
                    [format!("a/b.rs:2: {message}")]
                );
                continue;
            }
            let problems = found("a/b.md", &format!("fine\na `{}` b\n", old.old));
            assert!(problems.contains(&format!("a/b.md:2: {message}")), "{problems:?}");
            let comment = found("a/b.rs", &format!("//! About `{}`.\n", old.old));
            assert!(!comment.is_empty(), "{}", old.old);
        }
    }

    #[test]
    fn a_name_is_found_in_code_but_not_as_a_part_or_in_a_text_for_users() {
        assert_eq!(found("a.rs", "//! Why.\nstruct Desk;\nfn f() { sync_over() }\n").len(), 2);
        assert!(
            found("a.rs", "struct Desktop;\nconst A: &str = \"Desk\";\nfn no_sync_over() {}\n").is_empty()
        );
    }

    #[test]
    fn a_plain_word_is_refused_only_where_it_is_the_old_name() {
        assert_eq!(found("a.rs", "use crate::planted::Bug;").len(), 1);
        assert_eq!(found("a.rs", "mod planted;").len(), 1);
        assert!(found("a.rs", "let planted = 1; // A planted bug.").is_empty());
        assert_eq!(found("a.rs", "f(); // Tiles of one lot.\n").len(), 2);
        assert!(found("a.rs", "fn holdings() { let lot = 1; }").is_empty());
        assert_eq!(found("a.rs", "fn greet() {}\nstruct Fresh;").len(), 2);
        assert!(found("a.rs", "// They greet.\nfn f() { greeting(\"greet\") }").is_empty());
    }

    #[test]
    fn a_term_that_is_gone_is_not_recommended() {
        let terms: Vec<&str> = OLD_NAMES.iter().map(|old| old.term).collect();
        let gone = |code: &str| check(&Tree::of(&[(TABLE, ""), ("a.rs", code)]));
        assert_eq!(gone(&terms.join(";")), []);
        let without: Vec<&str> = terms.iter().copied().filter(|term| *term != "AgentError").collect();
        let found = gone(&format!("{}; // AgentError", without.join(";")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains("`AgentError`, the term for `Halt`"), "{found:?}");
    }

    #[test]
    fn files_are_not_named_so_either() {
        assert_eq!(found("a/src/not_a_cursor.rs", "").len(), 1);
        assert_eq!(found("a/src/planted/mod.rs", "").len(), 1);
        assert!(found("a/src/planting.rs", "").is_empty());
    }

    #[test]
    fn the_changelog_names_things_as_they_were() {
        assert!(found("CHANGELOG.md", "The Desk is gone.\n").is_empty());
        assert!(found("notes.txt", "The Desk is gone.\n").is_empty());
    }
}
