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
    /// Reads the files that git tracks or would track after `git add`: a new file is checked before its commit. In a
    /// copy without git, such as an unpacked archive, these are all files but build products.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let paths = if root.join(".git").exists() {
            paths_in_git(root)?
        } else {
            println!("tidy: this is no checkout of git: all files are checked, but those below `target`");
            let mut paths = Vec::new();
            walk(root, "", &mut paths)?;
            paths
        };
        let mut files = BTreeMap::new();
        let judged = |path: &String| !AS_THEY_ARE.iter().any(|folder| path.starts_with(folder));
        for path in paths.into_iter().filter(judged) {
            if let Some(text) = read_text(&root.join(&path)).with_context(|| format!("cannot read {path}"))? {
                files.insert(path, text);
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

fn paths_in_git(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("tidy asks git which files there are, and git cannot be started")?;
    if !output.status.success() {
        bail!("git does not list the files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listing = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
    Ok(listing.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// Adds the files in `folder`, a path from the root that is empty or ends with `/`.
fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(root.join(folder)).with_context(|| format!("cannot read {folder}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a file name that is not UTF-8")?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            paths.push(format!("{folder}{name}"));
        } else if kind.is_dir() && name != "target" {
            walk(root, &format!("{folder}{name}/"), paths)?;
        }
    }
    Ok(())
}

/// The commits since the rule. A copy without the history has none, which is reported.
fn commits(root: &Path) -> Result<Vec<(String, String)>> {
    let not_here = || {
        println!("tidy: the subjects of commits are NOT checked, for their history is not here");
        Ok(Vec::new())
    };
    // An archive may be unpacked inside another repository.
    if !root.join(".git").exists() {
        return not_here();
    }
    let range = format!("{BEFORE_SUBJECTS}..HEAD");
    let output = Command::new("git").args(["log", "--format=%h %s", &range]).current_dir(root).output();
    let output = output.context("tidy asks git for the commits, and git cannot be started")?;
    if !output.status.success() {
        return not_here();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_without_git_is_read_without_what_was_built() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        for (path, content) in [("a.md", "a"), ("b/c.rs", "c"), ("target/d.rs", "d"), ("b/e.gz", "\0")] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("it can be made");
            std::fs::write(path, content).expect("it can be written");
        }
        let tree = Tree::read(&root);
        std::fs::remove_dir_all(&root).expect("it can be removed");
        let tree = tree.expect("it can be read");
        assert_eq!(tree.files().collect::<Vec<_>>(), [("a.md", "a"), ("b/c.rs", "c")]);
        assert_eq!(tree.commits().count(), 0);
    }
}
