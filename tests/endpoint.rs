//! The promise: a verb prints the same bytes and exits with the same code on a running node as on a directory; a
//! stopped node has lost no acknowledged write.

use crate::support::engine;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::support::server::{PATIENCE, Server};
use crate::support::watcher::Watcher;
use crate::support::{ENGINES, Finished, aevrion, run_on, sample};
use aevrion_core::store::Table;
use rustix::process::Signal;
use serde_json::Value;

/// Two directories with the same events: one for verbs on a directory, one for a node.
struct Twins {
    place: tempfile::TempDir,
}

impl Twins {
    fn new() -> Self {
        Self { place: tempfile::tempdir().expect("a directory") }
    }

    fn with_week() -> Self {
        let twins = Self::new();
        for data in [twins.here(), twins.there()] {
            run_on(&data, &["import", sample().to_str().expect("a text")]).ok();
        }
        twins
    }

    fn here(&self) -> PathBuf {
        self.place.path().join("here")
    }

    fn there(&self) -> PathBuf {
        self.place.path().join("there")
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.place.path().join(name);
        fs::write(&path, content).expect("it is written");
        path.into_os_string().into_string().expect("the path is UTF-8")
    }
}

/// Runs a command with `input` on standard input.
fn fed(mut command: Command, input: &[u8]) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it has an input");
    // A command that refuses early closes its input; only its exit code matters.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends").into()
}

