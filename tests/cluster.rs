//! Promise: nodes that were made, joined and served as the manual says keep in step, across stores and transports, even
//! if some are killed or stopped. A refused join gives its reason.

use crate::support::{http, server};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::support::member::{Member, Place, agree, file_of, free_address, until};
use crate::support::{Finished, WEEK_EVENTS, WEEK_ROOT, aevrion, run_on, sample};
use aevrion_core::{Event, Timestamp, Value as Written};
use serde_json::Value;

impl Place {
    /// Asks the node at `peer` to admit a directory.
    fn ask(&self, name: &str, peer: &str, token: &str, more: &[&str]) -> Finished {
        run_on(&self.at(name), &[&["cluster", "join", peer, token], more].concat())
    }

    /// One node between two others, each with another store or transport. The third advertises no address, so it has to
    /// dial.
    fn three(&self) -> [Member; 3] {
        let first = self.first("first");
        let second = Member::join(self.at("second"), "sled", "tcp", &first, true);
        let third = Member::join(self.at("third"), "redb", "quic", &first, false);
        [first, second, third]
    }
}

/// All three agree, the second and the third by way of the first.
#[track_caller]
fn all_agree([first, second, third]: &[Member; 3]) {
    agree(&[(first, 2), (second, 1), (third, 1)]);
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let list = value.as_array().expect("a list").iter();
    list.map(|one| one[name].as_str().expect("a text").to_owned()).collect()
}

// ---- In step ----

#[test]
fn three_nodes_of_different_stores_and_transports_hold_the_same() {
    let place = Place::new();
    let members = place.three();
    let [first, second, third] = &members;
    assert_eq!(first.status()["transport"], "quic,tcp");
    assert_eq!((&second.status()["store"], &second.status()["transport"]), (&"sled".into(), &"tcp".into()));
    assert_eq!((&third.status()["store"], &third.status()["transport"]), (&"redb".into(), &"quic".into()));

    for (n, member) in members.iter().enumerate() {
        assert_eq!(member.status()["granularity_ms"], 1_000, "the parameters come from the cluster");
        member.run(&["put", &format!("own:{n}"), &format!("of {n}")]).ok();
        member.run(&["put", "one after the other", &format!("of {n}")]).ok();
        // Three writes with the same timestamp: the id decides.
        member.run(&["put", "at once", &format!("of {n}"), "--at", "1700000000000"]).ok();
    }
    first.run(&["delete", "own:0"]).ok();
    all_agree(&members);

    let said = |member: &Member, arguments: &[&str]| member.run(arguments).ok().stdout;
    for member in &members {
        assert_eq!(member.status()["events"], 10);
        for verb in [&["export"][..], &["scan", "-o", "jsonl"], &["get", "at once"]] {
            assert_eq!(said(member, verb), said(first, verb), "{verb:?}");
        }
        assert_eq!(said(member, &["get", "one after the other"]), "of 2");
        assert_eq!(said(member, &["history", "one after the other", "-o", "raw"]), "of 0\nof 1\nof 2\n");
        assert_eq!(said(member, &["get", "own:2"]), "of 2");
        member.run(&["get", "own:0"]).fails(3, &["no value"]);
        let versions = member.run(&["history", "at once", "-o", "json"]).ok().json();
        let (mut ids, mut values) = (texts(&versions, "id"), texts(&versions, "value"));
        assert_eq!(values.last(), Some(&said(first, &["get", "at once"])), "the winner is the newest");
        assert_eq!(ids.iter().max(), ids.last(), "of one moment the greatest id wins");
        ids.dedup();
        values.sort_unstable();
        assert_eq!((ids.len(), values), (3, vec!["of 0".into(), "of 1".into(), "of 2".into()]));
        member.run(&["verify"]).ok();
    }
}

// ---- In trouble ----

/// Writes to a node, one key after the other, until told to stop; also while the node is down.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writing: JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(name: String, endpoint: String) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let writing = std::thread::spawn(move || {
            let mut keys = Vec::new();
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("{name}:{n}");
                let put = aevrion().args(["put", &key, "v", "--endpoint", &endpoint]).output();
                let put: Finished = put.expect("the binary starts").into();
                match put.code {
                    Some(0) => keys.push(key),
                    // The node is down, or went down during the request.
                    Some(6) | Some(1) => break,
                    code => panic!("{code:?}: {}", put.stderr),
                }
                count.store(keys.len(), Ordering::Relaxed);
            }
            keys
        });
        Self { stop, acknowledged, writing }
    }

    /// Waits for so many further writes.
    #[track_caller]
    fn more(&self, writes: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + writes;
        until(|| self.acknowledged.load(Ordering::Relaxed) >= enough, "nothing more is acknowledged");
    }

    /// Stops the writer, and returns the acknowledged keys.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.writing.join().expect("it wrote")
    }
}

