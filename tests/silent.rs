//! The promise: a verb does not wait for ever for a suspended node, and says so; a watch goes on when the node resumes.

use rustix::process::Signal;

use crate::support::http::{Events, send};
use crate::support::place::{GOOD, Place};
use crate::support::server::Server;
use crate::support::watcher::Watcher;

/// Suspends a node, as swapping or suspending a machine does, and resumes it on drop.
struct Stopped<'s>(&'s Server);

impl<'s> Stopped<'s> {
    fn new(server: &'s Server) -> Self {
        server.signal(Signal::STOP);
        Self(server)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

#[test]
fn a_verb_waits_as_long_as_it_is_told() {
    let place = Place::new();
    let server = Server::start(&place.data());
    server.run(&["put", "k", "v"]).ok();
    let file = place.file("one.jsonl", GOOD);
    let stopped = Stopped::new(&server);
    for verb in [
        &["get", "k"][..],
        &["put", "k", "w"],
        &["delete", "k"],
        &["history", "k"],
        &["scan"],
        &["status"],
        &["sync", "status"],
        &["sync", "now"],
        &["sync", "diff"],
        &["cluster", "nodes"],
        &["clock", "resume"],
        &["verify"],
        &["rebuild"],
        &["export"],
        &["import", &file],
        &["watch"],
    ] {
        let words = ["said nothing for 0.3 s", "--timeout waits longer"];
        server.run(&[verb, &["--timeout", "300ms"]].concat()).fails(6, &words);
    }
    let mut by_environment = server.command(&["get", "k"]);
    by_environment.env("AEVRION_TIMEOUT", "200ms");
    crate::support::Finished::from(by_environment.output().expect("it starts"))
        .fails(6, &["nothing for 0.2 s"]);
    let file = place.file("settings.toml", "timeout = \"200ms\"\n");
    server.run(&["get", "k", "--config", &file]).fails(6, &["nothing for 0.2 s"]);
    // The wait has its own timeout, and its answer some extra time.
    server.run(&["sync", "wait", "--timeout", "100ms"]).fails(6, &["said nothing for 2.1 s"]);
    drop(stopped);
    server.run(&["get", "k", "--timeout", "1h"]).ok();
    server.run(&["get", "k", "--timeout", "soon"]).fails(2, &["give a span such as 90s"]);
    server.stop();
}

#[test]
fn a_watch_waits_for_a_node_that_goes_on() {
    let place = Place::new();
    let server = Server::start(&place.data());
    let begin = Events::open(&server.address, "/v1/watch", &[]).next_block().expect("it begins").id;
    let arguments = ["watch", "-o", "jsonl", "--from", &begin, "--timeout", "100ms"];
    let watcher = Watcher::spawn(server.command(&arguments));
    send(&server.address, "PUT", "/v1/kv/before", &[], b"").is(200);
    assert_eq!(watcher.next()["key"], "before");
    let stopped = Stopped::new(&server);
    server
        .run(&["put", "meanwhile", "v", "--timeout", "300ms"])
        .fails(6, &["What was to be written may be written"]);
    drop(stopped);
    send(&server.address, "PUT", "/v1/kv/after", &[], b"").is(200);
    // Only the node knows whether the other write happened.
    while watcher.next()["key"] != "after" {}
    drop(watcher);
    server.stop();
}
