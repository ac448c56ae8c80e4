//! Promise: the network is slow and lossy, partitioned for a while, and a node is killed meanwhile. Every node goes on
//! taking writes, and in the end all agree and hold every acknowledged write.
//!
//! `network.sh` sets up the network. It needs the privilege to do so, and reports loudly each part that it had to skip.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{aevrion, repository};
use rustix::process::{Pid, Signal, kill_process};

/// The script bounds each of its waits; their sum stays below this.
const PATIENCE: Duration = Duration::from_secs(600);

/// The exit code of the script if the machine does not let it set up a network.
const CANNOT: i32 = 77;

/// Writes to standard error directly: the harness would capture the output of a passing test.
fn say(line: &str) {
    // A closed standard error is no failure.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn three_nodes_agree_after_the_network_was_cut_and_a_node_killed() {
    if !cfg!(target_os = "linux") {
        return say("SKIPPED: the network test: it needs Linux and its network namespaces");
    }
    let place = tempfile::tempdir().expect("a place");
    let mut command = Command::new("bash");
    // The environment's settings would reach the nodes.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AEVRION_")) {
        command.env_remove(name);
    }
    command.arg(repository().join("tests/network.sh")).arg(aevrion().get_program()).arg(place.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return say(&format!("SKIPPED: the network test: bash cannot be started: {error}")),
    };
    let stdout = child.stdout.take().expect("it has one");
    let (sender, ended) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines: Vec<_> = BufReader::new(stdout).lines().map_while(Result::ok).collect();
        // A test that gave up no longer listens.
        let _ = sender.send(());
        lines
    });
    if ended.recv_timeout(PATIENCE).is_err() {
        // On this signal the script cleans up.
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    }
    let lines = reader.join().expect("it was read");
    let code = child.wait().expect("it can be waited for").code();
    for line in lines.iter().filter(|line| line.contains("SKIPPED")) {
        say(line);
    }
    let said = lines.join("\n");
    println!("{said}");
    assert!(matches!(code, Some(0 | CANNOT)), "{code:?}: {said}");
    assert!(code == Some(CANNOT) || said.contains("acknowledged writes are on all three"), "{said}");
}
