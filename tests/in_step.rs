//! Promise: scripts can see, await and act upon the state between a node and its neighbours; reads of the past say up
//! to when it is settled.

use crate::support::{http, server};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::http::Response;
use crate::support::member::{Member, Place, agree, until};
use crate::support::{Finished, aevrion, run_on};
use serde_json::{Value, json};

#[test]
fn a_node_says_how_things_stand_with_its_neighbours() {
    let place = Place::new();
    let first = place.first("first");
    let second = Member::join(place.at("second"), "sled", "tcp", &first, true);
    second.run(&["put", "k", "v"]).ok();
    // The first node was told of an address before anything listened there. Once it meets that node, the two are one
    // neighbour.
    let neighbours = || first.status()["neighbours"].as_array().map(Vec::len);
    until(|| neighbours() == Some(1), "one node is two neighbours");
    agree(&[(&first, 1), (&second, 1)]);
    // The connection comes from an ephemeral port; the neighbour listens at another.
    assert_eq!(first.status()["neighbours"][0]["address"], second.address("tcp"));

    let id = second.status()["node_id"].clone();
    let (status, replication) = (first.status(), first.sync_status());
    let nodes = first.run(&["cluster", "nodes", "-o", "json"]).ok().json();
    for list in [&status["neighbours"], &replication["neighbours"], &nodes] {
        let [neighbour] = &list.as_array().expect("a list")[..] else { panic!("one neighbour: {list}") };
        assert_eq!((&neighbour["id"], &neighbour["state"]), (&id, &"agrees".into()), "{neighbour}");
        assert!(neighbour["address"].as_str().is_some_and(|text| text.starts_with("tcp://127.")));
        // Both nodes use the clock of one machine.
        let offset = neighbour["clock_offset_ms"].as_i64().expect("a number");
        assert!(offset.abs() < 5_000, "{neighbour}");
        assert_eq!(neighbour["behind"], 0);
        let now = status["now"].as_u64().expect("a time");
        let until = neighbour["agreed_until"].as_u64().expect("a time");
        assert!(until <= now + 5_000 && until + 60_000 > now, "{neighbour} at {now}");
        assert_eq!(neighbour["differences"], Value::Array(Vec::new()));
        assert!(neighbour["bytes_received"].as_u64() > Some(0) && neighbour["bytes_sent"].as_u64() > Some(0));
    }
    assert_eq!(replication["faults"], Value::Object(serde_json::Map::new()));
    assert!(replication["messages"]["Hello"][0].as_u64() > Some(0), "{replication}");
    assert!(first.run(&["sync", "now"]).ok().stdout.contains("comparing with 1 of 1 neighbour"));
    let asked = first.run(&["sync", "now", "-o", "json"]).ok().json();
    assert_eq!(asked["neighbours"][0]["id"], id);
    let diff = first.run(&["sync", "diff", "-o", "json"]).ok();
    assert_eq!(diff.json(), Value::Array(Vec::new()));
    let table = first.run(&["sync", "status"]).ok().stdout;
    assert!(table.contains("agrees") && table.contains(&id.as_str().expect("a text")[..8]), "{table}");
    let waited = second.run(&["sync", "wait", "-o", "json"]).ok().json();
    assert_eq!((&waited["agrees"], &waited["events"]), (&true.into(), &1.into()));
    assert_eq!(waited["root"], first.status()["root"]);

    lists_are_lines(&first);
    metrics_tell(&first, &id);
}

/// With `-o jsonl` each list is printed as lines, on a node with one neighbour that agrees.
#[track_caller]
fn lists_are_lines(first: &Member) {
    for (verb, lines) in [
        (&["status"][..], 1),
        (&["sync", "status"], 1),
        (&["sync", "now"], 1),
        (&["sync", "wait"], 1),
        (&["sync", "diff"], 0),
        (&["cluster", "nodes"], 1),
        (&["rebuild"], 1),
        (&["verify"], 1),
    ] {
        let said = first.run(&[verb, &["-o", "jsonl"]].concat()).ok();
        assert_eq!(said.json_lines().len(), lines, "{verb:?}: {}", said.stdout);
    }
}

