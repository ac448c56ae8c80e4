//! Promise: a copied or restored data directory misleads nobody. A watcher is told that its cursor is gone. Two
//! machines with one identity are named on both sides. Statements that a node made before it was set back stay true.

use crate::support::http;
use std::fs;
use std::path::Path;

use crate::support::http::Events;
use crate::support::member::{Member, Place, agree, until};
use crate::support::run_on;
use crate::support::server::Server;

/// Copies a directory in its present state.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is made");
    for entry in fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &there);
        } else {
            fs::copy(entry.path(), there).expect("it is copied");
        }
    }
}

/// Replaces a directory by a copy.
fn put_back(copied: &Path, at: &Path) {
    fs::remove_dir_all(at).expect("it was there");
    copy(copied, at);
}

/// Writes these keys, one after the other.
fn write(server: &Server, keys: &[&str]) {
    keys.iter().for_each(|key| drop(server.run(&["put", key, "v"]).ok()));
}

/// The keys of the next `events` events of a watch, and the cursor behind the last.
fn watched(server: &Server, cursor: &str, events: usize) -> (Vec<String>, String) {
    let mut stream = Events::open(&server.address, &format!("/v1/watch?cursor={cursor}"), &[]);
    let (mut keys, mut last) = (Vec::new(), cursor.to_owned());
    for _ in 0..events {
        let event = stream.next_event();
        let data: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
        keys.push(data["key"].as_str().expect("a text").to_owned());
        last = event.id;
    }
    (keys, last)
}

/// The cursor at which a watch without a cursor begins.
fn here(server: &Server) -> String {
    let mut stream = Events::open(&server.address, "/v1/watch", &[]);
    stream.next_block().expect("it says where it begins").id
}

#[test]
fn a_cursor_of_a_history_that_is_gone_is_refused() {
    let place = Place::new();
    let (data, copied) = (place.at("data"), place.at("copied"));
    let server = Server::start(&data);
    write(&server, &["a"]);
    let before = here(&server);
    server.stop();
    copy(&data, &copied);
    let server = Server::start(&data);
    write(&server, &["b", "c"]);
    let gone = here(&server);
    assert_eq!(watched(&server, &before, 2).0, ["b", "c"]);
    server.stop();

    put_back(&copied, &data);
    let server = Server::start(&data);
    write(&server, &["d", "e", "f"]);
    let words = ["put back from a copy", "Read the present state, then watch from now"];
    let target = format!("/v1/watch?cursor={gone}");
    http::send(&server.address, "GET", &target, &[], b"").refuses(410, "other-history", &words);
    let last = format!("last-event-id: {gone}");
    http::send(&server.address, "GET", "/v1/watch", &[&last], b"").refuses(410, "other-history", &words);
    server.run(&["watch", "--from", &gone]).fails(1, &words);
    // A cursor from before the copy stays valid and skips nothing.
    let (keys, end) = watched(&server, &before, 3);
    assert_eq!(keys, ["d", "e", "f"]);
    server.stop();
    run_on(&data, &["watch", "--from", &gone]).fails(1, &words);

    // Reading a directory invalidates no cursor, and the watch also shows a write made there.
    for _ in 0..3 {
        run_on(&data, &["get", "a"]).ok();
    }
    run_on(&data, &["put", "g", "v"]).ok();
    let server = Server::start(&data);
    assert_eq!(watched(&server, &end, 1).0, ["g"]);
}

#[test]
fn two_machines_with_one_identity_are_named_on_both_sides() {
    let place = Place::new();
    let first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "quic,tcp", &first, false);
    agree(&[(&first, 1), (&second, 1)]);
    let id = second.id();
    // A machine that is killed and restarted at once keeps its identity.
    second.kill();
    second.serve(&[]);
    agree(&[(&first, 1), (&second, 1)]);
    assert_eq!((first.alarms(), second.alarms()), (Vec::<String>::new(), Vec::new()));

    second.stop();
    copy(&second.data, &place.at("double"));
    let mut double = Member::joined(place.at("double"), "quic,tcp");
    second.serve(&[]);
    double.serve(&[]);
    let alarm = |member: &Member| member.alarms().into_iter().find(|alarm| alarm.contains("identity"));
    let members = [&first, &second, &double];
    until(|| members.iter().all(|member| alarm(member).is_some()), "it is not noticed on all sides");
    let told = alarm(&first).expect("it is there");
    for word in [&id, &second.address("quic"), &double.address("quic"), "remove `cluster/`", "join anew"] {
        assert!(told.contains(word), "`{word}` is not in {told}");
    }
    for (one, other) in [(&second, &double), (&double, &second)] {
        let told = alarm(one).expect("it is there");
        assert!(told.contains(&other.address("quic")) && told.contains("join anew"), "{told}");
        one.server().line_with("alarm: another machine");
    }
    first.server().line_with("alarm: two machines have the identity");
    let metrics = http::send(&first.server().address, "GET", "/metrics", &[], b"").is(200).text();
    assert!(metrics.lines().any(|line| line == "aevrion_alarm{kind=\"identity\"} 1"), "{metrics}");

    // One of the two stays connected; the other knows why it is not.
    let problem =
        |of: &Member| of.status()["neighbours"][0]["problem"].as_str().unwrap_or_default().to_owned();
    let stays = |one: &Member, other: &Member| {
        let names = format!("another machine at {} has", one.address("quic"));
        one.connected() == 1 && other.connected() == 0 && problem(other).contains(&names)
    };
    until(|| stays(&second, &double) || stays(&double, &second), "both are in, or none");
    let kept = if second.connected() == 1 { &second } else { &double };
    kept.run(&["put", "k", "v"]).ok();
    agree(&[(&first, 1), (kept, 1)]);
}

