//! The promise: a node verifies its whole store without delaying other requests, even on its single thread. It reports
//! progress, and gives up when the client leaves or when it is told to stop.

use crate::support::http;
use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::http::{connect, read_chunk, read_head};
use crate::support::server::{PATIENCE, Server};
use crate::support::{aevrion, run_with_input};
use rustix::process::Signal;
use serde_json::Value;

/// Enough events for some seconds of work.
const EVENTS: u64 = if cfg!(debug_assertions) { 100_000 } else { 400_000 };

/// A node with one thread for everything but its disk.
fn start(data: &Path) -> Server {
    let mut lines = String::new();
    for number in 0..EVENTS {
        let (key, at) = (number % 20_000, 1_700_000_000_000 + number * 700);
        writeln!(lines, r#"{{"key":"key{key}","value":"{number}","timestamp":{at}}}"#)
            .expect("there is room");
    }
    run_with_input(data, &["import", "-"], lines.as_bytes()).ok();
    let mut command = aevrion();
    command.args(["serve", "--http", "127.0.0.1:0", "--data"]).arg(data).env("TOKIO_WORKER_THREADS", "1");
    Server::spawn(command)
}

/// A verification from the client's side.
struct Verifying {
    reader: BufReader<TcpStream>,
}

impl Verifying {
    /// Requests a verification. Returns the status if it does not start.
    fn ask(server: &Server) -> Result<Self, u16> {
        let mut stream = connect(&server.address);
        let head =
            format!("POST /v1/verify HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", server.address);
        stream.write_all(head.as_bytes()).expect("it is taken");
        let mut reader = BufReader::new(stream);
        let status = read_head(&mut reader).status;
        if status == 200 { Ok(Self { reader }) } else { Err(status) }
    }

    /// Requests until a verification starts: only one runs at a time.
    fn begin(server: &Server) -> Self {
        let begin = Instant::now();
        loop {
            match Self::ask(server) {
                Ok(begun) => return begun,
                Err(status) => assert_eq!(status, 503),
            }
            assert!(begin.elapsed() < PATIENCE, "it is never begun");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Value> {
        let line = read_chunk(&mut self.reader)?.expect("it goes on");
        Some(serde_json::from_slice(&line).expect("each is a line of JSON"))
    }

    /// Whether the next line reports progress, with more work left.
    fn is_under_way(&mut self) -> bool {
        self.line().is_some_and(|line| line.get("progress").is_some())
    }
}

/// The lines and the duration of a complete verification.
fn verify_to_the_end(server: &Server) -> (Vec<Value>, Duration) {
    let begin = Instant::now();
    let mut verifying = Verifying::begin(server);
    let lines = std::iter::from_fn(|| verifying.line()).collect();
    (lines, begin.elapsed())
}

#[test]
fn others_are_answered_while_a_node_verifies_and_it_says_how_far_it_is() {
    let place = tempfile::tempdir().expect("a place");
    let server = start(&place.path().join("data"));
    let (answered, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let lines = std::thread::scope(|scope| {
        let mut verifying = Verifying::begin(&server);
        assert!(verifying.is_under_way());
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                http::send(&server.address, "GET", "/livez", &[], b"").is(200);
                http::send(&server.address, "PUT", "/v1/kv/beside", &[], b"value").is(200);
                if !ended.load(Ordering::SeqCst) {
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let lines: Vec<Value> = std::iter::from_fn(|| verifying.line()).collect();
        ended.store(true, Ordering::SeqCst);
        lines
    });
    assert!(answered.into_inner() > 10, "others waited until it was done");
    let (result, steps) = lines.split_last().expect("something is said");
    assert_eq!((&result["result"]["clean"], &result["result"]["events"]), (&true.into(), &EVENTS.into()));
    let done = |step: &Value| {
        (step["progress"]["phase"].as_str().map(str::to_owned), step["progress"]["done"].as_u64())
    };
    let mut places: Vec<_> = steps.iter().map(done).collect();
    places.dedup();
    assert!(places.len() > 2, "it says too little: {steps:?}");
}

#[test]
fn a_verification_ends_when_its_client_leaves() {
    let place = tempfile::tempdir().expect("a place");
    let server = start(&place.path().join("data"));
    let (_, whole) = verify_to_the_end(&server);
    let mut verifying = Verifying::begin(&server);
    assert!(verifying.is_under_way());
    assert_eq!(Verifying::ask(&server).err(), Some(503), "one goes on at a time");
    drop(verifying);
    let left = Instant::now();
    assert!(Verifying::begin(&server).is_under_way());
    assert!(left.elapsed() < whole / 2, "it went on for {:?} of {whole:?}", left.elapsed());
}

#[test]
fn a_node_that_verifies_stops_when_it_is_told_to() {
    let place = tempfile::tempdir().expect("a place");
    let server = start(&place.path().join("data"));
    let (_, whole) = verify_to_the_end(&server);
    let mut verifying = Verifying::begin(&server);
    assert!(verifying.is_under_way());
    let told = Instant::now();
    server.signal(Signal::TERM);
    let last = std::iter::from_fn(|| verifying.line()).last().expect("it says why");
    assert_eq!(last["problem"]["type"], "urn:aevrion:problem:stopping");
    assert_eq!(server.ended(), Some(0));
    assert!(told.elapsed() < whole / 2, "it ended after {:?} of {whole:?}", told.elapsed());
}
