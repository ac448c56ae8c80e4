//! A running node: started on a free port, stopped in an orderly way, killed at the latest with its test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Finished, aevrion};

/// The timeout of all waits. On a working machine none takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node that serves a directory.
pub(crate) struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// The HTTP address, such as `127.0.0.1:41234`.
    pub(crate) address: String,
}

impl Server {
    /// Starts a node on a free port.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_at(data, "127.0.0.1:0")
    }

    /// Starts a node at the address of an earlier one.
    pub(crate) fn start_at(data: &Path, address: &str) -> Self {
        let mut command = aevrion();
        command.arg("serve").arg("--data").arg(data).args(["--http", address]);
        Self::spawn(command)
    }

    /// Starts a node, and waits until it reports that it is ready.
    pub(crate) fn spawn(mut command: std::process::Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("it has one");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A test that has ended no longer listens.
                let _ = sender.send(line);
            }
        });
        let mut server = Self { child, lines, address: String::new() };
        let ready = server.line_with("ready");
        let address = ready.split_whitespace().nth(1).and_then(|url| url.strip_prefix("http://"));
        server.address = address.expect("it says where").to_owned();
        server
    }

    /// Waits for a line on standard error.
    #[track_caller]
    pub(crate) fn line_with(&self, word: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(word) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no `{word}` came ({error}) behind {before:?}"),
            }
        }
    }

    /// Stops the node in an orderly way, and returns the lines of standard error that no test has read.
    #[track_caller]
    pub(crate) fn stop_and_tell(self) -> Vec<String> {
        let (sender, nothing) = mpsc::channel();
        drop(sender);
        let mut server = self;
        let lines = std::mem::replace(&mut server.lines, nothing);
        server.stop();
        lines.iter().collect()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs a verb against this node.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.command(arguments).output().expect("the binary starts").into()
    }

    /// The command of a verb against this node.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = aevrion();
        command.args(arguments).env("AEVRION_ENDPOINT", self.endpoint());
        command
    }

    /// The id of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Waits until the process ends, and returns its exit code.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Option<i32> {
        wait(&mut self.child)
    }

    /// Stops the node in an orderly way.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process ends, with a timeout.
#[track_caller]
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status.code();
        }
        if begin.elapsed() > PATIENCE {
            // The test fails in any case; the process must not outlive it.
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
