//! Exceptions that may only shrink.
//!
//! `xtask/ratchet.toml` lists everything over a limit, with its present figure. A higher figure fails, and so does a
//! lower one until the list is updated: an improvement is not lost again.

use std::collections::BTreeMap;

use super::Problem;
use super::tree::Tree;

pub(super) const PATH: &str = "xtask/ratchet.toml";

/// The entries over their limits, by their names in the list.
pub(super) type Over = BTreeMap<String, Measured>;

#[derive(Debug)]
pub(super) struct Measured {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// Compares the measured entries with the table `table` of the list.
pub(super) fn compare(tree: &Tree, table: &str, limit: usize, measured: &Over) -> Vec<Problem> {
    let listed = match listed(tree, table) {
        Ok(listed) => listed,
        Err(what) => return vec![Problem::in_file(PATH, what)],
    };
    let mut problems = Vec::new();
    for (name, now) in measured {
        let lines = now.lines;
        let what =
            name.rsplit_once("::").map_or("the file".to_owned(), |(_, function)| format!("`{function}`"));
        match listed.get(name) {
            None => problems.push(Problem::at(
                &now.path,
                now.line,
                format!("{what} has {lines} lines, and the limit is {limit}: divide it"),
            )),
            Some(&before) if lines > before => problems.push(Problem::at(
                &now.path,
                now.line,
                format!("{what} has grown from {before} to {lines} lines; over the limit of {limit} it may only shrink"),
            )),
            Some(&before) if lines < before => problems.push(Problem::in_file(
                PATH,
                format!("{name} has shrunk from {before} to {lines} lines: lower it"),
            )),
            Some(_) => {}
        }
    }
    let gone = listed.keys().filter(|name| !measured.contains_key(*name));
    problems
        .extend(gone.map(|name| Problem::in_file(PATH, format!("{name} is within the limit: remove it"))));
    problems
}

fn listed(tree: &Tree, table: &str) -> Result<BTreeMap<String, usize>, String> {
    let text = tree.text(PATH).ok_or("the list of exceptions is missing")?;
    let document: toml::Table = toml::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
    let entries =
        document.get(table).and_then(toml::Value::as_table).ok_or(format!("has no table [{table}]"))?;
    let number = |value: &toml::Value| value.as_integer().and_then(|lines| usize::try_from(lines).ok());
    entries
        .iter()
        .map(|(name, value)| {
            Ok((name.clone(), number(value).ok_or(format!("{name} is no number of lines"))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(list: &str, lines: Option<usize>) -> Vec<String> {
        let tree = Tree::of(&[(PATH, list)]);
        let measured =
            lines.map(|lines| ("a.rs".to_owned(), Measured { path: "a.rs".to_owned(), line: 1, lines }));
        compare(&tree, "files", 600, &measured.into_iter().collect()).into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn what_is_over_the_limit_must_be_listed() {
        assert!(problems("[files]", None).is_empty());
        assert!(problems("[files]", Some(601))[0].contains("divide it"));
        assert!(problems("[files]\n\"a.rs\" = 601", Some(601)).is_empty());
    }

    #[test]
    fn a_figure_may_not_rise_and_its_fall_is_written_down() {
        assert!(problems("[files]\n\"a.rs\" = 601", Some(602))[0].contains("grown"));
        assert!(problems("[files]\n\"a.rs\" = 700", Some(650))[0].contains("lower it"));
        assert!(problems("[files]\n\"a.rs\" = 700", None)[0].contains("remove it"));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_problem() {
        assert!(problems("[files", None)[0].contains("cannot be read"));
        assert!(problems("", None)[0].contains("no table"));
        assert!(problems("[files]\n\"a.rs\" = -1", None)[0].contains("no number"));
        assert!(!compare(&Tree::of(&[]), "files", 600, &Over::new()).is_empty());
    }
}