#[test]
fn what_was_acknowledged_is_on_every_node_after_one_was_killed_and_one_was_stopped() {
    let place = Place::new();
    let mut members = place.three();
    let write = |name: &str, member: &Member| Writer::start(name.to_owned(), member.server().endpoint());
    let [first, second, third] = &mut members;
    let writers = [write("first", first), write("second", second), write("third", third)];
    writers.iter().for_each(|writer| writer.more(10));

    // The second node dies during writes to it and the others.
    second.kill();
    writers[0].more(20);
    writers[2].more(20);
    second.serve(&[]);
    let back = write("back", second);
    back.more(10);

    // No other node knows the third one's address, and the third is not told theirs again.
    third.stop();
    writers[0].more(20);
    third.serve(&[]);
    let again = write("again", third);
    again.more(10);

    let written: Vec<_> = writers.into_iter().chain([back, again]).flat_map(Writer::end).collect();
    all_agree(&members);
    for member in &members {
        let held = texts(&member.run(&["scan", "-o", "json"]).ok().json(), "key");
        for key in &written {
            assert!(held.contains(key), "{key} was acknowledged, and {} lacks it", member.data.display());
        }
        member.run(&["verify"]).ok();
    }
    let [first, _, third] = &members;
    let remembered = run_on(&first.data, &["cluster", "nodes"]);
    remembered.fails(1, &["open in another process"]);
    assert!(third.status()["neighbours"][0]["address"] == first.address("quic"), "{}", third.status());
}

// ---- Refused joins ----

/// A refused join makes no node. It leaves at most its key, for another attempt.
#[track_caller]
fn nobody_came_of(place: &Place, name: &str) {
    assert!(!file_of(&place.at(name), "node.crt").exists(), "{name} became a node");
    assert!(!place.at(name).join("STORE").exists(), "a store was made for {name}");
}

#[test]
fn a_token_lets_one_node_in_within_its_time() {
    let place = Place::new();
    let mut first = place.first("first");
    let book = file_of(&first.data, "tokens");
    for transport in ["quic", "tcp"] {
        let peer = first.address(transport);
        let ask = |name: &str, token: &str| place.ask(name, &peer, token, &["--transport", transport]);
        let token = first.token();
        ask(transport, &token).ok();
        ask("late", &token).fails(5, &["refuses", "used by another machine", "get a new one"]);
        assert!(!place.at("late").exists(), "a refusal left something behind");

        let token = first.token();
        let text = fs::read_to_string(&book).expect("it is there");
        let (before, last) = text.trim_end().rsplit_once('\n').expect("there are several");
        let mut words: Vec<_> = last.split(' ').map(str::to_owned).collect();
        let end: u64 = words[1].parse().expect("a time");
        // The token expired a minute ago.
        words[1] = (end - 61 * 60 * 1_000).to_string();
        fs::write(&book, format!("{before}\n{}\n", words.join(" "))).expect("it is written");
        ask("late", &token).fails(5, &["refuses", "expired", "get a new one"]);
        fs::write(&book, "").expect("it is written");
        ask("late", &token).fails(5, &["refuses", "no such token", "get a new one"]);
        ask("late", &token[..40]).fails(2, &["not a whole token", "copy it again"]);
        nobody_came_of(&place, "late");
        let metrics = http::send(&first.server().address, "GET", "/metrics", &[], b"").is(200).text();
        for (reason, count) in [("used_token", 1), ("expired_token", 1), ("unknown_token", 1)] {
            let labels = format!("{{transport=\"{transport}\",reason=\"{reason}\"}}");
            let line = format!("aevrion_sync_join_refusals_total{labels} {count}");
            assert!(metrics.lines().any(|found| found == line), "`{line}` is not in {metrics}");
        }
    }
    first.stop();
}

/// Otherwise any client of the HTTP interface, local or through a proxy, could admit itself.
#[test]
fn a_running_node_gives_tokens_to_nobody_who_asks_over_http() {
    let place = Place::new();
    let mut first = place.first("first");
    let by_file = "aevrion cluster token --data DIR";
    let asked = http::send(&first.server().address, "POST", "/v1/cluster/token", &[], b"");
    let refused = asked.refuses(403, "local-only", &[by_file]).text();
    assert!(!refused.contains("aev1-"), "{refused}");
    first.run(&["cluster", "token"]).fails(5, &[by_file]);
    let issued = || fs::read_to_string(file_of(&first.data, "tokens")).unwrap_or_default().lines().count();
    assert_eq!(issued(), 0, "one was issued all the same");

    // A user with write access to the directory gets a token from a running node, and the node accepts it.
    let token = first.token();
    assert!(token.starts_with("aev1-") && issued() == 1, "{token}");
    place.ask("second", &first.address("tcp"), &token, &["--transport", "tcp"]).ok();
    first.stop();
}

