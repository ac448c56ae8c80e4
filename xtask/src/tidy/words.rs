//! Words that mark unfinished work or name the author's machine, and blanks that only make diffs.

use super::Problem;
use super::tree::Tree;

struct Word {
    text: &'static str,
    why: &'static str,
}

// In two pieces each, so that the check does not find this file.
const WORDS: &[Word] = &[
    Word {
        text: concat!("todo", "!("),
        why: "unfinished work: finish it, or leave it out and open an issue",
    },
    Word { text: concat!("unimplemented", "!("), why: "unfinished work: finish it, or return an error" },
    Word { text: concat!("dbg", "!("), why: "left over from debugging" },
    Word { text: concat!("FIX", "ME"), why: "mend it now, or open an issue" },
    Word { text: concat!("XX", "X"), why: "mend it now, or open an issue" },
    Word { text: concat!("#[ig", "nore"), why: "a test that does not run is none: mend or delete it" },
];

/// Prefixes of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Use", "rs/")];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.files() {
        for (number, line) in text.split('\n').enumerate() {
            let faults = faults(line, path.ends_with(".rs"));
            problems.extend(faults.into_iter().map(|what| Problem::at(path, number + 1, what)));
        }
    }
    problems
}

fn faults(line: &str, is_rust: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for word in WORDS.iter().filter(|word| line.contains(word.text)) {
        faults.push(format!("`{}`: {}", word.text, word.why));
    }
    for start in MACHINE_PATHS.iter().filter(|start| names_machine_path(line, start)) {
        faults.push(format!("a path below `{start}` exists on one machine only"));
    }
    if line.ends_with(char::is_whitespace) {
        faults.push("blanks at the end of the line".to_owned());
    }
    if is_rust && line.contains('\t') {
        faults.push("a tab; Rust is indented with blanks".to_owned());
    }
    faults
}

/// Whether the path begins here, and is not part of a longer path or of a URL.
fn names_machine_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn every_word_is_found_in_every_file() {
        for word in WORDS {
            assert_eq!(found("notes.md", &format!("fine\na {} b\n", word.text)), [2], "{}", word.text);
        }
    }

    #[test]
    fn blanks_at_the_end_and_tabs_in_rust_are_found() {
        assert_eq!(found("a.md", "a \nb\t\nc\r\nd"), [1, 2, 3]);
        assert_eq!(found("a.rs", "\tlet a = 1;\n"), [1]);
        assert_eq!(found("Makefile", "\tls\n"), Vec::<usize>::new());
    }

    #[test]
    fn a_path_of_one_machine_is_found_but_no_part_of_another() {
        for start in MACHINE_PATHS {
            assert_eq!(found("a.sh", &format!("cd {start}me\n")), [1]);
            assert_eq!(found("a.sh", &format!("curl localhost{start}me ./a{start}b\n")), Vec::<usize>::new());
        }
    }
}