/// Scripts rely on standard output and the exit code. Standard error is also the same, but for durations.
#[track_caller]
fn alike(arguments: &[&str], here: &Finished, there: &Finished) {
    assert_eq!(here.code, there.code, "{arguments:?}\nhere: {}\nthere: {}", here.stderr, there.stderr);
    assert!(here.stdout == there.stdout, "{arguments:?}\nhere: {}\nthere: {}", here.stdout, there.stdout);
    let words = |finished: &Finished| -> String {
        let timeless = finished.stderr.lines().map(|line| line.split("; ").next().unwrap_or(line));
        timeless.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(words(here), words(there), "{arguments:?}");
}

#[test]
fn verbs_answer_alike_here_and_there() {
    let twins = Twins::with_week();
    let server = Server::start(&twins.there());
    let commands: &[&[&str]] = &[
        &["put", "k", "v", "--at", "1000"],
        &["put", "k", "w", "--at", "2000", "--ttl", "1h", "-o", "json"],
        &["put", "00ff2f", "fe00", "--hex", "--at", "3000"],
        &["put", "", "v"],
        &["put", "__aevrion/x", "v"],
        &["delete", "__aevrion/x"],
        &["delete", ""],
        &["get", "k", "--at", "1500"],
        &["get", "k", "--at", "2000"],
        &["get", "k"],
        &["get", "nobody"],
        &["get", ""],
        &["get", "00ff2f", "--hex"],
        &["get", "zz", "--hex"],
        &["get", "plane:N14228", "--at", "2013-07-05T01:20:00Z"],
        &["get", "plane:N14228", "--at", "soon"],
        &["history", "plane:N14228"],
        &["history", "plane:N14228", "--reverse", "--limit", "3", "-o", "json"],
        &["history", "plane:N14228", "--limit", "0", "-o", "jsonl"],
        &["history", "nobody"],
        &["history", "k", "--at", "1000", "-o", "raw"],
        &["scan", "-o", "jsonl"],
        &["scan", "plane:N1", "--limit", "7"],
        &["scan", "plane:N1", "--at", "2013-07-02T00:00:00Z", "-o", "json"],
        &["scan", "--from", "plane:N9", "--to", "plane:N95", "-o", "raw"],
        &["scan", "00", "--hex"],
        &["scan", "nobody"],
        &["export"],
        &["verify"],
        &["verify", "-o", "json"],
        &["rebuild"],
    ];
    for arguments in commands {
        alike(arguments, &run_on(&twins.here(), arguments), &server.run(arguments));
    }
    let names = |finished: Finished| -> Vec<String> {
        finished.ok().json().as_object().expect("an object").keys().cloned().collect()
    };
    let status = ["status", "-o", "json"];
    assert_eq!(names(run_on(&twins.here(), &status)), names(server.run(&status)));
    let (here, there) = (run_on(&twins.here(), &status).json(), server.run(&status).json());
    for name in ["events", "keys", "root", "store", "power_safe", "transport", "read_only", "largest_data"] {
        assert_eq!(here[name], there[name], "{name}");
    }
    server.run(&["delete", "k"]).ok();
    server.run(&["get", "k"]).fails(3, &["`k` has no value"]);
}

#[test]
fn values_of_every_size_go_through_standard_input() {
    let twins = Twins::new();
    let server = Server::start(&twins.there());
    let every: Vec<u8> = (0..=255).collect();
    for value in [every.clone(), Vec::new(), every.repeat(1 << 16)] {
        fed(server.command(&["put", "k", "-"]), &value).ok();
        let got = server.command(&["get", "k"]).output().expect("the binary starts");
        assert!(got.stdout == value, "{} bytes came back as {}", value.len(), got.stdout.len());
    }
    let too_large = vec![0; (16 << 20) + 1];
    let refused = fed(server.command(&["put", "k", "-"]), &too_large);
    refused.fails(1, &["16777216"]);
    let here = {
        let mut command = aevrion();
        command.args(["put", "k", "-", "--data"]).arg(twins.here());
        fed(command, &too_large)
    };
    here.fails(1, &["16777216"]);
}

#[test]
fn imports_and_exports_are_alike() {
    let twins = Twins::new();
    let server = Server::start(&twins.there());
    let both = |arguments: &[&str]| {
        let there = server.run(arguments);
        alike(arguments, &run_on(&twins.here(), arguments), &there);
        there
    };
    both(&["import", sample().to_str().expect("a text")]).ok();
    both(&["import", sample().to_str().expect("a text")]).ok();
    let csv = twins.file("more.csv", "tail,when,state\nN1,1700000000000,up\nN2,,down\nN3,1700000000002,up\n");
    let columns = ["--key", "{tail}", "--time", "when", "--value", "{state}"];
    both(&[&["import", &csv], &columns[..]].concat()).fails(1, &["line 3, time:", "1 events before it"]);
    both(&[&["import", &csv, "--skip-bad"], &columns[..]].concat()).ok();
    both(&["import", &csv]).fails(2, &["--key"]);
    both(&["import", "no-such-file"]).fails(1, &["no-such-file"]);
    let long = format!("{{\"key\":\"{}\",\"value\":1,\"timestamp\":1}}\n", "k".repeat(4_097));
    both(&["import", &twins.file("long.jsonl", long)]).fails(1, &["line 1, key:", "4097"]);
    // Many batches, with one request each.
    let line = |n: u64| format!("{{\"key\":\"m{n}\",\"value\":{n},\"timestamp\":{}}}\n", 1_000 + n);
    let many = twins.file("many.jsonl", (0..30_000).map(line).collect::<String>());
    both(&["import", &many]).ok();

    let exported = |name: &str| twins.place.path().join(name).into_os_string().into_string().expect("UTF-8");
    let (here, there) = (exported("here.jsonl"), exported("there.jsonl"));
    run_on(&twins.here(), &["export", &here]).ok();
    server.run(&["export", &there]).ok();
    assert!(fs::read(here).expect("it is there") == fs::read(there).expect("it is there"));
    assert_eq!(server.run(&["export"]).ok().stdout.lines().count(), 12_152 + 30_000);
}

#[test]
fn damage_has_the_same_code_here_and_there() {
    for engine in ENGINES {
        let twins = Twins::new();
        for data in [twins.here(), twins.there()] {
            let lines: String = (0..5_000)
                .map(|n| format!("{{\"key\":\"k{n}\",\"value\":{n},\"timestamp\":{}}}\n", 1_000 + n))
                .collect();
            run_on(&data, &["import", &twins.file("k.jsonl", lines), "--store", engine]).ok();
            run_on(&data, &["rebuild"]).ok();
            engine::plant(engine, &data, Table::Events, |rows, batch| {
                let (key, value) = &rows[4_500];
                let mut spoilt = value.clone();
                *spoilt.last_mut().expect("a row has a value") ^= 1;
                batch.put(Table::Events, key.clone(), spoilt);
            });
        }
        let server = Server::start(&twins.there());
        for arguments in [
            &["get", "k4500"][..],
            &["export"],
            &["verify", "-o", "json"],
            &["history", "k4500"],
            &["get", "k1"],
        ] {
            let (here, there) = (run_on(&twins.here(), arguments), server.run(arguments));
            let code = if arguments[1..] == ["k1"] { 0 } else { 7 };
            assert_eq!(here.code, Some(code), "{arguments:?}: {}", here.stderr);
            assert_eq!(there.code, here.code, "{arguments:?}: {}", there.stderr);
            assert_eq!(there.stderr, here.stderr, "{arguments:?}");
            if arguments[0] == "verify" {
                assert_eq!(there.stdout, here.stdout);
            }
        }
        // An incomplete export leaves no file.
        let file = twins.place.path().join("damaged.jsonl");
        server.run(&["export", file.to_str().expect("UTF-8")]).fails(7, &["damaged"]);
        assert!(!file.exists());
    }
}

// ---- Choice of the node ----

#[test]
fn without_a_node_it_is_said_how_to_start_one() {
    for verb in [&["status"][..], &["get", "k"], &["put", "k", "v"], &["watch"], &["export"], &["verify"]] {
        let finished: Finished = aevrion().args(verb).output().expect("the binary starts").into();
        finished.fails(6, &["nothing answers at http://127.0.0.1:", "aevrion serve --data DIR", "--data"]);
    }
    // Another program listens at this address.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has one"));
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut request = BufReader::new(stream.try_clone().expect("it can be shared"));
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            request.read_line(&mut line).expect("a request comes");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").expect("it is taken");
        // Keeps the connection open until the client has read the answer.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut command = aevrion();
    let finished: Finished =
        command.args(["status", "--endpoint", &endpoint]).output().expect("the binary starts").into();
    finished.fails(1, &["cannot understand", &endpoint]);
    stranger.join().expect("it was asked");
    for endpoint in ["ftp://127.0.0.1", "127.0.0.1:7387", "http://", "http://127.0.0.1/v1"] {
        let finished: Finished =
            aevrion().args(["status", "--endpoint", endpoint]).output().expect("it starts").into();
        finished.fails(2, &["is no endpoint", "http://127.0.0.1:7387"]);
    }
}

#[test]
fn a_directory_or_a_node_but_not_both() {
    let twins = Twins::new();
    let server = Server::start(&twins.there());
    server.run(&["put", "k", "there"]).ok();
    run_on(&twins.here(), &["put", "k", "here"]).ok();
    let (here, endpoint) = (twins.here(), server.endpoint());
    let here = here.to_str().expect("UTF-8");
    let config = twins.file("settings.toml", format!("endpoint = {endpoint:?}\n"));
    let both = twins.file("both.toml", format!("endpoint = {endpoint:?}\ndata = {here:?}\n"));
    let get = |variables: &[(&str, &str)], arguments: &[&str]| -> Finished {
        let mut command = aevrion();
        command.env_remove("AEVRION_ENDPOINT").envs(variables.iter().copied());
        command.args(["get", "k"]).args(arguments).output().expect("the binary starts").into()
    };
    let (to_node, to_directory) = (("AEVRION_ENDPOINT", &*endpoint), ("AEVRION_DATA", here));
    assert_eq!(get(&[], &["--endpoint", &endpoint]).ok().stdout, "there");
    assert_eq!(get(&[to_node], &[]).ok().stdout, "there");
    assert_eq!(get(&[], &["--config", &config]).ok().stdout, "there");
    assert_eq!(get(&[], &["--config", &both]).ok().stdout, "here");
    assert_eq!(get(&[], &["--config", &both, "--endpoint", &endpoint]).ok().stdout, "there");
    assert_eq!(get(&[to_node], &["--data", here]).ok().stdout, "here");
    assert_eq!(get(&[to_node, to_directory], &[]).ok().stdout, "here");
    assert_eq!(get(&[to_directory], &["--endpoint", &endpoint]).ok().stdout, "there");
    get(&[], &["--endpoint", &endpoint, "--data", here]).fails(2, &["--data", "--endpoint", "one of them"]);
    // A running node locks its directory.
    let words = ["open in another process", "leave --data out", "aevrion serve"];
    run_on(&twins.there(), &["get", "k"]).fails(1, &words);
}

// ---- Serving ----

#[test]
fn what_cannot_be_served_is_said() {
    let twins = Twins::new();
    let serve = |arguments: &[&str]| -> Finished {
        aevrion().arg("serve").args(arguments).output().expect("the binary starts").into()
    };
    serve(&[]).fails(2, &["which store?", "--data DIR", "--store memory"]);
    let data = twins.here();
    let data = data.to_str().expect("UTF-8");
    for address in ["0.0.0.0:0", "192.0.2.1:7387", "[::]:0"] {
        serve(&["--data", data, "--http", address]).fails(2, &["plain text", "loopback", "tunnel"]);
    }
    serve(&["--data", data, "--http", "localhost"]).fails(2, &["--http"]);
    serve(&["--data", data, "--transport", "pigeon"]).fails(2, &["quic", "tcp"]);
    for config in ["http = \"0.0.0.0:7387\"\n", "transport = \"pigeon\"\n", "htp = \"127.0.0.1:0\"\n"] {
        serve(&["--data", data, "--config", &twins.file("settings.toml", config)]).fails(2, &[]);
    }
    assert!(!twins.here().exists(), "a store was made in spite of the error");
    let server = Server::start(&twins.there());
    serve(&["--data", data, "--http", &server.address]).fails(1, &["cannot listen", &server.address]);
    let there = twins.there();
    serve(&["--data", there.to_str().expect("UTF-8"), "--http", "127.0.0.1:0"])
        .fails(1, &["open in another process"]);
}

#[test]
fn settings_of_the_server_come_from_everywhere() {
    let twins = Twins::new();
    let config = format!("data = {:?}\nhttp = \"127.0.0.1:0\"\ntransport = [\"quic\"]\n", twins.here());
    let config = twins.file("settings.toml", config);
    let mut command = aevrion();
    command.args(["serve", "--config", &config]);
    let of_file = Server::spawn(command);
    assert_eq!(of_file.run(&["put", "k", "v"]).ok().code, Some(0));
    of_file.stop();
    let mut command = aevrion();
    command.arg("serve").env("AEVRION_DATA", twins.here()).env("AEVRION_HTTP", "127.0.0.1:0");
    let of_environment = Server::spawn(command);
    assert_eq!(of_environment.run(&["get", "k"]).ok().stdout, "v");
    of_environment.stop();
}

#[cfg(feature = "memory")]
#[test]
fn memory_can_be_served() {
    let mut command = aevrion();
    command.args(["serve", "--store", "memory", "--http", "127.0.0.1:0"]);
    let server = Server::spawn(command);
    server.run(&["put", "k", "v"]).ok();
    assert_eq!(server.run(&["get", "k"]).ok().stdout, "v");
    assert_eq!(server.run(&["status", "-o", "json"]).ok().json()["store"], "memory");
    server.stop();
}

/// Writes one key after the other until the node is down. Returns the acknowledged keys.
fn write_until_gone(endpoint: &str, writer: usize, first: &mpsc::Sender<()>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let key = format!("w{writer}:{n}");
        let mut command = aevrion();
        command.args(["put", &key, "v", "--endpoint", endpoint]);
        let finished: Finished = command.output().expect("the binary starts").into();
        match finished.code {
            Some(0) => acknowledged.push(key),
            Some(6) | Some(1) => return acknowledged,
            code => panic!("{code:?}: {}", finished.stderr),
        }
        // The test may have stopped listening.
        let _ = first.send(());
    }
    acknowledged
}

