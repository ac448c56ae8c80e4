//! Settings that every member inherits from the workspace: versions and lints.
//!
//! A version in a member would drift from the others, and without `lints.workspace` no lint applies to a member, not
//! even the ban of `unsafe`.

use super::Problem;
use super::manifest::{self, Manifest};
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    match manifest::members(tree) {
        Ok(members) => members.iter().flat_map(member_problems).collect(),
        Err(problem) => vec![problem],
    }
}

fn member_problems(member: &Manifest) -> Vec<Problem> {
    // A crate that tests itself with other features depends on itself by path: a version there would have to be
    // published before the crate is.
    let own = |package: &str| package == member.name;
    let strangers =
        member.dependencies().into_iter().filter(|one| !one.is_from_workspace() && !own(one.package));
    let mut problems: Vec<Problem> = strangers
        .map(|one| {
            let what = format!(
                "{}: declare it in [workspace.dependencies] and use `workspace = true` here",
                one.package
            );
            Problem::in_file(&member.path, what)
        })
        .collect();
    let lints =
        member.table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if lints != Some(true) {
        problems.push(Problem::in_file(&member.path, "has no `[lints]` with `workspace = true`"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &str) -> Vec<String> {
        let member = format!("[package]\nname = \"a\"\n{body}");
        let tree = Tree::of(&[("Cargo.toml", "[workspace]\nmembers = [\"a\"]"), ("a/Cargo.toml", &member)]);
        check(&tree).into_iter().map(|problem| problem.what).collect()
    }

    const LINTS: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn a_version_of_its_own_is_found() {
        assert!(problems(&format!("{LINTS}[dependencies]\nserde.workspace = true")).is_empty());
        for entry in ["serde = \"1\"", "serde = { version = \"1\" }", "serde = { workspace = false }"] {
            assert_eq!(problems(&format!("{LINTS}[dev-dependencies]\n{entry}")).len(), 1, "{entry}");
        }
    }

    #[test]
    fn a_crate_may_test_itself_by_its_path() {
        assert!(problems(&format!("{LINTS}[dev-dependencies]\na = {{ path = \".\" }}")).is_empty());
    }

    #[test]
    fn a_member_without_the_lints_is_found() {
        assert!(problems("")[0].contains("[lints]"));
    }
}