/// The metrics show the state between a node and its one neighbour.
#[track_caller]
fn metrics_tell(first: &Member, id: &Value) {
    let metrics = get(first, "/metrics").is(200).text();
    for line in [
        "aevrion_neighbours 1".to_owned(),
        "aevrion_neighbours_unreached 0".to_owned(),
        format!("aevrion_neighbour_behind_events{{neighbour={id}}} 0"),
        "aevrion_sync_refusals_total{transport=\"tcp\",reason=\"foreign_authority\"} 0".to_owned(),
        "aevrion_sync_dropped_questions_total 0".to_owned(),
        "aevrion_sync_overflows_total 0".to_owned(),
        "aevrion_clock_alarm 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "`{line}` is not in {metrics}");
    }
    let sent = format!("neighbour_bytes_total{{neighbour={id},direction=\"out\"}} ");
    let received = format!("neighbour_bytes_total{{neighbour={id},direction=\"in\"}} ");
    for name in [
        "neighbour_clock_offset_milliseconds{",
        "sync_messages_total{kind=",
        "sync_failed_dials_total ",
        "certificate_ends_seconds ",
        &sent,
        &received,
    ] {
        assert!(metrics.contains(&format!("\naevrion_{name}")), "`{name}` is not in {metrics}");
    }
}

/// The answer of a node over HTTP.
fn get(member: &Member, target: &str) -> Response {
    http::send(&member.server().address, "GET", target, &[], b"")
}

/// The output of a `sync` verb for a given answer of a node. Two real nodes do not differ for long enough.
fn made_of(answer: &Value, verb: &str, more: &[&str]) -> Finished {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has one"));
    let body = answer.to_string();
    let node = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it is asked");
        let mut asked = [0; 1_024];
        let read = stream.read(&mut asked).expect("it says what it wants");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("it listens");
        assert!(asked[..read].starts_with(b"GET /v1/sync HTTP/1.1\r\n"));
    });
    let finished = aevrion().args(["sync", verb, "--endpoint", &endpoint]).args(more).output();
    node.join().expect("it was asked");
    finished.expect("the binary starts").into()
}

fn diff_of(answer: &Value, more: &[&str]) -> Finished {
    made_of(answer, "diff", more)
}

