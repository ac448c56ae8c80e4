//! The files that the documents name exist: a path in backticks, from the root or from the core's `src`.

use super::Problem;
use super::tree::Tree;

const DOCUMENTS: &[&str] = &["README.md", "docs/ARCHITECTURE.md", "docs/PROTOCOL.md"];
const CORE: &str = "aevrion-core/src/";

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    DOCUMENTS.iter().flat_map(|document| missing(tree, document)).collect()
}

fn missing(tree: &Tree, document: &'static str) -> Vec<Problem> {
    let text = tree.text(document).unwrap_or_default();
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !is_fence && !in_block
    });
    // Every second part of a line stands between two backticks.
    let spans = lines.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|span| is_source(span));
    let gone =
        spans.filter(|path| tree.text(path).is_none() && tree.text(&format!("{CORE}{path}")).is_none());
    gone.map(|path| Problem::in_file(document, format!("names `{path}`, which does not exist"))).collect()
}

/// Whether this is the path of a source file, and no pattern.
fn is_source(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'));
    plain && span.contains('/') && span.ends_with(".rs") && !span.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(document: &str) -> Vec<String> {
        let files = [("docs/ARCHITECTURE.md", document), ("a/src/b.rs", ""), ("aevrion-core/src/c/d.rs", "")];
        check(&Tree::of(&files)).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_file_that_is_gone_is_found() {
        let found = problems("see `a/src/b.rs`, `c/d.rs`, `a/src/gone.rs` and `a/{b,c}.rs`");
        assert_eq!(found, ["names `a/src/gone.rs`, which does not exist"]);
    }

    #[test]
    fn blocks_of_code_shift_nothing() {
        assert_eq!(problems("```text\nx `y\n```\n`a/src/gone.rs`").len(), 1);
    }
}
