//! The imported repository: checked before anything is stored, and read in the same way under any settings of the
//! user and of the repository.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Variables by which the parent process, a hook perhaps, points git to another repository, or changes its behaviour.
const ELSEWHERE: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_INDEX_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Settings that change the output of `git log` and that none of its flags overrides.
const SETTINGS: &[&str] = &["log.showRoot=true", "log.follow=false", "core.quotePath=false"];

/// Flags of the history: its changes in the order of the branch, independent of settings. A merge is one change of the
/// branch, so that all changes add up to the tree of the last commit.
const HISTORY: &[&str] = &[
    "--first-parent",
    "--reverse",
    "--diff-merges=first-parent",
    "--raw",
    "-z",
    "--no-abbrev",
    "--no-renames",
    "--no-relative",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-notes",
    "--no-show-signature",
    "--ignore-submodules=none",
    "--encoding=UTF-8",
    // Disables the user's order of paths, whose file may be missing.
    "-O/dev/null",
];

/// A repository with commits.
#[derive(Debug)]
pub(super) struct Repository {
    place: OsString,
    /// The last commit of the history.
    pub(super) head: String,
    paths: Vec<OsString>,
    /// Whether the history is truncated.
    pub(super) is_shallow: bool,
}

impl Repository {
    /// Opens the repository at `place`: its top directory, its `.git`, or a bare one. The history is limited to
    /// `paths`, if there are any.
    pub(super) fn open(place: &Path, paths: &[OsString]) -> Result<Self, Failure> {
        let name = place.display();
        let mut repository = Self {
            place: place.as_os_str().to_owned(),
            head: String::new(),
            paths: paths.iter().map(|path| literal(path)).collect(),
            is_shallow: false,
        };
        let prefix = repository.ask(&["rev-parse", "--show-prefix"], &[])?;
        if !prefix.is_empty() {
            let prefix = prefix.trim_end_matches('/');
            return Err(Failure::usage(format!(
                "{name} is `{prefix}` of a repository and not its top directory: give that, and --path {prefix}"
            )));
        }
        let head = ["rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}"];
        repository.head = match repository.ask(&head, &[]) {
            Err(failure) if failure.to_string().is_empty() => {
                return Err(Failure::error(format!("{name} has no commits: there is nothing to import")));
            }
            head => head?,
        };
        repository.is_shallow = repository.ask(&["rev-parse", "--is-shallow-repository"], &[])? == "true";
        for (path, asked) in repository.paths.iter().zip(paths) {
            if asked.is_empty() {
                return Err(Failure::usage("--path is empty: leave it out for all of the repository"));
            }
            let touching = ["rev-list", "-1", "--first-parent", &repository.head, "--"];
            if repository.ask(&touching, std::slice::from_ref(path))?.is_empty() {
                return Err(Failure::usage(format!(
                    "--path {}: nothing in the history of {name} was ever called so",
                    asked.display()
                )));
            }
        }
        Ok(repository)
    }

    /// The number of commits in the history.
    pub(super) fn commits(&self) -> Option<u64> {
        self.ask(&["rev-list", "--count", "--first-parent", &self.head], &[]).ok()?.parse().ok()
    }

    /// The command that prints the history, each commit in this format.
    pub(super) fn history(&self, format: &str) -> Command {
        let mut command = self.git();
        command.arg("log").args(HISTORY).arg(format!("--format={format}")).args([&*self.head, "--"]);
        command.args(&self.paths);
        command
    }

    /// The command that prints requested contents.
    pub(super) fn contents(&self) -> Command {
        let mut command = self.git();
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped());
        command
    }

    fn git(&self) -> Command {
        let mut command = Command::new("git");
        for variable in ELSEWHERE {
            command.env_remove(variable);
        }
        // Contents may still be on a server: no user is there to type a password.
        command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
        command.arg("--no-pager").args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command.arg("-C").arg(&self.place);
        command
    }

    /// Git's output, without the line end. A failure without a message has an empty one.
    fn ask(&self, arguments: &[&str], paths: &[OsString]) -> Result<String, Failure> {
        let output = self.git().args(arguments).args(paths).output().map_err(|error| cannot_run(&error))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match said.trim() {
            _ if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
            }
            "" => Err(Failure::error("")),
            words => Err(Failure::error(format!("{}: {words}", self.place.display()))),
        }
    }
}

/// The error if git cannot be started.
pub(super) fn cannot_run(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::error("git is not installed here, or is not in PATH: it is needed to read a repository")
        }
        _ => Failure::error(format!("cannot run git: {error}")),
    }
}

/// A literal pathspec, without special characters.
fn literal(path: &OsStr) -> OsString {
    let mut literal = OsString::from(":(literal)");
    literal.push(path);
    literal
}