#[test]
fn nodes_that_differ_have_a_code_and_the_spans_in_which_they_do() {
    let place = Place::new();
    let first = place.first("first");
    let second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    agree(&[(&second, 1)]);
    let mut answer = second.sync_status();
    assert_eq!(diff_of(&answer, &["-o", "json"]).ok().json(), json!([]));
    let mut other = answer["neighbours"][0].clone();
    other["address"] = "quic://192.0.2.1:7388".into();
    other["differences"] = json!([[1_700_000_000_000_u64, 1_700_000_000_999_u64], [0, 41]]);
    answer["neighbours"].as_array_mut().expect("a list").push(other.clone());

    let told = diff_of(&answer, &[]).fails(8, &["1 of 2 neighbours differ", "aevrion sync now"]);
    let rows: Vec<Vec<_>> = told.stdout.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
    let address = "quic://192.0.2.1:7388";
    assert_eq!(
        rows,
        [
            [address, "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.999Z"],
            [address, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.041Z"]
        ]
    );
    assert_eq!(diff_of(&answer, &["-o", "json"]).fails(8, &[]).json(), json!([other]));
    assert_eq!(diff_of(&answer, &["-o", "jsonl"]).fails(8, &[]).json_lines(), [other]);
}

#[test]
fn who_was_not_compared_with_is_named_and_no_agreement() {
    let place = Place::new();
    let first = place.first("first");
    first.run(&["sync", "diff"]).fails(8, &["no neighbour to compare with"]);
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    // The configured address and the incoming connection turn out to be one node.
    until(|| first.status()["neighbours"].as_array().map(Vec::len) == Some(1), "one node is two neighbours");
    agree(&[(&first, 1), (&second, 1)]);
    first.run(&["sync", "diff"]).ok();
    second.kill();
    let state = || first.status()["neighbours"][0]["state"].clone();
    until(|| state() == "unreachable", "the end of a neighbour is not noticed");
    let words = ["not compared with", &second.address("tcp"), "(unreachable)", "aevrion sync now"];
    let told = first.run(&["sync", "diff", "-o", "json"]).fails(8, &words);
    assert_eq!(told.json(), json!([]));
    let row = first.run(&["sync", "status"]).ok().stdout;
    let row = row.lines().nth(1).expect("a neighbour").to_owned();
    assert!(row.contains("  -  "), "0 would be agreement: {row}");
}

#[test]
fn what_a_neighbour_says_does_no_harm_to_a_terminal() {
    let place = Place::new();
    let first = place.first("first");
    let mut answer = first.sync_status();
    let nasty = "\u{1b}]0;owned\u{7}\u{1b}[2Jgone";
    answer["neighbours"] = json!([{
        "id": null, "address": "quic://192.0.2.1:7388", "state": "unreachable", "clock_offset_ms": null,
        "agreed_until": null, "behind": null, "problem": nasty, "round_trip_ms": null, "received": 0, "sent": 0,
        "bytes_received": 0, "bytes_sent": 0, "differences": [],
    }]);
    let table = made_of(&answer, "status", &[]).ok().stdout;
    assert!(table.contains("gone") && !table.chars().any(|c| c.is_control() && c != '\n'), "{table:?}");
    let document = made_of(&answer, "status", &["-o", "json"]).ok().json();
    assert_eq!(document["neighbours"][0]["problem"], nasty);
}

#[test]
fn a_catch_up_says_how_far_it_has_come_and_how_long_it_takes() {
    let place = Place::new();
    let first = place.first("first");
    let second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    agree(&[(&second, 1)]);
    let mut answer = second.sync_status();
    assert_eq!(answer["neighbours"][0]["catch_up"], Value::Null, "{answer}");
    answer["neighbours"][0]["state"] = "repairing".into();
    answer["neighbours"][0]["behind"] = 310_220.into();
    answer["neighbours"][0]["catch_up"] = json!({
        "blocks": 131, "blocks_agreed": 34, "moved": 351_390, "bytes_to_go": 29_779_558,
        "events_per_second": 81_300.4, "seconds_to_go": 3.8,
    });
    let row = made_of(&answer, "status", &[]).ok().stdout;
    let said = "repairing: 34 of 131 blocks agree, 28.40 MiB to go, 81,300/s, 4s left  310,220";
    assert!(row.contains(said), "{row}");
    let document = made_of(&answer, "status", &["-o", "json"]).ok().json();
    assert_eq!(document["neighbours"][0]["catch_up"], answer["neighbours"][0]["catch_up"]);
}

#[test]
fn a_neighbour_that_is_gone_is_waited_for_and_no_longer() {
    let place = Place::new();
    let first = place.first("first");
    first.run(&["sync", "wait", "--timeout", "2s"]).fails(8, &["no neighbour was connected within 2s"]);
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    agree(&[(&first, 1), (&second, 1)]);
    second.kill();
    until(|| first.connected() == 0, "the end of a neighbour is not noticed");
    first.run(&["sync", "wait", "--timeout", "2s"]).fails(8, &["no neighbour was connected within 2s"]);
    let gone = &first.status()["neighbours"][0];
    assert_eq!((&gone["state"], &gone["behind"]), (&"unreachable".into(), &Value::Null), "{gone}");
    assert_eq!(gone["address"], second.address("tcp"));
    until(|| first.status()["neighbours"][0]["problem"].is_string(), "it does not say why");
    assert!(first.run(&["sync", "now"]).ok().stdout.contains("comparing with 0 of 1"));
    // Writing needs no neighbour.
    first.run(&["put", "k", "v"]).ok();
}

/// The stable point according to each read of the past. All agree, because it does not move without a neighbour to
/// compare with.
#[track_caller]
fn settled_until(member: &Member) -> Option<u64> {
    let stable = |answer: &Value| answer["stable_until"].as_u64();
    let expected = stable(&member.status());
    for target in ["/v1/history/k", "/v1/scan?at=1700000000000"] {
        assert_eq!(stable(&get(member, target).is(200).json()), expected, "{target}");
    }
    for (target, status) in [("/v1/kv/k?at=1700000000000", 200), ("/v1/kv/k?at=1699999999999", 404)] {
        let header = get(member, target).is(status).header("aevrion-stable-until").map(str::to_owned);
        assert_eq!(header.map(|ms| ms.parse().expect("milliseconds")), expected, "{target}");
    }
    assert_eq!(get(member, "/v1/kv/k").is(200).header("aevrion-stable-until"), None, "the present is not");
    for verb in [&["history", "k"][..], &["scan", "--at", "1700000000000", "-o", "json"]] {
        let note = member.run(verb).ok().stderr;
        assert_eq!(note.contains("stable until"), expected.is_some(), "{verb:?}: {note}");
    }
    expected
}

#[test]
fn what_is_read_of_the_past_says_until_when_it_is_settled() {
    let place = Place::new();
    let mut first = place.first("first");
    first.run(&["put", "k", "v", "--at", "1700000000000"]).ok();
    assert_eq!(settled_until(&first), None, "there is nobody to agree with");
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    agree(&[(&first, 1), (&second, 1)]);
    // The configured address and the incoming connection turn out to be one node.
    let stable = || first.status()["stable_until"].as_u64();
    until(|| stable() > Some(1_700_000_000_000), "they agree, and it is not said until when");
    let before = stable().expect("it was there");

    // The absent node may still write: the past is settled only up to the last agreement.
    second.kill();
    until(|| first.connected() == 0, "the end of a neighbour is not noticed");
    let parted = settled_until(&first).expect("they agreed once");
    assert!(parted >= before, "{parted} is less than {before}");
    first.run(&["put", "k", "newer"]).ok();
    assert_eq!(settled_until(&first), Some(parted));

    // After a restart, agreement with a node that has not connected yet is unknown.
    first.stop();
    first.serve(&[]);
    assert_eq!(settled_until(&first), None);
    second.serve(&[]);
    agree(&[(&first, 1), (&second, 1)]);
    until(
        || first.status()["stable_until"].as_u64() > Some(parted),
        "they agree, and nothing more is settled",
    );
}

#[test]
fn who_waits_at_a_terminal_sees_how_far_it_is() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::process::Stdio;

    let place = Place::new();
    let first = place.first("first");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is this process's");
    let name = ptsname(&terminal, Vec::new()).expect("it has one").into_string().expect("it is text");
    let other_end = fs::OpenOptions::new().read(true).write(true).open(name).expect("it opens");
    let mut command = first.server().command(&["sync", "wait", "--timeout", "20s"]);
    command.env("TERM", "xterm").stdout(Stdio::null()).stderr(other_end);
    let mut wait = command.spawn().expect("the binary starts");
    // Only the process may hold its end of the terminal, so that reading ends with the process.
    drop(command);
    let mut terminal = fs::File::from(terminal);
    let (mut shown, mut some) = (String::new(), [0; 1_024]);
    while !shown.contains("no neighbour is connected, 0 events to go") {
        let read =
            terminal.read(&mut some).unwrap_or_else(|error| panic!("it ended ({error}) behind {shown}"));
        assert!(read > 0, "it ended behind {shown}");
        shown.push_str(&String::from_utf8_lossy(&some[..read]));
    }
    wait.kill().expect("it still waits");
    wait.wait().expect("it ends");

    // Without a terminal no progress is shown.
    let quiet = first.run(&["sync", "wait", "--timeout", "2s"]).fails(8, &[]);
    assert!(!quiet.stderr.contains("to go"), "{}", quiet.stderr);
}

