//! The public surface of the library crates, one line for each item, in a file that a review sees change:
//! `cargo xtask surface [--write]`.
//!
//! It is read from the source: so it needs no nightly compiler and no build, and types stand in a signature as they
//! are written there. It lists the items that embedders can name: none that only tests or the feature `testkit` build,
//! none that is hidden from the documentation, and no `impl` of a trait.

mod attributes;
mod lines;
mod macros;
mod modules;
mod names;
mod reach;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::root;
use modules::{Crate, Files};

/// The crates for embedders; the node is a program.
pub(crate) const CRATES: [&str; 6] = [
    "aevrion-core",
    "aevrion-net",
    "aevrion-net-quic",
    "aevrion-net-tcp",
    "aevrion-store-redb",
    "aevrion-store-sled",
];

/// The file with the list of a crate.
pub(crate) fn list_path(krate: &str) -> String {
    format!("docs/surface/{krate}.txt")
}

/// The lines of the crate in the folder of the same name.
pub(crate) fn surface(krate: &str, files: Files<'_>) -> Result<Vec<String>> {
    let krate = Crate::read(krate, files)?;
    lines::lines(&krate, &reach::reach(&krate)?)
}

/// The lines that a list lacks, and those it has too many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// Nothing if the list is up to date.
    pub(crate) fn between(list: &str, surface: &[String]) -> Option<Self> {
        if list.lines().eq(surface) {
            return None;
        }
        let before: BTreeSet<&str> = list.lines().collect();
        let now: BTreeSet<&str> = surface.iter().map(String::as_str).collect();
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let added: Vec<&str> = now.difference(&before).copied().collect();
        let removed: Vec<&str> = before.difference(&now).copied().collect();
        Some(Self { added: owned(&added), removed: owned(&removed) })
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.added {
            writeln!(f, "    + {line}")?;
        }
        for line in &self.removed {
            writeln!(f, "    - {line}")?;
        }
        Ok(())
    }
}

/// The treatment of lists that are out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Compare,
    Write,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mode, root) = parse(arguments)?;
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let mut stale = 0;
    for krate in CRATES {
        let surface = surface(krate, &read).with_context(|| krate.to_owned())?;
        println!("{krate}: {} items", surface.len());
        let path = list_path(krate);
        match (Changes::between(&read(&path).unwrap_or_default(), &surface), mode) {
            (None, _) => {}
            (Some(_), Mode::Write) => write(&root.join(path), &surface)?,
            (Some(changes), Mode::Compare) => {
                print!("{changes}");
                stale += 1;
            }
        }
    }
    if stale > 0 {
        bail!("{stale} of the lists are out of date; `cargo xtask surface --write` writes them");
    }
    Ok(())
}

/// `--root DIRECTORY` names another checkout, to compare with.
fn parse(arguments: &[String]) -> Result<(Mode, PathBuf)> {
    let (mut mode, mut directory) = (Mode::Compare, root());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => mode = Mode::Write,
            "--root" => directory = arguments.next().context("--root takes a directory")?.into(),
            other => bail!("takes --write alone, and was given `{other}`"),
        }
    }
    Ok((mode, directory))
}

fn write(path: &Path, surface: &[String]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text: String = surface.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
