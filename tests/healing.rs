//! The promise: damage heals by itself. A neighbour repairs damage on the disk of a node, and the scrub finds it
//! unprompted. While damage remains there is an alarm, also on a node without neighbours.

use crate::support::engine;
use std::io::Write;
use std::path::Path;

use crate::support::engine::plant;
use crate::support::http::{Response, send};
use crate::support::member::{Member, Place, agree, until};
use crate::support::server::Server;
use crate::support::{ENGINES, WEEK_EVENTS, aevrion, run_on, run_with_input, sample};
use aevrion_core::store::Table;
use serde_json::Value;

/// Flips a bit of the last value written under `key`.
fn spoil_event(engine: &str, data: &Path, key: &str) {
    plant(engine, data, Table::Events, |rows, batch| {
        let of_key = |row: &&engine::Row| row.1.get(5..).is_some_and(|rest| rest.starts_with(key.as_bytes()));
        let (event_key, row) = rows.iter().rfind(of_key).expect("it is stored");
        let mut spoilt = row.clone();
        *spoilt.last_mut().expect("it has bytes") ^= 0x04;
        batch.put(Table::Events, event_key.clone(), spoilt);
    });
}

/// The value of a metric, with labels if it has any; `None` before its part of the server has started.
fn metric(server: &Server, name: &str) -> Option<u64> {
    let page = send(&server.address, "GET", "/metrics", &[], b"").is(200).text();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("aevrion_{name} ")));
    line.and_then(|value| value.parse().ok())
}

fn get(server: &Server, key: &str) -> Response {
    send(&server.address, "GET", &format!("/v1/kv/{key}"), &[], b"")
}

#[track_caller]
fn status(server: &Server) -> Value {
    server.run(&["status", "-o", "json"]).ok().json()
}

#[test]
fn what_a_read_finds_damaged_a_neighbour_mends() {
    for engine in ENGINES {
        let place = Place::new();
        let first = place.first("first");
        first.run(&["put", "large", &"x".repeat(9_000)]).ok();
        first.run(&["put", "small", "sound"]).ok();
        let mut second = Member::join(place.at("second"), engine, "quic", &first, true);
        agree(&[(&first, 1), (&second, 1)]);
        second.stop();
        spoil_event(engine, &second.data, "small");
        plant(engine, &second.data, Table::Bodies, |rows, batch| {
            let mut spoilt = rows[0].1.clone();
            spoilt[5_000] ^= 0x80;
            batch.put(Table::Bodies, rows[0].0.clone(), spoilt);
        });
        second.serve(&["--scrub", "off"]);
        agree(&[(&second, 1), (&first, 1)]);
        let server = second.server();
        // Opening checks the events that are not indexed yet, except for bodies, which are checked when read.
        until(|| metric(server, "mended_events_total") == Some(1), "what opening found is not mended");
        assert_eq!(metric(server, "damaged_events"), Some(0));
        get(server, "large").refuses(500, "damaged", &["does not match its id", "sound copy is being asked"]);
        until(|| metric(server, "mended_events_total") == Some(2), "nobody mends it");
        assert_eq!(get(server, "small").is(200).text(), "sound");
        assert_eq!(get(server, "large").is(200).body, [b'x'; 9_000]);
        let status = status(server);
        assert_eq!((&status["damaged_events"], &status["mended_events"]), (&0.into(), &2.into()));
        assert_eq!(status["alarms"], Value::Array(Vec::new()));
        server.run(&["verify"]).ok();
        server.line_with("a damaged event was mended from a sound copy");
        assert_eq!(first.sync_status()["faults"], serde_json::json!({}));
    }
}

