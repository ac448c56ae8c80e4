//! Every source file states its purpose: it begins with a module doc. Test files may use their names
//! instead.

use super::Problem;
use super::rust::is_test_file;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    tree.rust_files()
        .filter(|(path, _)| !is_test_file(path))
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| {
            Problem::at(path, 1, "the file does not begin with a module doc (`//!`) that says why it exists")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_module_doc_is_found() {
        let tree = Tree::of(&[
            ("a/src/good.rs", "//! Why.\n"),
            ("a/src/bad.rs", "// not a doc\n//! Too late.\n"),
            ("a/src/empty.rs", ""),
            ("tests/free.rs", "fn f() {}\n"),
        ]);
        let found: Vec<String> = check(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(found, ["a/src/bad.rs", "a/src/empty.rs"]);
    }
}
