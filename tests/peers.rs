//! The promise: a node dials whom it is told to, also after a restart, until it is told to forget.

#[path = "support/member.rs"]
mod member;
#[path = "support/server.rs"]
mod server;
mod support;

use member::{Member, Place, agree, until};
use support::{Finished, run_on};

/// The addresses that `cluster nodes` lists.
fn addresses(listed: Finished) -> Vec<String> {
    listed.ok().stdout.lines().map(str::to_owned).collect()
}

/// Two nodes that know the first one, and not each other; neither is known to anybody.
fn three(place: &Place) -> [Member; 3] {
    let first = place.first("first");
    let second = Member::join(place.at("second"), "redb", "quic", &first, false);
    let third = Member::join(place.at("third"), "redb", "quic,tcp", &first, false);
    [first, second, third]
}

#[test]
fn who_is_named_by_a_setting_is_dialled_and_remembered() {
    let place = Place::new();
    let [mut first, mut second, mut third] = three(&place);
    // It is the only way in which these two can come together.
    first.stop();
    until(|| second.connected() == 0 && third.connected() == 0, "the end of a neighbour is not noticed");
    second.stop();
    let peer = third.address("quic");
    second.serve(&["--peer", &peer]);
    agree(&[(&third, 1), (&second, 1)]);
    second.run(&["put", "k", "v"]).ok();
    agree(&[(&second, 1), (&third, 1)]);
    assert_eq!(third.run(&["get", "k"]).ok().stdout, "v");

    second.stop();
    let nodes = || run_on(&place.at("second"), &["cluster", "nodes", "-o", "raw"]);
    assert_eq!(addresses(nodes()), [first.address("quic"), peer.clone()]);
    second.serve(&[]);
    agree(&[(&second, 1), (&third, 1)]);

    // One that listens elsewhere is not found any more, and is no longer to be sought.
    third.stop();
    until(|| second.connected() == 0, "the end of a neighbour is not noticed");
    let known = second.run(&["cluster", "nodes"]).ok().stdout;
    assert!(known.contains(&peer) && known.contains("unreachable"), "{known}");
    assert_eq!(addresses(second.run(&["cluster", "forget", &peer])), [&*peer]);
    assert!(!second.run(&["cluster", "nodes"]).ok().stdout.contains(&peer));
    second.run(&["cluster", "forget", &peer]).fails(3, &[&peer, "aevrion cluster nodes"]);
    second.stop();
    assert_eq!(addresses(nodes()), [first.address("quic")]);
}

/// One speaks only TCP and the other only QUIC: they meet by way of the first, and neither misses the other.
#[test]
fn who_is_reached_over_no_transport_of_this_node_is_not_missing() {
    let place = Place::new();
    let first = place.first("first");
    let second = Member::join(place.at("second"), "redb", "quic", &first, true);
    let third = Member::join(place.at("third"), "redb", "tcp", &first, true);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    let rows = third.sync_status()["neighbours"].clone();
    let of_second = second.address("quic");
    let row = rows.as_array().expect("a list").iter().find(|row| row["address"] == *of_second);
    let row = row.unwrap_or_else(|| panic!("{of_second} is not in {rows}"));
    assert_eq!(row["state"], "unserved", "{row}");
    assert!(row["problem"].as_str().is_some_and(|why| why.contains("no such transport")), "{row}");
    third.run(&["sync", "diff"]).ok();
    until(|| third.status()["stable_until"].is_u64(), "what both agree on is not settled");
    let status = third.run(&["status", "-o", "json"]).ok().json();
    assert_eq!(status["alarms"], serde_json::json!([]));
}

#[test]
fn a_directory_forgets_as_a_node_does() {
    let place = Place::new();
    let [mut first, mut second, third] = three(&place);
    let peer = third.listen.to_string();
    second.stop();
    second.serve(&["--peer", &format!("tcp://{peer},quic://{peer}")]);
    second.stop();
    let [tcp, quic] = [third.address("tcp"), third.address("quic")];
    let forget = |address: &str, more: &[&str]| {
        run_on(&place.at("second"), &[&["cluster", "forget", address], more].concat())
    };
    forget("127.0.0.1", &[]).fails(2, &["127.0.0.1", "host:port"]);
    forget("127.0.0.1:1", &[]).fails(3, &["127.0.0.1:1"]);
    // Without a transport any is meant.
    let forgotten = forget(&peer, &["-o", "json"]).ok().json();
    assert_eq!(forgotten["forgotten"], serde_json::json!([tcp, quic]));
    let listed = run_on(&place.at("second"), &["cluster", "nodes", "-o", "json"]).ok().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let here = listed[0].as_object().expect("an object");
    assert_eq!((&here["address"], &here["state"]), (&first.address("quic").into(), &"remembered".into()));

    // A running node says the same of a node, and more.
    second.serve(&[]);
    let there = second.run(&["cluster", "nodes", "-o", "json"]).ok().json();
    let names = |one: &serde_json::Map<String, serde_json::Value>| one.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(there[0].as_object().expect("an object")), names(here));
    first.stop();
}