#[test]
fn a_node_on_its_own_says_so() {
    let place = Place::new();
    run_on(&place.at("alone"), &["put", "k", "v"]).ok();
    let alone = server::Server::start(&place.at("alone"));
    for verb in [&["sync", "status"][..], &["sync", "now"], &["sync", "wait"], &["sync", "diff"]] {
        alone.run(verb).fails(1, &["no part of a cluster", "aevrion cluster init"]);
    }
    alone.run(&["cluster", "token"]).fails(5, &["--data DIR"]);
    let metrics = http::send(&alone.address, "GET", "/metrics", &[], b"").is(200).text();
    assert!(metrics.contains("\naevrion_alarm{kind=\"clock\"} 0\n"), "it has alarms, too: {metrics}");
    run_on(&place.at("alone"), &["cluster", "token"])
        .fails(1, &["no part of a cluster", "aevrion cluster init"]);
    alone.stop();
    run_on(&place.at("alone"), &["sync", "status"]).fails(2, &["running node", "aevrion serve"]);
    run_on(&place.at("nowhere"), &["sync", "wait"]).fails(2, &["running node", "aevrion serve"]);
    assert!(!place.at("nowhere").exists(), "it was made for nothing");
    run_on(&place.at("alone"), &["watch"]).fails(2, &["nobody can write", "leave --data out"]);
}
