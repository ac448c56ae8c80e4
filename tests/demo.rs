//! Promise: `aevrion demo` shows three nodes that agree, separate, and repair their differences. It works in any
//! directory and environment, and leaves nothing behind, however it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::server::{PATIENCE, wait};
use crate::support::{Finished, WEEK_ROOT, aevrion};
use rustix::process::{Pid, Signal, kill_process};

/// A demo in its own place, with settings in the environment that must not matter.
fn demo(place: &Path) -> Command {
    let mut command = aevrion();
    command.arg("demo").current_dir(place).env("TMPDIR", place);
    command.env("AEVRION_DATA", place.join("not-here")).env("AEVRION_STORE", "sled");
    command.env("AEVRION_CONFIG", place.join("no-such-file")).env("AEVRION_GRANULARITY", "7");
    command
}

/// Checks that the demo left nothing behind.
#[track_caller]
fn assert_empty(place: &Path) {
    let left: Vec<_> = std::fs::read_dir(place).expect("the place").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The events and root of the three nodes, once per mention.
fn holdings(shown: &str) -> Vec<Vec<(String, String)>> {
    let of_node = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["node", _, events, "events", "root", root] => Some((events.to_owned(), root.to_owned())),
            _ => None,
        }
    };
    let all: Vec<_> = shown.lines().filter_map(of_node).collect();
    all.chunks(3).map(<[_]>::to_vec).collect()
}

#[test]
fn three_nodes_agree_part_and_mend_themselves() {
    let place = tempfile::tempdir().expect("a place");
    let output = demo(place.path()).arg("--exit").output().expect("the binary starts");
    let shown = Finished::from(output).ok().stdout;
    let held = holdings(&shown);
    let [imported, parted, healed] = &held[..] else { panic!("it says three times what they hold: {shown}") };

    let events =
        |held: &[(String, String)]| held.iter().map(|(events, _)| events.clone()).collect::<Vec<_>>();
    let roots = |held: &[(String, String)]| held.iter().map(|(_, root)| root.clone()).collect::<Vec<_>>();
    assert_eq!(events(imported), ["12,150"; 3]);
    assert!(roots(imported).iter().all(|root| root.len() >= 32 && WEEK_ROOT.starts_with(root)), "{shown}");

    assert_eq!(events(parted), ["12,351", "12,351", "12,251"]);
    let [first, second, third] = &roots(parted)[..] else { panic!("three nodes") };
    assert!(first == second && first != third, "{shown}");

    assert_eq!(events(healed), ["12,452"; 3]);
    let roots = roots(healed);
    assert!(roots.iter().all(|root| *root == roots[0]), "{shown}");

    for fact in ["201 events came to node 3, 101 went from it", "messages", "on the wire"] {
        assert!(shown.contains(fact), "`{fact}` is not in: {shown}");
    }
    let line = |word: &str| shown.lines().find(|line| line.trim_start().starts_with(word)).expect("a line");
    assert!(line("closed").ends_with("by node 3: the value on all three"), "{shown}");
    assert!(line("boarding").ends_with("by node 1: in the history on all three"), "{shown}");
    assert!(shown.lines().count() <= 40 && shown.lines().all(|line| line.chars().count() <= 110), "{shown}");
    assert_empty(place.path());
}

/// A running demo, killed at the latest with its test.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(place: &Path) -> Self {
        let mut child = demo(place).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("it has one")).lines();
        Self { child, lines }
    }

    /// The lines up to the first with this beginning.
    fn until(&mut self, begin: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let Some(Ok(line)) = self.lines.next() else { panic!("no `{begin}` came behind {seen:?}") };
            seen.push(line.trim().to_owned());
            if line.trim_start().starts_with(begin) {
                return seen;
            }
        }
    }

    /// Interrupts the demo, and returns its exit code.
    fn interrupt(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it is there");
        wait(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The demo may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_goes_on_at_the_printed_endpoints_until_interrupted() {
    let place = tempfile::tempdir().expect("a place");
    let mut running = Running::start(place.path());
    let shown = running.until("curl");
    let endpoints: Vec<_> = shown
        .iter()
        .filter(|line| line.starts_with("node"))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("http://")))
        .collect();
    let [first, _, third] = endpoints[..] else { panic!("three endpoints: {shown:?}") };
    let ask = |endpoint: &str, words: &[&str]| {
        let output = aevrion().args(words).args(["--endpoint", endpoint]).output();
        Finished::from(output.expect("the binary starts")).ok().stdout
    };
    for endpoint in &endpoints {
        assert_eq!(ask(endpoint, &["get", "gate:B4"]), "closed");
        assert_eq!(ask(endpoint, &["history", "gate:B4", "-o", "raw"]), "boarding\nclosed\n");
    }
    // The nodes may be comparing at any moment.
    assert!(ask(first, &["sync", "wait"]).contains("this node and 2 neighbours"));
    assert!(ask(first, &["sync", "status"]).contains("quic://127.0.0.1"));

    ask(third, &["put", "gate:B4", "open"]);
    let begin = Instant::now();
    while ask(first, &["get", "gate:B4"]) != "open" {
        assert!(begin.elapsed() < PATIENCE, "node 1 does not hear of it");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.interrupt(), Some(0));
    assert_empty(place.path());
}

#[test]
fn an_interrupted_show_leaves_nothing_behind() {
    let place = tempfile::tempdir().expect("a place");
    let mut running = Running::start(place.path());
    running.until("2");
    assert_eq!(running.interrupt(), Some(130));
    assert_empty(place.path());
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let place = tempfile::tempdir().expect("a place");
    let mut child = demo(place.path()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut first = [0; 8];
    child.stdout.take().expect("it has one").read_exact(&mut first).expect("it says something");
    assert_eq!(wait(&mut child), Some(0));
    assert_empty(place.path());
}
