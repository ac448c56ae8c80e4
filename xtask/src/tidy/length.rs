//! The length of files and functions.
//!
//! A file counts without its `#[cfg(test)]` items, and not at all below `tests/`, `benches/` and `examples/`. A
//! function counts in any place, from its `fn` to its closing brace: a test has to fit a screen too.

use super::Problem;
use super::ratchet::{self, Measured, Over};
use super::rust::{Source, closing, is_test_file};
use super::tree::Tree;

const FILE_LIMIT: usize = 600;
const FUNCTION_LIMIT: usize = 70;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut files = Over::new();
    let mut functions = Over::new();
    for (path, text) in tree.rust_files() {
        let source = Source::parse(text);
        let lines = text.lines().count().saturating_sub(source.test_lines());
        if lines > FILE_LIMIT && !is_test_file(path) {
            files.insert(path.to_owned(), Measured { path: path.to_owned(), line: 1, lines });
        }
        for function in functions_of(&source).into_iter().filter(|function| function.lines > FUNCTION_LIMIT) {
            keep_longest(&mut functions, path, &function);
        }
    }
    let mut problems = ratchet::compare(tree, "files", FILE_LIMIT, &files);
    problems.extend(ratchet::compare(tree, "functions", FUNCTION_LIMIT, &functions));
    problems
}

/// Functions of one name in one file share an entry: the longest counts.
fn keep_longest(functions: &mut Over, path: &str, function: &Function) {
    let name = format!("{path}::{}", function.name);
    let measured = Measured { path: path.to_owned(), line: function.line, lines: function.lines };
    if functions.get(&name).is_none_or(|known| known.lines < measured.lines) {
        functions.insert(name, measured);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions_of(source: &Source) -> Vec<Function> {
    let tokens = source.tokens();
    let mut functions = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // The type `fn(…)` has no name.
        if pair[0].text() != "fn" || !pair[1].is_word() {
            continue;
        }
        if let Some(end) = body_end(source, at) {
            let line = source.line(pair[0].offset);
            let lines = source.line(tokens[end].offset) - line + 1;
            functions.push(Function { name: pair[1].text().to_owned(), line, lines });
        }
    }
    functions
}

/// The token that closes the body of the function at `start`; nothing for a declaration without a body.
fn body_end(source: &Source, start: usize) -> Option<usize> {
    let tokens = source.tokens();
    let mut at = start;
    loop {
        match tokens.get(at)?.text() {
            ";" => return None,
            "{" => return Some(closing(tokens, at)),
            "(" | "[" => at = closing(tokens, at) + 1,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: &str) -> Vec<(String, usize, usize)> {
        let functions = functions_of(&Source::parse(text)).into_iter();
        functions.map(|function| (function.name, function.line, function.lines)).collect()
    }

    fn problems(path: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(path, text), (ratchet::PATH, "[files]\n[functions]\n")]);
        check(&tree).into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text = "trait T {\n fn declared(x: [u8; 2]);\n}\npub fn f(g: fn(u8)) -> [u8; 2]\n{\n  fn inner() {}\n  let _ = \"}\";\n}\n";
        assert_eq!(measured(text), [("f".to_owned(), 4, 5), ("inner".to_owned(), 6, 1)]);
    }

    #[test]
    fn a_long_function_is_found_in_tests_too() {
        let body = "    step();\n".repeat(FUNCTION_LIMIT - 1);
        let long = format!("//! Why.\n\nfn long() {{\n{body}}}\n");
        assert_eq!(problems("tests/a.rs", &long).len(), 1);
        assert!(problems("a/src/a.rs", &long)[0].starts_with("a/src/a.rs:3: `long` has 71 lines"));
        let fits = format!("fn fits() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_LIMIT - 2));
        assert!(problems("a/src/a.rs", &fits).is_empty());
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let code = "const A: u8 = 1;\n".repeat(FILE_LIMIT);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const B: u8 = 1;\n".repeat(50));
        assert!(problems("a/src/a.rs", &format!("{code}{tests}")).is_empty());
        assert_eq!(problems("a/src/a.rs", &format!("{code}//\n{tests}")).len(), 1);
        assert!(problems("tests/a.rs", &format!("{code}//\n")).is_empty());
    }
}
