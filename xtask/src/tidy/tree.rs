//! The text files of the repository and the subjects of its commits, read once, so that checks are pure functions of
//! their input.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Test data as users have it: its blanks and line ends are intended.
const AS_THEY_ARE: [&str; 2] = ["tests/data/files/", "fuzz/corpus/"];

/// The input of the checks.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Path (from the root, with `/`) to text, without binary files.
    files: BTreeMap<String, String>,
    /// Commits since the rule about subjects: hash and subject.
    commits: Vec<(String, String)>,
}

/// The last commit before the rule about subjects.
const BEFORE_SUBJECTS: &str = "a3c2980d00dfd89c559b96115eb5b104e90a4ba5";

impl Tree {
    /// Reads the files that git tracks or would track after `git add`: a new file is checked before its commit.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("tidy asks git which files there are, and git cannot be started")?;
        if !output.status.success() {
            bail!("git does not list the files: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let listing = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
        let mut files = BTreeMap::new();
        let judged =
            |path: &&str| !path.is_empty() && !AS_THEY_ARE.iter().any(|folder| path.starts_with(folder));
        for path in listing.split('\0').filter(judged) {
            if let Some(text) = read_text(&root.join(path)).with_context(|| format!("cannot read {path}"))? {
                files.insert(path.to_owned(), text);
            }
        }
        Ok(Self { files, commits: commits(root)? })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
        Self { files, commits: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn of_commits(subjects: &[&str]) -> Self {
        let commits = subjects.iter().map(|subject| ("c0ffee".to_owned(), (*subject).to_owned()));
        Self { files: BTreeMap::new(), commits: commits.collect() }
    }

    pub(super) fn commits(&self) -> impl Iterator<Item = (&str, &str)> {
        self.commits.iter().map(|(hash, subject)| (hash.as_str(), subject.as_str()))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(super) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs"))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }
}

/// The commits since the rule. A copy without the history has none, which is reported.
fn commits(root: &Path) -> Result<Vec<(String, String)>> {
    let range = format!("{BEFORE_SUBJECTS}..HEAD");
    let output = Command::new("git").args(["log", "--format=%h %s", &range]).current_dir(root).output();
    let output = output.context("tidy asks git for the commits, and git cannot be started")?;
    if !output.status.success() {
        println!("tidy: the subjects of commits are not checked, for their history is not here");
        return Ok(Vec::new());
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    let commits = listing.lines().filter_map(|line| line.split_once(' '));
    Ok(commits.map(|(hash, subject)| (hash.to_owned(), subject.to_owned())).collect())
}

/// Nothing for a file that git still lists but that is gone, for a directory (a submodule) and for binary content.
fn read_text(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) if bytes.contains(&0) => Ok(None),
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
