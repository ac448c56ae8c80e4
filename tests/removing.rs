//! The promise: the authority can remove a node from the cluster. Every other node disconnects it on receipt of the
//! removal, also nodes that join or start later. The removed node is told the reason, gets no certificate, and its
//! later writes arrive nowhere. No other node can remove anybody.

use crate::support::http;
use std::fs;

use crate::support::member::{Member, Place, agree, file_of, until};
use crate::support::{Finished, run_on};
use aevrion_core::identity::{Authority, Identity};
use aevrion_core::{NodeId, SystemWall, WallClock};
use serde_json::Value;

const WORDS: &str = "removed from the cluster by its authority on 20";

/// Three nodes that all know each other's addresses.
fn three(place: &Place) -> [Member; 3] {
    let first = place.first("first");
    let second = Member::join(place.at("second"), "sled", "tcp", &first, true);
    let third = Member::join(place.at("third"), "redb", "quic,tcp", &first, true);
    agree(&[(&first, 2), (&second, 2), (&third, 2)]);
    [first, second, third]
}

fn id(member: &Member) -> String {
    member.status()["node_id"].as_str().expect("a text").to_owned()
}

/// Removes a node by a prefix of its id, while the authority's node is running.
#[track_caller]
fn remove(first: &Member, id: &str) -> Finished {
    let endpoint = first.server().endpoint();
    run_on(&first.data, &["cluster", "remove", id, "--endpoint", &endpoint])
}

/// The nodes listed as removed.
#[track_caller]
fn removed(listed: Finished) -> Vec<String> {
    let listed = listed.ok().json();
    let nodes = listed.as_array().expect("a list").iter().filter(|node| node["state"] == "removed");
    nodes.map(|node| node["id"].as_str().expect("a text").to_owned()).collect()
}

/// The ids of the nodes that a node is connected to or dials.
#[track_caller]
fn neighbours(member: &Member) -> Vec<Value> {
    let status = member.status();
    status["neighbours"].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect()
}

fn alarms(member: &Member) -> String {
    member.status()["alarms"].to_string()
}

fn post(member: &Member, statement: &[u8]) -> http::Response {
    http::send(&member.server().address, "POST", "/v1/cluster/removals", &[], statement)
}

#[test]
fn a_removed_node_is_cut_off_by_all_and_told_why() {
    let place = Place::new();
    let [mut first, mut second, third] = three(&place);
    let out = id(&third);
    third.run(&["put", "before", "v"]).ok();
    agree(&[(&first, 2), (&second, 2)]);
    let exported = first.run(&["export"]).ok().stdout;

    let told = remove(&first, &out[..10]).ok();
    assert!(told.stdout.contains(&out) && told.stderr.contains("new key"), "{told:?}");
    until(|| first.connected() == 1 && second.connected() == 1, "it is not cut off");
    until(|| third.connected() == 0, "it does not notice");
    third.server().line_with(&format!("alarm: this node was {WORDS}"));
    assert!(alarms(&third).contains("this node was removed") && alarms(&third).contains("cluster join"));
    first.server().line_with(&format!("cut off: the node was {WORDS}"));
    for member in [&first, &second] {
        assert_eq!(removed(member.run(&["cluster", "nodes", "-o", "json"])), [&*out]);
        assert!(!neighbours(member).contains(&Value::from(&*out)), "it is still missed");
        assert!(
            member
                .run(&["cluster", "nodes"])
                .ok()
                .stdout
                .contains("removed: by the cluster's authority on 20")
        );
    }
    // A second removal changes nothing, and no removal is visible to clients.
    let events = first.status()["events"].clone();
    remove(&first, &out).ok();
    assert_eq!(first.status()["events"], events);
    assert_eq!(first.run(&["export"]).ok().stdout, exported);

    // Later writes of the removed node arrive nowhere, even after all nodes have restarted.
    third.run(&["put", "after", "v"]).ok();
    first.stop();
    second.stop();
    first.serve(&[]);
    second.serve(&[]);
    let late = Member::join(place.at("late"), "redb", "quic,tcp", &first, true);
    agree(&[(&first, 2), (&second, 1), (&late, 1)]);
    assert_eq!(removed(late.run(&["cluster", "nodes", "-o", "json"])), [&*out]);
    until(|| first.status()["stable_until"].is_number(), "it holds the others up");
    for member in [&first, &second, &late] {
        member.run(&["get", "before"]).ok();
        member.run(&["get", "after"]).fails(3, &[]);
        member.run(&["verify"]).ok();
        assert!(!neighbours(member).contains(&Value::from(&*out)));
    }
    first.stop();
    assert_eq!(removed(run_on(&first.data, &["cluster", "nodes", "-o", "json"])), [&*out]);
}

