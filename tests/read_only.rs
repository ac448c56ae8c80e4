//! The promise: on a read-only file system, reading verbs answer as usual, also after a crash, and change nothing; the
//! others give the reason of their failure. sled needs write access even for reads, and says so.
//!
//! The tests mount a real file system, which takes root on Linux; elsewhere they say that they were skipped.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::disk::SmallDisk;
use crate::support::server::Server;
use crate::support::{ENGINES, Finished, aevrion, run_on, sample};

const READING: &[&[&str]] = &[
    &["status"],
    &["get", "plane:N14228"],
    &["history", "plane:N14228", "-o", "jsonl"],
    &["scan", "-o", "jsonl"],
    &["scan", "plane:", "--at", "2013-07-04T12:00:00Z", "-o", "jsonl"],
    &["export"],
    &["verify"],
];

fn fill(data: &Path, engine: &str) {
    run_on(data, &["import", "--store", engine, sample().to_str().expect("a text")]).ok();
    run_on(data, &["put", "plane:N14228", "last"]).ok();
}

/// The output of the verbs, without the durability of writes.
fn answers(data: &Path) -> Vec<(Option<i32>, String)> {
    let answers = READING.iter().map(|verb| run_on(data, verb));
    let same = |finished: Finished| {
        // Writes to a file system in memory are not power-safe.
        let lines = finished.stdout.lines().filter(|line| !line.starts_with("store "));
        (finished.code, lines.collect::<Vec<_>>().join("\n"))
    };
    answers.map(same).collect()
}

#[test]
fn what_is_on_a_medium_that_cannot_be_written_is_read() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let data = disk.data();
    fill(&data, "redb");
    let before = answers(&data);
    assert!(before.iter().all(|(code, _)| *code == Some(0)), "{before:?}");
    for without_lock in [false, true] {
        if without_lock {
            disk.allow_writing();
            fs::remove_file(data.join("LOCK")).expect("it is there");
        }
        disk.forbid_writing();
        assert!(answers(&data) == before, "another answer than where it can be written");
        for verb in [
            &["put", "k", "v"][..],
            &["delete", "k"],
            &["import", "/dev/null"],
            &["rebuild"],
            &["clock", "resume"],
        ] {
            run_on(&data, verb).fails(1, &["Read-only file system"]);
        }
        let mut serve = aevrion();
        serve.args(["serve", "--http", "127.0.0.1:0", "--data"]).arg(&data);
        Finished::from(serve.output().expect("it starts")).fails(1, &["Read-only file system"]);
    }
}

/// The file of a killed server needs recovery before it can be read.
#[test]
fn what_a_crash_has_left_is_read() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let data = disk.data();
    fill(&data, "redb");
    let server = Server::start(&data);
    for number in 0..50 {
        server.run(&["put", &format!("k{number}"), "v"]).ok();
    }
    server.signal(Signal::KILL);
    server.ended();
    disk.forbid_writing();
    for _ in 0..2 {
        run_on(&data, &["get", "k49"]).ok();
        run_on(&data, &["verify"]).ok();
    }
    disk.allow_writing();
    run_on(&data, &["verify"]).ok();
    run_on(&data, &["put", "k", "v"]).ok();
}

#[test]
fn a_server_that_writes_keeps_readers_out() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let data = disk.data();
    fill(&data, "redb");
    let server = Server::start(&data);
    run_on(&data, &["get", "plane:N14228"]).fails(1, &["is open in another process", "leave --data out"]);
    server.stop();
}

#[test]
fn sled_says_that_it_cannot() {
    if !ENGINES.contains(&"sled") {
        return;
    }
    let Some(disk) = SmallDisk::new(64) else { return };
    fill(&disk.data(), "sled");
    disk.forbid_writing();
    run_on(&disk.data(), &["get", "plane:N14228"]).fails(1, &["Read-only file system", "read the copy"]);
}
