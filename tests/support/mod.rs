//! Shared helpers of the whole-system tests: the binary, its data, and its directories.

#![allow(unreachable_pub, reason = "what all tests of a crate share")]
#![cfg_attr(not(feature = "full"), allow(dead_code, reason = "some tests need the features of `full`"))]

#[cfg(target_os = "linux")]
pub mod disk;
pub mod engine;
pub mod http;
pub mod member;
pub mod place;
pub mod random;
pub mod server;
pub mod watcher;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The root of the sample week according to an independent implementation.
pub const WEEK_ROOT: &str = "b2605c43c98d99dec32e5ba3923f05dcfff7a96ac0a72cf2226f81e0b3bf5259";
/// Events of the sample week.
pub const WEEK_EVENTS: u64 = 12_150;
/// Keys of the sample week.
pub const WEEK_KEYS: u64 = 2_100;

/// The persistent engines of this build.
pub const ENGINES: &[&str] = &[
    #[cfg(feature = "redb")]
    "redb",
    #[cfg(feature = "sled")]
    "sled",
];

/// The top of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

/// The week of flights in the repository.
pub fn sample() -> PathBuf {
    repository().join("aevrion-node/sample/flights-week.jsonl.gz")
}

/// A file of the design's shared material, which stands beside a development checkout and not in a user's clone.
/// Returns `None` with a message if it is missing; the caller then returns.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = repository().join("../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("SKIPPED: shared/{path} does not stand beside this checkout");
    None
}

/// An endpoint where nothing answers: port 1 is unused, and systems never assign it.
const NOBODY: &str = "http://127.0.0.1:1";

/// The `aevrion` binary without settings from the environment, except an endpoint without a node, so that tests do not
/// touch other nodes of this machine.
pub fn aevrion() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aevrion"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AEVRION_") {
            command.env_remove(name);
        }
    }
    command.env("AEVRION_ENDPOINT", NOBODY).stdin(Stdio::null());
    command
}

/// The exit code and output of a finished run.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Checks that the run succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Checks that the run failed with this code, and with all of these words on standard error.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("standard output is JSON")
    }

    /// Standard output as JSON, line by line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).expect("every line is JSON");
        self.stdout.lines().map(parse).collect()
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `aevrion` with these arguments on a data directory.
pub fn run_on(data: &Path, arguments: &[&str]) -> Finished {
    let output = aevrion().args(arguments).arg("--data").arg(data).output();
    output.expect("the binary starts").into()
}

/// As [`run_on`], with `input` on standard input.
pub fn run_with_input(data: &Path, arguments: &[&str], input: &[u8]) -> Finished {
    use std::io::Write;
    let mut command = aevrion();
    command.args(arguments).arg("--data").arg(data);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it has an input");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // A binary that refuses early closes its input; only its exit code matters.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the binary ends");
    feeder.join().expect("the input was given");
    output.into()
}

/// The status of a data directory.
#[track_caller]
pub fn status(data: &Path) -> serde_json::Value {
    run_on(data, &["status", "-o", "json"]).ok().json()
}
