//! The promise: a program told to stop stops at any point of its work, exits with the matching code, and leaves nothing
//! half done.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::server::{Server, wait};
use crate::support::{aevrion, run_on};
use rustix::process::{Pid, Signal, kill_process};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is there");
}

#[test]
fn a_signal_while_it_opens_ends_it_at_once() {
    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let place = tempfile::tempdir().expect("a place");
        // This file imitates a disk that does not answer: reading a FIFO blocks until there is a writer.
        let made = Command::new("mkfifo").arg(place.path().join("STORE")).status().expect("it starts");
        assert!(made.success());
        let mut command = aevrion();
        command.args(["serve", "--http", "127.0.0.1:0", "--data"]).arg(place.path()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        // The FIFO opens once the node reads it.
        let writer = fs::OpenOptions::new().write(true).open(place.path().join("STORE")).expect("it opens");
        signal(&child, sent);
        assert_eq!(wait(&mut child), Some(code), "{sent:?}");
        drop(writer);
    }
}

#[test]
fn the_code_says_which_signal_cut_it_short() {
    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let place = tempfile::tempdir().expect("a place");
        let server = Server::start(&place.path().join("data"));
        // An unfinished request keeps the node running.
        let mut stream = std::net::TcpStream::connect(&server.address).expect("it listens");
        let head =
            "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("it is taken");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("it answers");
        server.signal(Signal::TERM);
        server.line_with("stopping");
        server.signal(sent);
        assert_eq!(server.ended(), Some(code), "{sent:?}");
        run_on(&place.path().join("data"), &["verify"]).ok();
    }
}

/// The names in a directory.
fn names(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).expect("it is there");
    entries.map(|entry| entry.expect("it is there").file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn an_export_that_is_interrupted_leaves_no_draft() {
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = tempfile::tempdir().expect("a place");
        // A node that never answers.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it has one"));
        let mut command = aevrion();
        command.args(["export", "all.jsonl", "--endpoint", &endpoint]).current_dir(place.path());
        let mut child = command.stderr(Stdio::null()).spawn().expect("the binary starts");
        let (mut stream, _) = listener.accept().expect("it asks");
        // The export creates its draft before its request.
        stream.read_exact(&mut [0]).expect("it says what it wants");
        assert_eq!(names(place.path()).len(), 1, "there is no draft");
        signal(&child, sent);
        assert_eq!(wait(&mut child), Some(code), "{sent:?}");
        assert_eq!(names(place.path()), Vec::<String>::new());
    }
}
