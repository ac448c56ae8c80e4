//! The promise: a node knows and dials its configured peers and the nodes it has met, also after a restart, until told
//! to forget them.

use crate::support::member;
use crate::support::member::{Member, Place, agree, until};
use crate::support::{Finished, run_on};

/// The addresses that `cluster nodes` lists.
fn addresses(listed: Finished) -> Vec<String> {
    listed.ok().stdout.lines().map(str::to_owned).collect()
}

/// Two nodes that know the first one but not each other; neither advertises an address.
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
    // The setting is now the only way for these two to meet.
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

    // The third node will listen elsewhere: its old address fails, and is to be forgotten.
    third.stop();
    until(|| second.connected() == 0, "the end of a neighbour is not noticed");
    let known = second.run(&["cluster", "nodes"]).ok().stdout;
    assert!(known.contains(&peer) && known.contains("unreachable"), "{known}");
    // Forgetting covers the whole node, with its advertised addresses.
    assert_eq!(addresses(second.run(&["cluster", "forget", &peer])), [&*peer, &third.address("tcp")]);
    assert!(!second.run(&["cluster", "nodes"]).ok().stdout.contains(&third.listen.to_string()));
    second.run(&["cluster", "forget", &peer]).fails(3, &[&peer, "aevrion cluster nodes"]);
    second.stop();
    assert_eq!(addresses(nodes()), [first.address("quic")]);
}

/// One node uses only TCP and another only QUIC: they meet through the first, and neither misses the other.
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
    // An address without a transport matches every transport.
    let forgotten = forget(&peer, &["-o", "json"]).ok().json();
    assert_eq!(forgotten["forgotten"], serde_json::json!([tcp, quic]));
    let listed = run_on(&place.at("second"), &["cluster", "nodes", "-o", "json"]).ok().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let here = listed[0].as_object().expect("an object");
    assert_eq!((&here["address"], &here["state"]), (&first.address("quic").into(), &"remembered".into()));

    // A running node prints the same fields of a node, and more.
    second.serve(&[]);
    let there = second.run(&["cluster", "nodes", "-o", "json"]).ok().json();
    let names = |one: &serde_json::Map<String, serde_json::Value>| one.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(there[0].as_object().expect("an object")), names(here));
    first.stop();
}

/// The stable point of a node: everything before it is settled.
fn stable(member: &Member) -> Option<u64> {
    member.status()["stable_until"].as_u64()
}

/// Compares until the stable point passes `before`.
#[track_caller]
fn settles_beyond(member: &Member, before: Option<u64>) {
    until(
        || {
            member.run(&["sync", "now"]).ok();
            stable(member) > before
        },
        "nothing more is settled",
    );
}

