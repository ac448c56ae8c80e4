//! All tests run. The tests of the core and of the whole system are modules of one program each, which `main.rs` must
//! name; the system's program is outside the members, so a member's manifest has to name it.

use std::collections::BTreeSet;

use super::Problem;
use super::manifest::{self, Manifest};
use super::tree::Tree;

/// Folders whose tests are one program.
const FOLDERS: [&str; 2] = ["tests", "aevrion-core/tests"];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let members = match manifest::members(tree) {
        Ok(members) => members,
        Err(problem) => return vec![problem],
    };
    let programs: BTreeSet<String> = members.iter().flat_map(named_tests).collect();
    FOLDERS.iter().flat_map(|folder| check_folder(tree, folder, &programs)).collect()
}

fn check_folder(tree: &Tree, folder: &str, programs: &BTreeSet<String>) -> Vec<Problem> {
    let main = format!("{folder}/main.rs");
    let tests: Vec<_> = tree.rust_files().filter(|(path, _)| is_directly_in(folder, path)).collect();
    if tests.is_empty() {
        return Vec::new();
    }
    if !programs.contains(&main) {
        return vec![Problem::in_file(&main, "no manifest names it as a [[test]], so it never runs")];
    }
    let text = tests.iter().find(|(path, _)| *path == main).map_or("", |(_, text)| text);
    let modules: BTreeSet<String> = text.lines().filter_map(module).collect();
    tests
        .iter()
        .filter(|(path, _)| *path != main && !modules.contains(&path[folder.len() + 1..]))
        .map(|(path, _)| Problem::in_file(path, format!("{main} does not name it, so it never runs")))
        .collect()
}

/// Files in subfolders are shared by tests.
fn is_directly_in(folder: &str, path: &str) -> bool {
    let name = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| !name.contains('/'))
}

/// The file of the module declared by a line.
fn module(line: &str) -> Option<String> {
    Some(format!("{}.rs", line.strip_prefix("mod ")?.strip_suffix(';')?))
}

/// The paths of a member's tests, from the root of the repository.
fn named_tests(member: &Manifest) -> Vec<String> {
    let tests = member.table.get("test").and_then(toml::Value::as_array).into_iter().flatten();
    tests.filter_map(|test| test.get("path")?.as_str()).map(|path| resolve(&member.folder, path)).collect()
}

fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manifest: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"a\"]"),
            ("a/Cargo.toml", manifest),
            ("a/tests/own.rs", ""),
            ("tests/main.rs", "mod support;\n\nmod wired;\n"),
            ("tests/wired.rs", ""),
            ("tests/support/mod.rs", ""),
            ("tests/idle.rs", ""),
        ]);
        check(&tree).into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn a_test_that_nobody_names_is_found() {
        let package = "[package]\nname = \"a\"\n";
        let test = "[[test]]\nname = \"system\"\npath = \"../tests/main.rs\"\n";
        assert_eq!(found(&format!("{package}{test}")), ["tests/idle.rs"]);
        assert_eq!(found(package), ["tests/main.rs"]);
    }
}
