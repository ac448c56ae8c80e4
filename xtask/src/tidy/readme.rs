//! The README gives the test command of CI.
//!
//! The rule: under the heading `## Tests`, the first command of the first block marked `sh` is the test command. It
//! must be a line of `.ci/run`, literally. All other commands of the README are run by `tests/readme.rs`, which reads
//! them from the README itself; here it is enough that this test exists.

use super::Problem;
use super::tree::Tree;

const README: &str = "README.md";
const CI: &str = ".ci/run";
const TEST: &str = "tests/readme.rs";

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    match tree.text(README) {
        None => problems.push(Problem::in_file(README, "missing")),
        Some(readme) => match test_command(readme) {
            None => problems
                .push(Problem::in_file(README, "has no command in a block marked `sh` under `## Tests`")),
            Some(command) => problems.extend(missing_in_ci(tree.text(CI), command)),
        },
    }
    if !tree.text(TEST).is_some_and(|test| test.contains("#[test]")) {
        problems.push(Problem::in_file(TEST, "holds no test, and is to run the commands of the README"));
    }
    problems
}

fn missing_in_ci(ci: Option<&str>, command: &str) -> Option<Problem> {
    match ci {
        None => Some(Problem::in_file(CI, "missing")),
        Some(script) if script.lines().any(|line| line.trim() == command) => None,
        Some(_) => {
            Some(Problem::in_file(CI, format!("has no line `{command}`, which is the README's test command")))
        }
    }
}

/// The first command under `## Tests`; the section ends with the next heading of its rank or above.
fn test_command(readme: &str) -> Option<&str> {
    let mut in_section = false;
    let mut block: Option<bool> = None;
    for line in readme.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language == "sh") };
        } else if block.is_none() && (line.starts_with("# ") || line.starts_with("## ")) {
            in_section = line == "## Tests";
        } else if in_section && block == Some(true) && !line.is_empty() && !line.starts_with('#') {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "# A\n```sh\nother\n```\n## Tests\nText.\n```rust\nlet a;\n```\n\
        ```sh\n# everything\ncargo xtask ci\n```\n## More\n";

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn the_command_of_the_readme_is_that_of_ci() {
        assert!(
            problems(&[(README, SOUND), (CI, "set -e\n  cargo xtask ci\n"), (TEST, "#[test]")]).is_empty()
        );
        assert!(
            problems(&[(README, SOUND), (CI, "cargo xtask ci --fast\n"), (TEST, "#[test]")])[0]
                .contains("has no line")
        );
        assert!(problems(&[(README, SOUND), (TEST, "#[test]")])[0].starts_with(".ci/run: missing"));
    }

    #[test]
    fn nothing_is_skipped_when_a_file_is_missing() {
        let found = problems(&[]);
        assert!(found[0] == "README.md: missing" && found[1].starts_with("tests/readme.rs: holds no test"));
        assert_eq!(problems(&[(README, SOUND), (CI, "cargo xtask ci"), (TEST, "//! To come.")]).len(), 1);
    }

    #[test]
    fn the_command_stands_in_its_own_section() {
        for readme in [
            "## Tests\nText.\n## More\n```sh\na\n```",
            "```sh\n## Tests\na\n```",
            "## Tests\n```\na\n```",
            "",
        ] {
            assert_eq!(test_command(readme), None, "{readme}");
        }
        assert_eq!(test_command("## Tests\n### All\n```sh\na\n```"), Some("a"));
        assert_eq!(test_command("## Tests\n```sh\n# c\n\na b\nc\n```"), Some("a b"));
    }
}