#[test]
fn without_a_neighbour_there_is_an_alarm_until_a_sound_copy_is_imported() {
    for engine in ENGINES {
        let place = Place::new();
        let data = place.at("alone");
        run_on(&data, &["put", "k", "v", "--at", "1000", "--store", engine]).ok();
        let copy = run_on(&data, &["export", "-"]).ok().stdout;
        spoil_event(engine, &data, "k");
        let alone = Server::start(&data);
        get(&alone, "k").refuses(500, "damaged", &["does not match its id"]);
        let alarm = status(&alone)["alarms"][0].as_str().expect("there is an alarm").to_owned();
        assert!(alarm.starts_with("1 stored event is damaged"), "{alarm}");
        assert!(alarm.contains("no neighbour") && alarm.contains("import"), "{alarm}");
        assert_eq!(metric(&alone, "alarm{kind=\"damage\"}"), Some(1));
        assert_eq!(metric(&alone, "damaged_events"), Some(1));
        alone.line_with("alarm: 1 stored event is damaged");
        send(&alone.address, "POST", "/v1/import", &[], copy.as_bytes()).is(200);
        assert_eq!(get(&alone, "k").is(200).text(), "v");
        assert_eq!(metric(&alone, "alarm{kind=\"damage\"}"), Some(0));
        assert_eq!(metric(&alone, "mended_events_total"), Some(1));
        alone.line_with("the alarm about the damage is over");
        alone.stop();
    }
}

/// Damages an event, drops an index row, and flips the hash of a past leaf, to which no write goes any more.
fn spoil_everything(engine: &str, data: &Path) {
    spoil_event(engine, data, "seen");
    plant(engine, data, Table::ByKey, |rows, batch| {
        let row = rows.iter().find(|(row, _)| row.starts_with(b"lost\0\0")).expect("it is indexed");
        batch.remove(Table::ByKey, row.0.clone());
    });
    plant(engine, data, Table::Nodes, |rows, batch| {
        let leaves: Vec<_> = rows.iter().filter(|(key, _)| key[0] == 0).collect();
        let (key, row) = leaves[leaves.len() / 2];
        let mut spoilt = row.clone();
        spoilt[20] ^= 0x10;
        batch.put(Table::Nodes, key.clone(), spoilt);
    });
}

#[test]
fn the_scrub_finds_and_mends_by_itself() {
    for engine in ENGINES {
        let place = Place::new();
        let first = place.first("first");
        first.run(&["import", sample().to_str().expect("a text")]).ok();
        for (key, at) in [("seen", "1000"), ("lost", "2000")] {
            first.run(&["put", key, "sound", "--at", at]).ok();
        }
        let mut second = Member::join(place.at("second"), engine, "tcp", &first, true);
        agree(&[(&first, 1), (&second, 1)]);
        second.stop();
        spoil_everything(engine, &second.data);
        second.serve(&["--scrub", "2s"]);
        let server = second.server();
        until(|| metric(server, "scrub_mended_total") >= Some(2), "the scrub mends nothing");
        until(|| metric(server, "mended_events_total") == Some(1), "nobody was asked for the damaged event");
        until(|| status(server)["scrub"]["last"]["found"] == 0, "it finds no end of faults");
        assert_eq!(get(server, "lost").is(200).text(), "sound");
        assert_eq!(get(server, "seen").is(200).text(), "sound");
        server.run(&["verify"]).ok();
        assert_eq!(status(server)["root"], first.status()["root"]);
        let table = server.run(&["status"]).ok().stdout;
        assert!(table.contains("2 seconds") && table.contains("0 faults"), "{table}");
        assert!(metric(server, "scrub_last_complete_seconds") > Some(1_700_000_000));
        server.line_with("the scrub found a fault");
    }
}

