//! The promise: a watcher of a node sees the end of a lease exactly once by cursor, across restarts and other events of
//! the node. An import elsewhere takes the output of the watch.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::http::{Events, send};
use crate::support::place::Place;
use crate::support::server::Server;
use crate::support::watcher::Watcher;
use crate::support::{run_on, run_with_input};

fn words(seen: &Value) -> (String, bool) {
    (seen["key"].as_str().expect("it has one").to_owned(), seen["effect"] == "expired")
}

#[test]
fn a_lease_that_ends_is_told() {
    let place = Place::new();
    let server = Server::start(&place.data());
    let watcher =
        Watcher::spawn(server.command(&["watch", "lock:", "-o", "jsonl", "--from", &beginning(&server)]));
    send(&server.address, "PUT", "/v1/kv/lock:a?ttl=400ms", &[], b"me").is(200);
    send(&server.address, "PUT", "/v1/kv/lock:renewed?ttl=200ms", &[], b"me").is(200);
    send(&server.address, "PUT", "/v1/kv/lock:renewed?ttl=900ms", &[], b"me").is(200);
    let seen: Vec<_> = (0..5).map(|_| watcher.next()).collect();
    let expected = [("a", false), ("renewed", false), ("renewed", false), ("a", true), ("renewed", true)];
    let expected = expected.map(|(key, expired)| (format!("lock:{key}"), expired));
    assert_eq!(seen.iter().map(words).collect::<Vec<_>>(), expected);
    assert_eq!((&seen[3]["id"], &seen[3]["value"]), (&seen[0]["id"], &"me".into()));
    server.run(&["get", "lock:a"]).fails(3, &[]);

    // From each cursor on, HTTP also shows the remaining events again, unchanged.
    for (place, seen_before) in seen.iter().enumerate().take(4) {
        let cursor = seen_before["cursor"].as_str().expect("a cursor");
        let mut events =
            Events::open(&server.address, &format!("/v1/watch?prefix=lock:&cursor={cursor}"), &[]);
        for expected in &seen[place + 1..] {
            let block = events.next_event();
            let event: Value = serde_json::from_str(&block.data).expect("JSON");
            assert_eq!((words(&event), &event["id"]), (words(expected), &expected["id"]));
            assert_eq!(block.id, expected["cursor"]);
        }
    }

    // The output of a watch is valid input of an import.
    let lines: String = seen.iter().map(|line| format!("{line}\n")).collect();
    let other = Place::new();
    let imported = run_with_input(&other.data(), &["import", "-"], lines.as_bytes()).ok();
    assert!(imported.stderr.contains("3 events imported"), "{imported:?}");
}

#[test]
fn a_table_brings_leases_back() {
    let (place, other) = (Place::new(), Place::new());
    let lines = "{\"key\":\"a\",\"value\":\"1\",\"timestamp\":1000,\"expires_at\":4000000000000}\n\
                 {\"key\":\"b\",\"value\":null,\"timestamp\":1000}\n{\"key\":\"c\",\"value\":\"3\",\"timestamp\":1000}\n";
    run_with_input(&place.data(), &["import", "-", "--time-unit", "ms"], lines.as_bytes()).ok();
    let table = place.file("table.csv", run_on(&place.data(), &["export", "--format", "csv"]).ok().stdout);
    let columns = ["--key", "{key}", "--time", "timestamp", "--value", "{value}", "--time-unit", "ms"];
    let rest = ["--delete-if", "deleted=true", "--expires", "expires_at"];
    run_on(&other.data(), &[&["import", &table], &columns[..], &rest].concat()).ok();
    let root = |data| crate::support::status(data)["root"].clone();
    assert_eq!(root(&other.data()), root(&place.data()));
    let wrong = ["--delete-if", "deleted=true", "--expires", "key"];
    run_on(&other.data(), &[&["import", &table], &columns[..], &wrong].concat())
        .fails(1, &["line 2, expires:"]);
}

#[test]
fn it_is_told_behind_a_kill_and_by_a_directory() {
    let place = Place::new();
    let server = Server::start(&place.data());
    let beginning = beginning(&server);
    send(&server.address, "PUT", "/v1/kv/lock?ttl=100ms", &[], b"me").is(200);
    server.signal(Signal::KILL);
    server.ended();
    let server = Server::start(&place.data());
    let watcher = Watcher::spawn(server.command(&["watch", "-o", "jsonl", "--from", &beginning]));
    assert_eq!(
        [words(&watcher.next()), words(&watcher.next())],
        [("lock".into(), false), ("lock".into(), true)]
    );
    server.stop();
    let mut command = crate::support::aevrion();
    command.args(["watch", "-o", "jsonl", "--from", &beginning, "--data"]).arg(place.data());
    let watcher = Watcher::spawn(command);
    assert_eq!(
        [words(&watcher.next()), words(&watcher.next())],
        [("lock".into(), false), ("lock".into(), true)]
    );
    drop(watcher);
    run_on(&place.data(), &["verify"]).ok();
}

/// The cursor before the first arrival.
fn beginning(server: &Server) -> String {
    Events::open(&server.address, "/v1/watch", &[]).next_block().expect("it begins").id
}