#[test]
fn a_removed_node_finds_no_way_in_but_as_a_new_one() {
    let place = Place::new();
    let [first, second, mut third] = three(&place);
    let out = id(&third);
    // The node is down, so it does not hear of its removal.
    third.stop();
    remove(&first, &out).ok();
    until(
        || removed(second.run(&["cluster", "nodes", "-o", "json"])) == [&*out],
        "the others do not hear of it",
    );
    third.serve(&["--peer", &first.address("tcp"), "--peer", &second.address("tcp")]);
    let line = third.server().line_with("alarm: this node was");
    assert!(line.contains(WORDS), "{line}");
    let metrics = http::send(&third.server().address, "GET", "/metrics", &[], b"").is(200).text();
    assert!(metrics.contains("aevrion_alarm{kind=\"removal\"} 1"), "{metrics}");
    for neighbour in third.status()["neighbours"].as_array().expect("a list") {
        let problem = neighbour["problem"].as_str().unwrap_or_default();
        assert!(problem.contains(WORDS), "{neighbour}");
    }
    let refused = |transport: &str| first.sync_status()["refusals"][transport]["removed"].as_u64();
    assert!(refused("tcp") > Some(0) && refused("quic") > Some(0), "{}", first.sync_status());

    // The removed node backs off: otherwise it would ask four times a second.
    let before = refused("tcp").expect("a number") + refused("quic").expect("a number");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let after = refused("tcp").expect("a number") + refused("quic").expect("a number");
    assert!(after - before <= 3, "it was refused {} times within three seconds", after - before);

    // An expiring certificate is not renewed.
    third.stop();
    let_nearly_end(&third, &first);
    third.serve(&[]);
    let line = third.server().line_with("the certificate was not renewed");
    assert!(line.contains("the node with this key was removed from the cluster"), "{line}");
    third.stop();

    // The removed key is refused even with a token. A new key is accepted.
    for name in ["node.crt", "authority.crt"] {
        fs::remove_file(file_of(&third.data, name)).expect("it was there");
    }
    let (peer, token) = (first.address("tcp"), first.token());
    let join = || run_on(&third.data, &["cluster", "join", &peer, &token, "--transport", "tcp"]);
    join().fails(5, &["the node with this key was removed", "join with a new token"]);
    fs::remove_dir_all(third.data.join("cluster")).expect("it was there");
    join().ok();
    third.serve(&[]);
    assert_ne!(id(&third), out);
    agree(&[(&first, 2), (&third, 1)]);
    assert_eq!(alarms(&third), "[]");
}

/// Gives a stopped node a certificate near its end.
fn let_nearly_end(member: &Member, first: &Member) {
    const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
    let authority = Authority::load(&first.data.join("cluster")).expect("it began the cluster");
    let home = member.data.join("cluster");
    let identity = Identity::load(&home).expect("it is a node");
    let request = identity.key().signing_request().expect("it can ask");
    let certificate = authority.issue(&request, SystemWall.now().before(60 * MINUTE), 70 * MINUTE);
    let renewed = identity.renewed(certificate.expect("it is issued"));
    renewed.and_then(|identity| identity.store(&home)).expect("it is stored");
}

#[test]
fn only_the_authority_removes_and_never_its_own_node() {
    let place = Place::new();
    let [mut first, second, third] = three(&place);
    let (own, other, out) = (id(&first), id(&second), id(&third));
    for own in [&own, &own[..16]] {
        remove(&first, own).fails(5, &["holds the cluster's authority"]);
    }
    remove(&first, "").fails(3, &["no node is known here", "the whole id"]);
    let endpoint = second.server().endpoint();
    let elsewhere = ["cluster", "remove", &out, "--endpoint", &endpoint];
    run_on(&first.data, &elsewhere).fails(2, &["not the one of --data", &other]);
    run_on(&first.data, &["cluster", "remove", &out])
        .fails(6, &["another process has --data open", "--endpoint"]);
    run_on(&second.data, &["cluster", "remove", &out]).fails(5, &["does not hold the cluster's authority"]);
    first.run(&["cluster", "remove", &out]).fails(2, &["--data DIR"]);

    // HTTP clients are not authenticated, so a removal has to be signed.
    let authority = Authority::load(&first.data.join("cluster")).expect("it began the cluster");
    let stranger = Authority::make().expect("it is made");
    let (now, node) = (SystemWall.now(), out.parse::<NodeId>().expect("an id"));
    let [forged, about_own] = [
        stranger.remove(node, now).expect("it is signed"),
        authority.remove(own.parse().expect("an id"), now).expect("it is signed"),
    ];
    for member in [&first, &second] {
        post(member, &forged).refuses(403, "not-removable", &["the authority of this cluster has not made"]);
        post(member, &[7; 3]).refuses(403, "not-removable", &[]);
        post(member, &[7; 1_000]).refuses(413, "too-large", &[]);
    }
    post(&first, &about_own).refuses(403, "not-removable", &["holds the cluster's authority"]);
    assert_eq!((first.connected(), second.connected(), third.connected()), (2, 2, 2));

    // The authority's directory works without a server, and any client may post a removal.
    first.stop();
    run_on(&first.data, &["cluster", "remove", &out]).ok();
    first.serve(&[]);
    until(|| first.connected() == 1 && second.connected() == 1, "the others do not hear of it");
    post(&third, &authority.remove(node, now).expect("it is signed"));
    // A removed node accepts no removal, even with the authority's signature.
    let late = authority.remove(other.parse().expect("an id"), now).expect("it is signed");
    post(&third, &late).refuses(403, "not-removable", &["it removes nobody"]);
    assert_eq!(second.connected(), 1);
}

/// A store keeps removals from a cluster that it has left.
#[test]
fn a_statement_of_another_authority_in_the_store_changes_nothing() {
    let place = Place::new();
    let mut first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, true);
    agree(&[(&first, 1), (&second, 1)]);
    let out = id(&second);
    second.stop();
    first.stop();
    run_on(&first.data, &["cluster", "remove", &out]).ok();

    // The store stays, in a new cluster.
    fs::remove_dir_all(first.data.join("cluster")).expect("it was there");
    run_on(&first.data, &["cluster", "init"]).ok();
    first.serve(&[]);
    for name in ["node.crt", "authority.crt"] {
        fs::remove_file(file_of(&second.data, name)).expect("it was there");
    }
    let (peer, token) = (first.address("tcp"), first.token());
    run_on(&second.data, &["cluster", "join", &peer, &token, "--transport", "tcp"]).ok();
    second.serve(&[]);
    assert_eq!(id(&second), out);
    agree(&[(&first, 1), (&second, 1)]);
    assert_eq!(removed(first.run(&["cluster", "nodes", "-o", "json"])), Vec::<String>::new());
    assert_eq!(alarms(&second), "[]");
}