/// The flag overrides the environment, which overrides the file; the default is seven days.
#[test]
fn how_long_a_scrub_takes_is_a_setting_like_the_others() {
    let place = Place::new();
    let data = place.at("alone");
    let file = data.with_extension("toml");
    std::fs::write(&file, "scrub = \"3h\"\n").expect("it is written");
    let every = |flags: &[&str], environment: Option<&str>| {
        let mut command = aevrion();
        command.args(["serve", "--http", "127.0.0.1:0", "--data"]).arg(&data).args(flags);
        command.envs(environment.map(|value| ("AEVRION_SCRUB", value)));
        let server = Server::spawn(command);
        until(|| flags.contains(&"off") || !status(&server)["scrub"].is_null(), "there is no scrub");
        let scrub = status(&server)["scrub"].clone();
        server.stop();
        scrub["every_ms"].as_u64().map(|ms| ms / 3_600_000)
    };
    let config = ["--config", file.to_str().expect("a text")];
    assert_eq!(every(&[], None), Some(7 * 24));
    assert_eq!(every(&config, None), Some(3));
    assert_eq!(every(&config, Some("2h")), Some(2));
    assert_eq!(every(&[&config[..], &["--scrub", "1h"]].concat(), Some("2h")), Some(1));
    assert_eq!(every(&["--scrub", "off"], None), None);
}

#[test]
fn the_scrub_goes_on_where_it_was_after_a_restart() {
    for engine in ENGINES {
        let place = Place::new();
        let data = place.at("alone");
        run_on(&data, &["import", sample().to_str().expect("a text"), "--store", engine]).ok();
        let start = || {
            let mut command = aevrion();
            command.args(["serve", "--http", "127.0.0.1:0", "--scrub", "8s", "--data"]).arg(&data);
            Server::spawn(command)
        };
        let rows = |server: &Server| status(server)["scrub"]["pass"]["rows"].as_u64().unwrap_or(0);
        let first = start();
        until(|| rows(&first) > 3_000, "it does not come on");
        let (before, began) = (rows(&first), status(&first)["scrub"]["pass"]["began"].clone());
        first.stop();
        let second = start();
        until(|| rows(&second) > 0, "it does not begin");
        let pass = status(&second)["scrub"]["pass"].clone();
        assert!(
            pass["rows"].as_u64() >= Some(before) && pass["began"] == began,
            "{before} rows, then {pass}"
        );
        until(|| !status(&second)["scrub"]["last"].is_null(), "it has no end");
        let last = status(&second)["scrub"]["last"].clone();
        assert_eq!((&last["began"], &last["found"]), (&began, &0.into()), "{last}");
        let took = last["ended"].as_u64().zip(last["began"].as_u64()).map(|(ended, began)| ended - began);
        assert!(took >= Some(4_000), "it was to take its time: {last}");
        second.stop();
    }
}

/// Events that arrive during continuous checks.
#[test]
fn what_is_imported_meanwhile_is_never_taken_for_damage() {
    for engine in ENGINES {
        let place = Place::new();
        let data = place.at("alone");
        run_with_input(&data, &["put", "k", "-", "--store", engine], b"v").ok();
        let mut command = aevrion();
        command.args(["serve", "--http", "127.0.0.1:0", "--scrub", "1s", "--data"]).arg(&data);
        let server = Server::spawn(command);
        for part in 0..4_u64 {
            let mut lines = Vec::new();
            for n in 0..1_000_u64 {
                let at = 1_700_000_000_000 + (n * 7_919 + part * 104_729) % 10_000_000;
                writeln!(
                    lines,
                    "{{\"key\":\"key {}\",\"value\":\"{part} {n}\",\"timestamp\":{at}}}",
                    n % 333
                )
                .expect("it is memory");
            }
            send(&server.address, "POST", "/v1/import", &[], &lines).is(200);
            status(&server);
        }
        server.run(&["import", sample().to_str().expect("a text")]).ok();
        let passed = || status(&server)["scrub"]["last"]["began"].as_u64();
        let before = passed();
        until(|| passed() > before, "no pass comes to its end");
        let scrub = status(&server)["scrub"].clone();
        assert_eq!(scrub["total"]["found"], 0, "{scrub}");
        assert!(scrub["total"]["rows"].as_u64() > Some(WEEK_EVENTS), "{scrub}");
        server.run(&["verify"]).ok();
        server.stop();
    }
}