#[test]
fn two_machines_with_one_identity_that_reach_each_other_know_it() {
    let place = Place::new();
    let mut first = place.first("first");
    first.stop();
    copy(&first.data, &place.at("double"));
    let mut double = Member::joined(place.at("double"), "quic,tcp");
    first.serve(&[]);
    double.serve(&["--peer", &first.address("tcp")]);
    for (one, other) in [(&first, &double), (&double, &first)] {
        until(|| !one.alarms().is_empty(), "it is not noticed");
        let told = one.alarms().remove(0);
        assert!(told.contains(&other.listen.to_string()) && told.contains("this node's identity"), "{told}");
    }
    // A node that reaches itself raises no alarm.
    let mut alone = place.first("alone");
    alone.stop();
    let own = alone.address("quic");
    alone.serve(&["--peer", &own]);
    until(|| alone.status()["neighbours"].as_array().is_some_and(Vec::is_empty), "it waits for itself");
    assert_eq!(alone.alarms(), Vec::<String>::new());
}

/// Compares until the stable point of a node passes `before`.
#[track_caller]
fn settles_beyond(member: &Member, before: Option<u64>) {
    let settles = || {
        member.run(&["sync", "now"]).ok();
        stable(member) > before
    };
    until(settles, "nothing more is settled");
}

fn stable(member: &Member) -> Option<u64> {
    member.status()["stable_until"].as_u64()
}

/// The time of the last write to a key, according to a node.
fn written(member: &Member, key: &str) -> Option<u64> {
    member.run(&["history", key, "-o", "json"]).ok().json()[0]["timestamp"].as_u64()
}

/// The first node is between the others, which dial it. It learns their addresses from nobody else.
#[test]
fn a_node_that_was_set_back_serves_nothing_as_settled_before_it_has_compared_again_with_all() {
    let place = Place::new();
    let mut first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "quic", &first, false);
    let mut third = Member::join(place.at("third"), "redb", "tcp", &first, false);
    first.run(&["put", "old", "of first"]).ok();
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    settles_beyond(&first, None);
    first.stop();
    copy(&first.data, &place.at("copied"));

    // After the copy the first node goes on: it writes, receives, and reports its stable point.
    first.serve(&[]);
    first.run(&["put", "mine", "of first"]).ok();
    third.run(&["put", "theirs", "of third"]).ok();
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    settles_beyond(&first, written(&first, "mine"));
    let (told, told_by_second) = (stable(&first), stable(&second));
    first.stop();
    second.stop();
    third.stop();

    put_back(&place.at("copied"), &first.data);
    first.serve(&[]);
    first.run(&["get", "mine"]).fails(3, &[]);
    assert_eq!(stable(&first), None, "it does not know that it was set back, but that it has not compared");
    // A new write is later than the reported stable point.
    first.run(&["put", "anew", "of first"]).ok();
    assert!(written(&first, "anew") > told, "{:?} is not after {told:?}", written(&first, "anew"));
    third.serve(&[]);
    agree(&[(&first, 1), (&third, 1)]);
    first.run(&["sync", "now"]).ok();
    agree(&[(&first, 1), (&third, 1)]);
    assert_eq!(stable(&first), None, "it has not compared with the second yet");

    // The others return the events that the node had sent them, and their own state does not change.
    second.serve(&[]);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    settles_beyond(&first, told);
    settles_beyond(&second, told_by_second);
    for member in [&first, &second, &third] {
        for (key, value) in [("old", "first"), ("mine", "first"), ("theirs", "third"), ("anew", "first")] {
            assert_eq!(member.run(&["get", key]).ok().stdout, format!("of {value}"), "{key}");
        }
        member.run(&["verify"]).ok();
        assert_eq!(member.alarms(), Vec::<String>::new(), "nobody else has its identity");
    }
}
