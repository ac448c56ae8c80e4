//! The promise: failed output ends no server, and changes no exit code unless the output is the answer itself.

use std::fs::{File, OpenOptions};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::aevrion;
use crate::support::http::send;
use crate::support::member::free_address;
use crate::support::place::Place;
use crate::support::server::PATIENCE;

/// A file on a full disk.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

#[test]
fn a_full_disk_under_standard_error_changes_no_exit_code() {
    let place = Place::new();
    place.run(&["put", "k", "v"]).ok();
    let bad = place.file("bad.jsonl", "{\"key\":\"k\"}\n");
    let code = |arguments: &[&str], out: Stdio| {
        let mut command = aevrion();
        command.args(arguments).arg("--data").arg(place.data()).stdout(out).stderr(full());
        command.status().expect("it starts").code()
    };
    for (arguments, expected) in [
        (&["get", "k"][..], 0),
        (&["get", "missing"], 3),
        (&["import", &bad], 1),
        (&["put", "k"], 2),
        (&["verify"], 0),
        (&["scan"], 0),
    ] {
        assert_eq!(code(arguments, Stdio::null()), Some(expected), "{arguments:?}");
    }
    for answer in [&["get", "k"][..], &["scan"], &["export"], &["status"]] {
        assert_eq!(code(answer, full().into()), Some(1), "{answer:?}");
    }
}

#[test]
fn a_full_disk_under_standard_error_ends_no_server() {
    let place = Place::new();
    let address = free_address().to_string();
    let mut command = aevrion();
    command.args(["serve", "--http", &address, "--data"]).arg(place.data());
    // Each request logs a line, and each of these writes fails.
    command.env("AEVRION_LOG", "trace").stdout(Stdio::null()).stderr(full());
    let mut child = command.spawn().expect("it starts");
    let began = Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(began.elapsed() < PATIENCE && child.try_wait().expect("it is known").is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    for number in 0..20 {
        send(&address, "PUT", &format!("/v1/kv/k{number}"), &[], b"v").is(200);
        send(&address, "GET", "/v1/kv/missing", &[], b"").refuses(404, "no-value", &[]);
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
