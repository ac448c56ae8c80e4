//! Promise: on a slow and lossy network that is cut in two for a while, with a node killed meanwhile, every node goes
//! on taking writes, and in the end all agree and hold everything that was acknowledged.
//!
//! `network.sh` makes the network: it needs the right to do so, and says loudly what it had to leave out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{aevrion, repository};
use rustix::process::{Pid, Signal, kill_process};

/// The script bounds each of its waits; together they stay below this.
const PATIENCE: Duration = Duration::from_secs(600);

/// What it ends with where the machine does not let it make a network.
const CANNOT: i32 = 77;

/// Says it past the harness, which would keep what a passing test prints to itself.
fn say(line: &str) {
    // That nobody listens is no failure.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn three_nodes_agree_after_the_network_was_cut_and_a_node_killed() {
    if !cfg!(target_os = "linux") {
        return say("SKIPPED: the network test: it needs Linux and its network namespaces");
    }
    let place = tempfile::tempdir().expect("a place");
    let mut command = Command::new("bash");
    // The program's own settings would reach the nodes.
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
        // A test that gave up does not listen any more.
        let _ = sender.send(());
        lines
    });
    if ended.recv_timeout(PATIENCE).is_err() {
        // It tidies up behind itself.
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
