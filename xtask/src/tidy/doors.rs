//! The doors to time and chance: the libraries read a clock and draw randomness only in the files that a
//! table of docs/ARCHITECTURE.md names, and only as it says there.
//!
//! Tests are apart, and so are modules that only the testkit has: their time is a runtime's that stands still.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use super::rust::{Source, is_test_file};
use super::tree::Tree;

const DOCUMENT: &str = "docs/ARCHITECTURE.md";
const HEADING: &str = "## The doors to time and chance";

/// A use of a clock or of randomness: its name in the table, and the tokens by which it is known.
struct Use {
    name: &'static str,
    tokens: &'static [&'static str],
}

const USES: &[Use] = &[
    Use { name: "Instant::now", tokens: &["Instant", "::", "now"] },
    Use { name: "SystemTime::now", tokens: &["SystemTime", "::", "now"] },
    Use { name: "elapsed", tokens: &[".", "elapsed", "("] },
    Use { name: "rand", tokens: &["rand", "::"] },
    Use { name: "fastrand", tokens: &["fastrand"] },
    Use { name: "getrandom", tokens: &["getrandom"] },
    Use { name: "thread_rng", tokens: &["thread_rng"] },
    Use { name: "RandomState", tokens: &["RandomState"] },
    Use { name: "OsRng", tokens: &["OsRng"] },
    Use { name: "SystemRandom", tokens: &["SystemRandom"] },
    Use { name: "KeyPair::generate_for", tokens: &["KeyPair", "::", "generate_for"] },
];

/// A row of the table.
struct Door<'a> {
    line: usize,
    path: &'a str,
    /// Names of uses.
    uses: BTreeSet<&'a str>,
    reason: &'a str,
}

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let Some(doors) = tree.text(DOCUMENT).and_then(table) else {
        return vec![Problem::in_file(DOCUMENT, format!("has no table under `{HEADING}`"))];
    };
    let found = uses(tree);
    let mut problems = Vec::new();
    for (&(path, name), &line) in &found {
        if !doors.iter().any(|door| door.path == path && door.uses.contains(name)) {
            let what = format!(
                "`{name}` is no door's: take time and chance as arguments, or say why not in {DOCUMENT}, \
                 `{}`",
                HEADING.trim_start_matches("## ")
            );
            problems.push(Problem::at(path, line, what));
        }
    }
    problems.extend(doors.iter().flat_map(|door| faults(door, &found)));
    problems
}

/// The faults of a row.
fn faults(door: &Door, found: &Uses) -> Vec<Problem> {
    let unused = door.uses.iter().filter(|name| !found.contains_key(&(door.path, **name)));
    let mut faults: Vec<String> = unused
        .map(|name| format!("{} has no `{name}` any longer: take it out of the table", door.path))
        .collect();
    if door.uses.is_empty() {
        faults.push(format!("the row of {} does not name what is used, between backticks", door.path));
    }
    if door.reason.is_empty() {
        faults.push(format!("the row of {} gives no reason", door.path));
    }
    faults.into_iter().map(|what| Problem::at(DOCUMENT, door.line, what)).collect()
}

/// The rows under the heading; nothing if there is no table.
fn table(document: &str) -> Option<Vec<Door<'_>>> {
    let lines = document.lines().enumerate().skip_while(|(_, line)| *line != HEADING).skip(1);
    let section = lines.take_while(|(_, line)| !line.starts_with("## "));
    let mut rows = section.filter(|(_, line)| line.starts_with('|'));
    // The names of the columns, and the rule below them.
    rows.nth(1)?;
    Some(rows.map(|(number, line)| door(number + 1, line)).collect())
}

fn door(line: usize, row: &str) -> Door<'_> {
    let mut cells = row.trim_matches('|').split('|').map(str::trim);
    let mut cell = || cells.next().unwrap_or_default();
    let path = cell().trim_matches('`');
    let uses = cell().split('`').skip(1).step_by(2).collect();
    Door { line, path, uses, reason: cell() }
}

/// File and name of each use, and the line of the first.
type Uses<'a> = BTreeMap<(&'a str, &'static str), usize>;

fn uses(tree: &Tree) -> Uses<'_> {
    let testkit = testkit_modules(tree);
    let apart = |path: &str| is_test_file(path) || testkit.iter().any(|module| is_in_module(path, module));
    let mut uses = Uses::new();
    for (path, text) in tree.rust_files().filter(|(path, _)| is_library(path) && !apart(path)) {
        let source = Source::parse(text);
        let tokens = source.tokens();
        for at in (0..tokens.len()).filter(|&at| !source.is_test(at)) {
            let begins_here = |one: &&Use| {
                let here = tokens.iter().skip(at).take(one.tokens.len());
                here.map(|token| token.text()).eq(one.tokens.iter().copied())
            };
            for one in USES.iter().filter(begins_here) {
                uses.entry((path, one.name)).or_insert_with(|| source.line(tokens[at].offset));
            }
        }
    }
    uses
}

fn is_library(path: &str) -> bool {
    let library = path.split_once("/src/").map(|(library, _)| library);
    library.is_some_and(|library| {
        library == "aevrion-core"
            || library.starts_with("aevrion-store-")
            || library.starts_with("aevrion-net")
    })
}