#[test]
fn who_asks_at_the_wrong_place_is_told_which_it_is() {
    let place = Place::new();
    let (first, other) = (place.first("first"), place.first("other"));
    let second = Member::join(place.at("second"), "redb", "quic,tcp", &first, false);
    let nobody = free_address();
    for transport in ["quic", "tcp"] {
        let token = first.token();
        let ask = |peer: &str| place.ask("lost", peer, &token, &[]);
        let stranger = ask(&other.address(transport));
        stranger.fails(5, &["not trusted", "authority of another cluster"]);
        let powerless = ask(&second.address(transport));
        powerless.fails(5, &["refuses", "does not hold the cluster's authority"]);
        ask(&format!("{transport}://{nobody}")).fails(6, &["cannot be reached", &nobody.to_string()]);
        nobody_came_of(&place, "lost");
        // None of the failed attempts used the token up.
        place.ask(transport, &first.address(transport), &token, &[]).ok();
    }
    let token = first.token();
    place.ask("lost", "pigeon://127.0.0.1:1", &token, &[]).fails(2, &["pigeon", "quic://", "tcp://"]);
    place.ask("lost", "127.0.0.1", &token, &[]).fails(2, &["127.0.0.1", "host:port"]);
    let words = ["does not hold the cluster's authority", "where `aevrion cluster init` was run"];
    run_on(&second.data, &["cluster", "token"]).fails(5, &words);
    nobody_came_of(&place, "lost");
}

#[test]
fn a_directory_that_does_not_fit_is_refused() {
    let place = Place::new();
    let first = place.first("first");
    let peer = first.address("tcp");
    let mut second = Member::join(place.at("second"), "redb", "tcp", &first, false);
    let node = second.status()["node_id"].as_str().expect("a text").to_owned();
    second.stop();
    let token = first.token();
    place.ask("second", &peer, &token, &[]).fails(1, &[&node, "of a cluster already", "another directory"]);
    run_on(&second.data, &["cluster", "init"]).fails(1, &[&node, "of a cluster already"]);

    let words = ["granularity", "of the cluster is 1000", "60000", "leave --granularity out"];
    place.ask("coarse", &peer, &token, &["--granularity", "60000"]).fails(2, &words);
    let words = ["branching", "of the cluster is 32", "16", "leave --branching out"];
    place.ask("coarse", &peer, &first.token(), &["--branching", "16"]).fails(2, &words);
    nobody_came_of(&place, "coarse");
    place.ask("exact", &peer, &first.token(), &["--granularity", "1000"]).ok();

    // An existing store keeps its parameters.
    run_on(&place.at("coarse"), &["put", "k", "v"]).ok();
    place.ask("coarse", &peer, &first.token(), &[]).fails(1, &["granularity", "60000", "1000"]);
    assert!(!file_of(&place.at("coarse"), "node.crt").exists(), "it became a node");
    assert_eq!(run_on(&place.at("coarse"), &["get", "k"]).ok().stdout, "v");
}

#[test]
fn a_token_survives_a_directory_that_cannot_be_used() {
    let place = Place::new();
    let (first, mut other) = (place.first("first"), place.first("other"));
    other.stop();
    run_on(&place.at("busy"), &["put", "k", "v"]).ok();
    let busy = server::Server::start(&place.at("busy"));
    fs::create_dir(place.at("taken")).expect("it is made");
    fs::write(place.at("taken").join("thesis.doc"), "…").expect("it is written");
    run_on(&place.at("coarse"), &["put", "k", "v", "--granularity", "60000"]).ok();
    let names = || {
        let entries = fs::read_dir(place.at("")).expect("it is there");
        entries.map(|entry| entry.expect("it is there").file_name()).collect::<BTreeSet<_>>()
    };
    let before = names();

    let (peer, token) = (first.address("tcp"), first.token());
    let ask = |name: &str, more: &[&str]| place.ask(name, &peer, &token, more);
    ask("busy", &[]).fails(1, &["open in another process"]);
    ask("other", &[]).fails(1, &["of a cluster already"]);
    ask("taken", &[]).fails(1, &["taken", "no Aevrion store"]);
    ask("taken/thesis.doc", &[]).fails(1, &["thesis.doc", "Not a directory"]);
    ask("coarse", &["--granularity", "1000"]).fails(1, &["granularity", "60000", "1000"]);
    ask("new", &["--branching", "1"]).fails(2, &["branching"]);
    if cfg!(target_os = "linux") {
        // Not even root can create a directory here.
        let nowhere = run_on(Path::new("/proc/new/node"), &["cluster", "join", &peer, &token]);
        nowhere.fails(1, &["cannot write in /proc"]);
    }
    assert_eq!(names(), before, "something was left behind");
    assert_eq!(busy.run(&["get", "k"]).ok().stdout, "v");
    ask("new", &[]).ok();
    ask("late", &[]).fails(5, &["used by another machine"]);
}

