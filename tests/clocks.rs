//! The promise: a wall clock that is put back, far off, or in 1970 costs no acknowledged write and leaves no caller
//! hanging. The answer, `status`, `/readyz`, `/metrics` and the log name the problem, until the clock is right.
//!
//! The clock of one process is shifted by a small library that is preloaded, which needs Linux and a C compiler.

#![cfg(target_os = "linux")]

use crate::support;
use crate::support::http;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::aevrion;
use crate::support::member::{Member, Place, until};
use crate::support::server::Server;
use rustix::process::Signal;

/// The wall clock of a process, shifted by a test.
struct Shim {
    library: PathBuf,
    shift: PathBuf,
}

impl Shim {
    /// Returns `None`, with a message, if there is no C compiler.
    fn new(place: &Place, seconds: i64) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/clock_shim.c");
        let (library, shift) = (place.at("clock_shim.so"), place.at("shift"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        let Ok(status) = compiled else {
            eprintln!("SKIPPED: there is no C compiler (cc), so no clock can be shifted");
            return None;
        };
        assert!(status.success(), "the shim does not compile");
        let shim = Self { library, shift };
        shim.set(seconds);
        Some(shim)
    }

    fn set(&self, seconds: i64) {
        // The process has mapped this file, so it must not be replaced.
        use std::os::unix::fs::FileExt;
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.shift)
            .expect("the file opens");
        file.write_all_at(&seconds.to_le_bytes(), 0).expect("it can be written");
    }

    /// Makes a command use this clock.
    fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_SHIM", &self.shift);
    }

    fn serve(&self, data: &Path) -> Server {
        let mut command = aevrion();
        command.arg("serve").arg("--data").arg(data).args(["--http", "127.0.0.1:0"]);
        self.apply(&mut command);
        Server::spawn(command)
    }
}

fn put(server: &Server, key: &str, query: &str, value: &str) -> http::Response {
    http::send(&server.address, "PUT", &format!("/v1/kv/{key}{query}"), &[], value.as_bytes())
}

fn get(server: &Server, path: &str) -> http::Response {
    http::send(&server.address, "GET", path, &[], b"")
}

#[test]
fn a_step_back_is_refused_said_and_over_when_it_is_put_right() {
    let place = Place::new();
    let Some(shim) = Shim::new(&place, 0) else { return };
    let server = shim.serve(&place.at("store"));
    put(&server, "k", "", "1").is(200);
    get(&server, "/readyz").is(200);

    shim.set(-3_600);
    let began = Instant::now();
    let refused = put(&server, "k", "", "2").is(503).text();
    assert!(began.elapsed() < Duration::from_secs(10), "it is left hanging");
    assert!(refused.contains("set back") && refused.contains("clock resume"), "{refused}");
    get(&server, "/readyz").is(503);
    assert!(get(&server, "/metrics").is(200).text().contains("aevrion_writes_refused 1"));
    let status = server.run(&["status", "-o", "json"]).ok().json();
    assert!(status["alarms"][0].as_str().is_some_and(|alarm| alarm.contains("set back")), "{status}");
    server.line_with("alarm: this node's clock was set back");
    server.run(&["put", "k", "3"]).fails(5, &["set back"]);
    assert_eq!(get(&server, "/v1/kv/k").is(200).text(), "1", "reads go on");

    shim.set(0);
    put(&server, "other", "", "3").is(200);
    get(&server, "/readyz").is(200);
    server.line_with("the alarm about the clock is over");
    let history = server.run(&["history", "k", "-o", "jsonl"]).ok().stdout;
    assert_eq!(history.lines().count(), 1, "what was refused was not made later: {history}");
    server.stop();
}

#[test]
fn a_restart_with_the_clock_back_hides_no_acknowledged_write() {
    let place = Place::new();
    let Some(shim) = Shim::new(&place, 0) else { return };
    let data = place.at("store");
    let server = shim.serve(&data);
    put(&server, "k", "", "acknowledged").is(200);
    server.signal(Signal::KILL);
    server.ended();

    shim.set(-3_600);
    let server = shim.serve(&data);
    assert_eq!(get(&server, "/v1/kv/k").is(200).text(), "acknowledged");
    put(&server, "k", "", "newer").is(503);
    // The operator confirms that the clock is right now.
    server.run(&["clock", "resume"]).ok();
    put(&server, "k", "", "newer").is(200);
    assert_eq!(get(&server, "/v1/kv/k").is(200).text(), "newer");
    get(&server, "/readyz").is(200);
    server.stop();
}

#[test]
fn a_clock_in_1970_takes_no_writes() {
    let place = Place::new();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970").as_secs())
        .expect("it fits");
    let Some(shim) = Shim::new(&place, 3_600 - now) else { return };
    let server = shim.serve(&place.at("store"));
    let refused = put(&server, "k", "", "v").is(503).text();
    assert!(refused.contains("1970"), "{refused}");
    get(&server, "/readyz").is(503);
    // A verb on a directory, without a node, refuses too.
    let mut verb = aevrion();
    verb.args(["put", "k", "v", "--data"]).arg(place.at("other"));
    shim.apply(&mut verb);
    support::Finished::from(verb.output().expect("the binary starts")).fails(5, &["1970"]);
    shim.set(0);
    put(&server, "k", "", "v").is(200);
    server.stop();
}

#[test]
fn one_write_ahead_of_the_wall_ends_no_lease() {
    let place = Place::new();
    let server = Server::start(&place.at("store"));
    put(&server, "lease", "?ttl=30s", "me").is(200);
    let ahead = std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970") + Duration::from_secs(50);
    put(&server, "other", &format!("?timestamp={}", ahead.as_millis()), "x").is(200);
    assert_eq!(get(&server, "/v1/kv/lease").is(200).text(), "me");
    assert!(server.run(&["scan", "-o", "jsonl"]).ok().stdout.contains("lease"));
    server.stop();
}

#[test]
fn of_two_clocks_that_are_apart_neither_takes_writes() {
    let place = Place::new();
    let Some(shim) = Shim::new(&place, -600) else { return };
    let first = place.first("first");
    let mut behind = Member::joined(place.at("behind"), "quic");
    let mut join = aevrion();
    join.args(["cluster", "join", &first.address("quic"), &first.token(), "--data"]).arg(&behind.data);
    support::Finished::from(join.output().expect("the binary starts")).ok();
    behind.serve_with(&[], |command| shim.apply(command));
    for node in [&first, &behind] {
        until(|| node.run(&["put", "price", "200"]).code == Some(5), "it takes writes");
        let refused = put(node.server(), "price", "", "200").is(503).text();
        assert!(refused.contains("apart"), "{refused}");
    }
    shim.set(0);
    for node in [&first, &behind] {
        until(|| node.run(&["put", "price", "200"]).code == Some(0), "it takes no writes again");
    }
}