#[test]
fn a_node_that_is_stopped_during_writes_has_lost_nothing() {
    for engine in ENGINES {
        let twins = Twins::new();
        run_on(&twins.there(), &["import", "/dev/null", "--store", engine]).ok();
        let server = Server::start(&twins.there());
        let (told, first) = mpsc::channel();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (endpoint, told) = (server.endpoint(), told.clone());
                std::thread::spawn(move || write_until_gone(&endpoint, writer, &told))
            })
            .collect();
        for _ in 0..20 {
            first.recv_timeout(PATIENCE).expect("they write");
        }
        server.stop();
        let written: Vec<String> =
            writers.into_iter().flat_map(|writer| writer.join().expect("it ended")).collect();
        assert!(written.len() >= 20);
        let keys: Vec<String> = run_on(&twins.there(), &["scan", "-o", "jsonl"])
            .ok()
            .json_lines()
            .iter()
            .map(|event| event["key"].as_str().expect("a text").to_owned())
            .collect();
        for key in &written {
            assert!(keys.contains(key), "{key} was acknowledged and is lost");
        }
        run_on(&twins.there(), &["verify"]).ok();
    }
}

#[test]
fn a_request_in_flight_is_finished() {
    let twins = Twins::new();
    let server = Server::start(&twins.there());
    let mut stream = std::net::TcpStream::connect(&server.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    let head =
        "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is taken");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // This answer shows that the node has begun with the request.
    reader.read_line(&mut line).expect("it answers");
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    server.signal(Signal::TERM);
    server.line_with("stopping");
    reader.get_mut().write_all(b"late").expect("it is taken");
    let answer: Vec<String> = reader.lines().map_while(Result::ok).collect();
    assert!(answer.iter().any(|line| line == "HTTP/1.1 200 OK"), "{answer:?}");
    assert_eq!(server.ended(), Some(0));
    assert_eq!(run_on(&twins.there(), &["get", "k"]).ok().stdout, "late");
}