#[test]
fn a_store_that_was_written_to_before_brings_its_events_along() {
    let place = Place::new();
    let first = place.first("first");
    run_on(&place.at("second"), &["put", "k", "from before", "--granularity", "1000"]).ok();
    let second = Member::join(place.at("second"), "redb", "tcp", &first, false);
    agree(&[(&first, 1), (&second, 1)]);
    assert_eq!(first.run(&["get", "k"]).ok().stdout, "from before");
}

#[test]
fn a_node_of_another_cluster_is_turned_away_and_the_honest_ones_go_on() {
    let place = Place::new();
    let first = place.first("first");
    let second = Member::join(place.at("second"), "sled", "tcp", &first, true);
    let mut other = place.first("other");
    other.run(&["put", "foreign", "v"]).ok();
    other.stop();
    // The other node now claims to be an ordinary node of the first's cluster, with its foreign events.
    fs::remove_file(file_of(&other.data, "authority.key")).expect("it was there");
    other.serve(&["--peer", &first.address("quic"), "--peer", &first.address("tcp")]);

    let refused = |transport: &str| first.sync_status()["refusals"][transport].clone();
    until(|| refused("quic").is_object() && refused("tcp").is_object(), "no refusal is counted");
    // The operator sees it at the default log level.
    first.server().line_with("turned away");
    let problem = |n: usize| other.status()["neighbours"][n]["problem"].clone();
    until(|| problem(0).is_string() && problem(1).is_string(), "it does not learn that it is refused");
    for n in 0..2 {
        let neighbour = &other.status()["neighbours"][n];
        assert_eq!(neighbour["state"], "unreachable", "{neighbour}");
        let problem = neighbour["problem"].as_str().expect("a text");
        assert!(problem.contains("authority of another cluster"), "{problem}");
    }
    for transport in ["quic", "tcp"] {
        assert!(refused(transport)["foreign_authority"].as_u64() > Some(0), "{}", refused(transport));
        let name =
            format!("aevrion_sync_refusals_total{{transport=\"{transport}\",reason=\"foreign_authority\"}} ");
        let metrics = http::send(&first.server().address, "GET", "/metrics", &[], b"").is(200).text();
        let line = metrics.lines().find(|line| line.starts_with(&name)).expect("it is counted");
        assert!(!line.ends_with(" 0"), "{line}");
    }

    first.run(&["put", "k", "v"]).ok();
    agree(&[(&first, 1), (&second, 1)]);
    assert_eq!(first.connected(), 1);
    assert_eq!(second.run(&["get", "k"]).ok().stdout, "v");
    first.run(&["get", "foreign"]).fails(3, &[]);
    other.run(&["get", "k"]).fails(3, &[]);
}

// ---- Cost ----

/// The total of the hashed bytes of all events: the lower bound for copying them.
fn canonical_bytes(exported: &str) -> usize {
    let bytes = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("every line is JSON");
        let text = |name: &str| event[name].as_str().expect("a text").to_owned().into_bytes();
        let timestamp = Timestamp::from_millis(event["timestamp"].as_u64().expect("a time"));
        let value = Written::Data(text("value").into());
        let event = Event::new(text("key").into(), value, timestamp).expect("it was stored");
        event.canonical_bytes().len()
    };
    exported.lines().map(bytes).sum()
}

#[test]
fn a_week_of_flights_reaches_who_joins_empty_at_little_more_than_its_size() {
    let place = Place::new();
    let first = Member::found(place.at("first"), "redb", "quic,tcp", &[]);
    first.run(&["import", sample().to_str().expect("a text")]).ok();
    assert_eq!(first.status()["root"], WEEK_ROOT);
    let size = canonical_bytes(&first.run(&["export"]).ok().stdout);
    let second = Member::join(place.at("second"), "sled", "tcp", &first, false);
    let third = Member::join(place.at("third"), "redb", "quic", &first, false);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    for member in [&second, &third] {
        let status = member.status();
        assert_eq!((&status["events"], &status["root"]), (&WEEK_EVENTS.into(), &WEEK_ROOT.into()));
        let neighbours = status["neighbours"].as_array().expect("a list").iter();
        let received: u64 = neighbours.map(|one| one["bytes_received"].as_u64().expect("a number")).sum();
        println!("{} received {received} bytes for {size}", member.data.display());
        assert!(received > 0 && received * 100 <= size as u64 * 115, "{received} bytes for {size}");
        member.run(&["verify"]).ok();
    }
}
