//! The lists of public items are up to date: a change of the surface stands in the same commit, where a review sees it.

use super::Problem;
use super::tree::Tree;
use crate::surface::{self, CRATES, Changes, list_path};

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    CRATES.iter().filter_map(|krate| check_crate(tree, krate)).collect()
}

fn check_crate(tree: &Tree, krate: &str) -> Option<Problem> {
    let list = list_path(krate);
    match surface::surface(krate, &|path| tree.text(path).map(str::to_owned)) {
        Err(error) => Some(Problem::in_file(krate, format!("its surface cannot be read: {error:#}"))),
        Ok(surface) => {
            let changes = Changes::between(tree.text(&list).unwrap_or_default(), &surface)?;
            let what = format!("is out of date\n{changes}    `cargo xtask surface --write` updates it");
            Some(Problem::in_file(&list, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(source: &str, list: &str) -> Option<String> {
        let tree = Tree::of(&[("a/src/lib.rs", source), (&list_path("a"), list)]);
        check_crate(&tree, "a").map(|problem| problem.to_string())
    }

    #[test]
    fn a_list_that_is_out_of_date_is_shown_with_its_lines() {
        let list = "struct a::Gone\nfn a::f()\n";
        assert_eq!(problem("pub fn f() {}\npub struct Gone;\n", list), None);
        let found = problem("pub fn f() {}\npub struct New;\n", list).unwrap_or_default();
        assert!(found.starts_with("docs/surface/a.txt: is out of date"), "{found}");
        for line in ["    + struct a::New\n", "    - struct a::Gone\n", "`cargo xtask surface --write`"] {
            assert!(found.contains(line), "{found}");
        }
        assert!(!found.contains("a::f"), "{found}");
    }

    #[test]
    fn lines_in_another_order_are_out_of_date() {
        assert!(problem("pub fn f() {}\npub struct S;\n", "fn a::f()\nstruct a::S\n").is_some());
    }

    #[test]
    fn a_crate_that_cannot_be_read_is_a_problem() {
        assert!(problem("pub fn", "").is_some_and(|found| found.contains("a/src/lib.rs does not parse")));
        assert!(check(&Tree::of(&[])).len() == CRATES.len());
    }
}
