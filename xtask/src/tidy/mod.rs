//! Rules of this repository that neither the compiler nor clippy checks, and reviews forget.
//!
//! Every check is a function from the [`Tree`] in memory to the problems it finds. It reads no file itself, so its
//! tests can show with a few lines of input that it fails.

mod circles;
mod crates;
mod doors;
mod layers;
mod length;
mod manifest;
mod module_doc;
mod named_files;
mod old_names;
mod ratchet;
mod readme;
mod rust;
mod subjects;
mod surface;
mod tree;
mod wired;
mod words;
mod workspace;

use std::fmt;

use anyhow::{Context, Result, anyhow, bail};

use crate::process::{no_arguments, root};
use tree::Tree;

/// A violation of a rule, and its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl Problem {
    fn in_file(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, what: what.into() }
    }

    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

type Check = fn(&Tree) -> Vec<Problem>;

const CHECKS: &[(&str, Check)] = &[
    ("layers", layers::check),
    ("picture", layers::picture::check),
    ("circles", circles::check),
    ("crates", crates::check),
    ("doors", doors::check),
    ("workspace", workspace::check),
    ("module doc", module_doc::check),
    ("length", length::check),
    ("words", words::check),
    ("old names", old_names::check),
    ("readme", readme::check),
    ("named files", named_files::check),
    ("wired", wired::check),
    ("subjects", subjects::check),
    ("surface", surface::check),
];

/// Checks everything; with `--write`, first writes the generated parts of documents anew.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut tree = Tree::read(&root())?;
    match arguments {
        [write] if write == "--write" => {
            write_generated(&tree)?;
            tree = Tree::read(&root())?;
        }
        _ => no_arguments(arguments)?,
    }
    let mut found = 0;
    for (name, check) in CHECKS {
        let mut problems = check(&tree);
        problems.sort();
        found += problems.len();
        for problem in problems {
            println!("{problem} [{name}]");
        }
    }
    if found > 0 {
        bail!("{found} to mend");
    }
    println!("tidy: {} files, {} checks, nothing to mend", tree.files().count(), CHECKS.len());
    Ok(())
}

fn write_generated(tree: &Tree) -> Result<()> {
    let document = layers::picture::redrawn(tree).map_err(|problem| anyhow!("{problem}"))?;
    let path = root().join(layers::picture::DOCUMENT);
    std::fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))
}