#[test]
fn a_node_that_nobody_was_told_of_holds_the_past_up_until_it_is_forgotten_by_its_id() {
    let place = Place::new();
    let [mut first, mut second, third] = three(&place);
    first.stop();
    first.serve(&["--away-alarm", "1s"]);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    settles_beyond(&first, None);
    let id = second.id();
    second.kill();
    until(|| first.row(&id)["state"] == "unreachable", "the end of a neighbour is not noticed");

    let row = first.row(&id);
    assert_eq!(row["addresses"], serde_json::json!([second.address("quic")]), "it has said where it listens");
    let (seen, agreed) = (row["last_seen"].as_u64(), row["agreed_until"].as_u64());
    let now = first.status()["now"].as_u64();
    assert!(seen > Some(1_700_000_000_000) && seen <= now && agreed.is_some(), "{row}");
    let listed = first.run(&["cluster", "nodes"]).ok().stdout;
    let listed = listed.lines().find(|line| line.starts_with(&id[..8])).expect("it is listed").to_owned();
    assert!(listed.contains(&second.address("quic")) && listed.contains("unreachable"), "{listed}");
    assert_eq!(listed.matches("Z").count(), 2, "when it was seen, and until when it agreed: {listed}");

    let settled = stable(&first);
    until(|| !first.alarms().is_empty(), "there is no alarm");
    let alarm = first.alarms().remove(0);
    for word in ["stable_until", &id[..8], &second.address("quic"), "last seen", "aevrion cluster forget"] {
        assert!(alarm.contains(word), "`{word}` is not in {alarm}");
    }
    first.run(&["put", "k", "v"]).ok();
    agree(&[(&first, 1), (&third, 1)]);
    first.run(&["sync", "now"]).ok();
    assert_eq!(stable(&first), settled, "what it writes meanwhile will come");
    first.server().line_with("alarm: nothing after");

    assert_eq!(addresses(first.run(&["cluster", "forget", &id[..8]])), [second.address("quic")]);
    settles_beyond(&first, settled);
    assert_eq!((first.row(&id), first.alarms()), (serde_json::Value::Null, Vec::new()));
    first.run(&["cluster", "forget", &id[..8]]).fails(3, &[&id[..8], "aevrion cluster nodes"]);
    first.run(&["cluster", "forget", "0123456789abcdefg"]).fails(2, &["0123456789abcdefg", "host:port"]);

    // The forgotten node may come back by itself.
    second.serve(&[]);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    assert_eq!(first.row(&id)["state"], "agrees");
}

#[test]
fn after_a_restart_a_node_knows_whom_it_has_met_and_waits_for_them() {
    let place = Place::new();
    let [mut first, mut second, third] = three(&place);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    let (id, other) = (second.id(), third.id());
    second.kill();
    until(|| first.row(&id)["state"] == "unreachable", "the end of a neighbour is not noticed");
    // The kill leaves no time to save anything.
    first.kill();
    let listed = run_on(&place.at("first"), &["cluster", "nodes", "-o", "json"]).ok().json();
    let ids: Vec<_> = listed.as_array().expect("a list").iter().map(|row| row["id"].clone()).collect();
    assert!(ids.contains(&id.clone().into()) && ids.contains(&other.into()), "{listed}");

    first.serve(&[]);
    agree(&[(&first, 1), (&third, 1)]);
    first.run(&["sync", "now"]).ok();
    agree(&[(&first, 1), (&third, 1)]);
    assert_eq!(stable(&first), None, "what the one has written that is away is not known");
    assert_eq!(first.row(&id)["state"], "unreachable");
    second.serve(&[]);
    settles_beyond(&first, None);

    // An orderly stop saves the state of all neighbours.
    first.stop();
    let listed = run_on(&place.at("first"), &["cluster", "nodes", "-o", "json"]).ok().json();
    for row in listed.as_array().expect("a list") {
        assert!(row["last_seen"].is_u64() && row["agreed_until"].is_u64(), "{row}");
    }
}

#[test]
fn a_node_that_moves_is_found_where_it_is_and_holds_nothing_up() {
    let place = Place::new();
    let mut first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    agree(&[(&first, 1), (&second, 1)]);
    let (id, before) = (second.id(), second.address("tcp"));
    second.stop();
    until(|| first.row(&id)["state"] == "unreachable", "the end of a neighbour is not noticed");
    second.listen = member::free_address();
    second.serve(&[]);
    agree(&[(&first, 1), (&second, 1)]);
    settles_beyond(&first, None);
    assert_eq!(first.row(&id)["addresses"], serde_json::json!([second.address("tcp")]));

    // After a restart the node dials only the new address, and tells it to newcomers.
    let third = Member::join(place.at("third"), "redb", "tcp", &first, false);
    first.stop();
    first.serve(&[]);
    agree(&[(&first, 2), (&second, 2), (&third, 2)]);
    settles_beyond(&first, None);
    for member in [&first, &third] {
        let listed = member.run(&["cluster", "nodes", "-o", "raw"]).ok().stdout;
        assert!(listed.contains(&second.address("tcp")) && !listed.contains(&before), "{listed}");
    }
}
