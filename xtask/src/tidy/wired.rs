//! The tests at the top of the repository do run: a folder beside the members belongs to none of them, so cargo
//! knows only those of its files that some member's manifest names as a `[[test]]`.

use std::collections::BTreeSet;

use super::Problem;
use super::manifest::{self, Manifest};
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let members = match manifest::members(tree) {
        Ok(members) => members,
        Err(problem) => return vec![problem],
    };
    let named: BTreeSet<String> = members.iter().flat_map(named_tests).collect();
    let tests = tree.rust_files().filter(|(path, _)| is_test_program(path));
    tests
        .filter(|(path, _)| !named.contains(*path))
        .map(|(path, _)| Problem::in_file(path, "no manifest names it as a [[test]], so it never runs"))
        .collect()
}

/// Files in folders of `tests/` are modules that test programs share.
fn is_test_program(path: &str) -> bool {
    path.strip_prefix("tests/").is_some_and(|name| !name.contains('/'))
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

    #[test]
    fn a_test_that_no_manifest_names_is_found() {
        let member = "[package]\nname = \"a\"\n[[test]]\nname = \"wired\"\npath = \"../tests/wired.rs\"\n";
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"a\"]"),
            ("a/Cargo.toml", member),
            ("a/tests/own.rs", ""),
            ("tests/wired.rs", ""),
            ("tests/common/mod.rs", ""),
            ("tests/idle.rs", ""),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(found, ["tests/idle.rs"]);
    }
}