#[cfg(target_os = "linux")]
#[test]
fn the_service_manager_is_told() {
    let twins = Twins::new();
    let path = twins.place.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    let mut command = aevrion();
    command.args(["serve", "--http", "127.0.0.1:0", "--data"]).arg(twins.here());
    let server = Server::spawn({
        command.env("NOTIFY_SOCKET", &path);
        command
    });
    let mut told = [0; 100];
    let mut next = || socket.recv(&mut told).map(|len| String::from_utf8_lossy(&told[..len]).into_owned());
    assert_eq!(next().expect("it comes"), "READY=1");
    server.stop();
    assert_eq!(next().expect("it comes"), "STOPPING=1");
}

// ---- Watching ----

#[test]
fn a_watch_outlives_its_node() {
    let twins = Twins::new();
    let mut server = Server::start(&twins.there());
    let address = server.address.clone();
    server.run(&["put", "before", "v"]).ok();
    let beginning = {
        let cursor = server.run(&["status", "-o", "json"]).ok().json()["node_id"].clone();
        format!("{}-0", &cursor.as_str().expect("a text")[..8])
    };
    let watcher = Watcher::spawn(server.command(&["watch", "-o", "jsonl", "--from", &beginning]));
    assert_eq!(watcher.next()["key"], "before");
    let mut cursors = Vec::new();
    for round in 0..3 {
        for n in 0..3 {
            let key = format!("{round}:{n}");
            server.run(&["put", &key, "v"]).ok();
            let event = watcher.next();
            assert_eq!(event["key"], key);
            cursors.push(event["cursor"].as_str().expect("a text").to_owned());
        }
        server.stop();
        // Events that arrive while the watch is disconnected are shown later.
        run_on(&twins.there(), &["put", &format!("{round}:offline"), "v"]).ok();
        server = Server::start_at(&twins.there(), &address);
        assert_eq!(watcher.next()["key"], format!("{round}:offline"));
    }
    assert_eq!(watcher.interrupt(), Some(130));

    // From a cursor on, another watch shows the remaining events again, over the node and over its directory.
    let behind = &cursors[3];
    let there = Watcher::spawn(server.command(&["watch", "1", "-o", "jsonl", "--from", behind]));
    let seen: Vec<Value> = (0..3).map(|_| there.next()).collect();
    assert_eq!(seen[0]["key"], "1:1");
    assert_eq!(seen[2]["key"], "1:offline");
    drop(there);
    server.stop();
    let mut command = aevrion();
    command.args(["watch", "1", "-o", "jsonl", "--from", behind, "--data"]).arg(twins.there());
    let here = Watcher::spawn(command);
    assert_eq!((0..3).map(|_| here.next()).collect::<Vec<_>>(), seen);
    assert_eq!(here.interrupt(), Some(130));
}

