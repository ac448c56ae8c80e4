//! Promise: every command of the README works as printed there, and prints the text shown below it.
//!
//! The commands of all blocks marked `sh` are typed into one shell, in order, in one directory with the content of a
//! clone of the repository; except those under `## Tests`, which run this test. A block marked `text output` is the
//! output of the block of commands before it.
//!
//! Differences from a reader's terminal: the binary is built already, the demo does not wait for an interrupt, and the
//! ports are free ones, since another node may use those of the README.

use crate::support;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::repository;
use rustix::process::{Pid, Signal, kill_process_group};

#[derive(Debug, PartialEq)]
enum Block {
    Commands(Vec<String>),
    Output(String),
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    let mut heading = "";
    for line in readme.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language, Vec::new())),
            (Some((language, lines)), Some(_)) => {
                match *language {
                    "sh" if heading != "## Tests" => {
                        blocks.push(Block::Commands(lines.iter().map(ToString::to_string).collect()));
                    }
                    "text output" => blocks.push(Block::Output(lines.join("\n"))),
                    _ => {}
                }
                open = None;
            }
            (Some((_, lines)), None) => lines.push(line),
            (None, None) if line.starts_with('#') => heading = line,
            (None, None) => {}
        }
    }
    blocks
}

/// Translates the README's commands into those of the test.
#[derive(Default)]
struct Typist {
    ports: BTreeMap<String, u16>,
}

impl Typist {
    fn type_out(&mut self, line: &str) -> String {
        let binary = env!("CARGO_BIN_EXE_aevrion");
        let line = match line {
            "cargo run --release -- demo" => format!("{binary} demo --exit"),
            "cargo install --path aevrion-node" => {
                let directory = Path::new(binary).parent().expect("it lies in a directory");
                format!("PATH={}:$PATH", directory.display())
            }
            line => line.replace("cargo run --release --", binary),
        };
        assert!(!line.contains("cargo"), "the test does not know how to run: {line}");
        self.with_free_ports(&line)
    }

    /// Each port of the README maps to one free port.
    fn with_free_ports(&mut self, line: &str) -> String {
        const HERE: &str = "127.0.0.1:";
        let mut parts = line.split(HERE);
        let mut typed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (port, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
            let free = *self.ports.entry(port.to_owned()).or_insert_with(free_port);
            typed.push_str(&format!("{HERE}{free}{rest}"));
        }
        typed
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A shell with its child processes; all of them end with the test.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(home: &Path, errors: File) -> Self {
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AEVRION_") {
                command.env_remove(name);
            }
        }
        command.arg("-eu").current_dir(home).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().expect("a shell");
        let input = child.stdin.take().expect("it has an input");
        let output = BufReader::new(child.stdout.take().expect("it has an output"));
        Self { child, input, output }
    }

    /// Types these lines, and returns their output; `None` if one of them failed.
    fn run(&mut self, lines: &[String]) -> Option<String> {
        /// Marks the end of a block's output, on a separate line even after output without a line end.
        const END: &str = "this was the end of the block";
        let typed = lines.join("\n");
        writeln!(self.input, "{typed}\nprintf '\\n{END}\\n'").ok()?;
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            match self.output.read_line(&mut line) {
                Ok(0) | Err(_) => return None,
                Ok(_) if line.trim_end() == END => return Some(printed),
                Ok(_) => printed.push_str(&line),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell may have ended already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A clone is a git repository; this one has a short history.
fn make_repository(home: &Path, readme: &str) {
    std::fs::write(home.join("README.md"), readme).expect("it is written");
    let who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "README.md"],
        &["commit", "--quiet", "--no-gpg-sign", "-m", "begin"],
    ] {
        let mut git = Command::new("git");
        let done = git.args(who).args(arguments).current_dir(home).status().expect("git is installed");
        assert!(done.success(), "{arguments:?}");
    }
}

#[test]
fn every_command_works_and_prints_what_the_readme_says() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("the README");
    let home = tempfile::tempdir().expect("a place");
    let sample = home.path().join("aevrion-node/sample");
    std::fs::create_dir_all(&sample).expect("a directory");
    std::fs::copy(support::sample(), sample.join("flights-week.jsonl.gz")).expect("the sample");
    make_repository(home.path(), &readme);
    let errors = tempfile::NamedTempFile::new().expect("a place");
    let mut shell = Shell::start(home.path(), errors.reopen().expect("it is there"));
    let mut typist = Typist::default();
    let (mut commands, mut outputs, mut printed) = (0, 0, String::new());
    for block in blocks(&readme) {
        match block {
            Block::Commands(lines) => {
                let lines: Vec<_> = lines.iter().map(|line| typist.type_out(line)).collect();
                printed = shell.run(&lines).unwrap_or_else(|| {
                    let said = std::fs::read_to_string(errors.path()).unwrap_or_default();
                    panic!("one of these failed: {lines:#?}\n{said}")
                });
                commands += lines.len();
            }
            Block::Output(expected) => {
                assert_eq!(printed.trim_end(), expected.trim_end());
                outputs += 1;
            }
        }
    }
    assert!(commands >= 20 && outputs >= 5, "the README lost its commands: {commands}, {outputs}");
}

#[test]
fn a_command_that_fails_is_noticed_and_ports_are_moved() {
    let home = tempfile::tempdir().expect("a place");
    let mut shell = Shell::start(home.path(), tempfile::tempfile().expect("a place"));
    let typed = |words: &str| vec![words.to_owned()];
    assert_eq!(shell.run(&typed("kept=1; printf 'no line end'")).as_deref(), Some("no line end\n"));
    assert_eq!(shell.run(&typed("echo $kept")).as_deref(), Some("1\n\n"));
    assert_eq!(shell.run(&typed("test -e missing")), None);

    let mut typist = Typist::default();
    let moved = typist.type_out("curl 127.0.0.1:1/a http://127.0.0.1:2 127.0.0.1:1");
    let ports: Vec<_> = [&"1".to_owned(), &"2".to_owned()].map(|port| typist.ports[port]).into();
    let [one, two] = ports[..] else { panic!("two ports") };
    assert_eq!(moved, format!("curl 127.0.0.1:{one}/a http://127.0.0.1:{two} 127.0.0.1:{one}"));
}