/// The modules that exist only with the feature `testkit`, as paths without their endings.
fn testkit_modules(tree: &Tree) -> Vec<String> {
    let mut modules = Vec::new();
    for (path, text) in tree.rust_files().filter(|(path, _)| is_library(path)) {
        let declared = |line: &str| {
            let name = line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')?;
            Some(name.to_owned())
        };
        let pairs = || text.lines().zip(text.lines().skip(1));
        let (with, without): (Vec<_>, Vec<_>) = pairs()
            .filter_map(|(before, line)| Some((before, declared(line)?)))
            .partition(|(before, _)| *before == "#[cfg(feature = \"testkit\")]");
        let only = with.into_iter().filter(|(_, name)| !without.iter().any(|(_, other)| other == name));
        let folder = path.trim_end_matches("lib.rs").trim_end_matches("mod.rs").trim_end_matches(".rs");
        let folder = folder.trim_end_matches('/');
        modules.extend(only.map(|(_, name)| format!("{folder}/{name}")));
    }
    modules
}

fn is_in_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: &str = "aevrion-core/src/wall.rs";
    const ROW: &str = "| `aevrion-core/src/wall.rs` | `SystemTime::now` | the wall clock |\n";
    const READS: &str = "//! Why.\nfn f() { SystemTime::now(); }\n";

    fn document(rows: &str) -> String {
        format!("# A\n\n{HEADING}\n\nText.\n\n| file | what | why |\n|---|---|---|\n{rows}\n## More\n| a |\n")
    }

    fn problems(rows: &str, files: &[(&str, &str)]) -> Vec<String> {
        let document = document(rows);
        let files: Vec<_> = files.iter().copied().chain([(DOCUMENT, document.as_str())]).collect();
        check(&Tree::of(&files)).into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn every_use_outside_a_door_is_found() {
        for code in [
            "tokio::time::Instant::now()",
            "SystemTime::now()",
            "began.elapsed()",
            "rand::random()",
            "fastrand::u8(..)",
            "getrandom::fill(&mut a)",
            "thread_rng()",
            "RandomState::new()",
            "OsRng.next()",
            "SystemRandom::new()",
            "KeyPair::generate_for(a)",
            "map(Instant::now)",
        ] {
            let text = format!("//! Why.\nfn f() {{ {code}; }}\n");
            for library in ["aevrion-core", "aevrion-store-x", "aevrion-net-x"] {
                let found = problems("", &[(&format!("{library}/src/a.rs"), &text)]);
                assert_eq!(found.len(), 1, "{code}: {found:?}");
                assert!(found[0].starts_with(&format!("{library}/src/a.rs:2: ")), "{found:?}");
            }
            assert!(problems("", &[("aevrion-node/src/a.rs", &text)]).is_empty());
        }
    }

    #[test]
    fn a_door_is_open_for_what_it_names_alone() {
        assert!(problems(ROW, &[(WALL, READS)]).is_empty());
        assert_eq!(problems(ROW, &[(WALL, &format!("{READS}fn g() {{ OsRng; }}"))]).len(), 1);
        assert_eq!(problems(ROW, &[(WALL, READS), ("aevrion-core/src/a.rs", READS)]).len(), 1);
    }

    #[test]
    fn a_door_that_is_not_used_is_found() {
        assert!(problems(ROW, &[(WALL, "//! Why.\n")])[0].contains("no `SystemTime::now` any longer"));
        assert!(problems(ROW, &[])[0].starts_with("docs/ARCHITECTURE.md:9: "));
    }

    #[test]
    fn a_door_says_what_and_why() {
        let without_reason = "| `aevrion-core/src/wall.rs` | `SystemTime::now` | |\n";
        assert!(problems(without_reason, &[(WALL, READS)])[0].contains("no reason"));
        let without_use = "| `aevrion-core/src/wall.rs` | the time | a reason |\n";
        assert_eq!(problems(without_use, &[(WALL, READS)]).len(), 2);
    }

    #[test]
    fn a_missing_table_is_a_problem() {
        for document in ["# A\n", HEADING, "## The doors to time and chance\n\n## More\n| a |\n|---|\n"] {
            assert_eq!(check(&Tree::of(&[(DOCUMENT, document)])).len(), 1, "{document}");
        }
    }

    #[test]
    fn tests_comments_and_the_testkit_are_apart() {
        let test = "//! Instant::now\n#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }\n";
        assert!(problems("", &[("aevrion-core/src/a.rs", test)]).is_empty());
        let lib = "//! Why.\n#[cfg(feature = \"testkit\")]\npub mod kit;\npub mod real;\n";
        let with = |file| problems("", &[("aevrion-core/src/lib.rs", lib), (file, READS)]).len();
        assert_eq!(with("aevrion-core/src/kit.rs"), 0);
        assert_eq!(with("aevrion-core/src/kit/deep.rs"), 0);
        assert_eq!(with("aevrion-core/src/kitchen.rs"), 1);
        assert_eq!(with("aevrion-core/src/real.rs"), 1);
        let both = format!("{lib}#[cfg(not(feature = \"testkit\"))]\nmod kit;\n");
        let found = problems("", &[("aevrion-core/src/lib.rs", &both), ("aevrion-core/src/kit.rs", READS)]);
        assert_eq!(found.len(), 1, "it exists without the testkit too");
    }
}