#[test]
fn watches_that_cannot_begin_are_refused_alike() {
    let twins = Twins::new();
    run_on(&twins.here(), &["import", "/dev/null"]).ok();
    let server = Server::start(&twins.there());
    for (from, code, word) in
        [("nonsense", 2, "6d8a31cc-9f86d081884c7d65-42"), ("00000000-0", 1, "another node")]
    {
        let arguments = ["watch", "--from", from];
        server.run(&arguments).fails(code, &[word]);
        run_on(&twins.here(), &arguments).fails(code, &[word]);
    }
}

#[test]
fn a_node_whose_store_has_failed_is_asked_ever_less_often() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has one"));
    let mut command = aevrion();
    command.args(["watch", "--endpoint", &endpoint]);
    let watcher = Watcher::spawn(command);
    // This server begins a stream each time, reports a problem, and ends the stream.
    let begin = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n: from here on\nid: 00000000-0\n\nevent: problem\nid: \
         00000000-0\ndata: {}\n\n",
        serde_json::json!({"type": "urn:aevrion:problem:failed", "title": "", "status": 500, "detail": "broken"})
    );
    let mut asked = Vec::new();
    for _ in 0..4 {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        asked.push(std::time::Instant::now());
        let mut request = BufReader::new(stream.try_clone().expect("it can be shared"));
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            request.read_line(&mut line).expect("a request comes");
        }
        stream.write_all(begin.as_bytes()).expect("it is taken");
    }
    let last = asked[3] - asked[2];
    assert!(last.as_millis() >= 350, "after two failures it waited {last:?} only");
    assert_eq!(watcher.interrupt(), Some(130));
}
