//! Promise: ids, hashes, trees and reads match those of an independent implementation of the model.

use std::path::Path;
use std::process::Command;

use crate::support::{ENGINES, repository, run_on, sample, shared};
use aevrion_core::store::{Durability, MemoryStore};
use aevrion_core::tree::LEVELS;
use aevrion_core::{Event, Options, Replica, Timestamp, Value};
use serde_json::{Value as Json, json};

fn vectors() -> Json {
    let text = std::fs::read(repository().join("tests/data/vectors.json"))
        .expect("the vectors are in the repository");
    serde_json::from_slice(&text).expect("the vectors are JSON")
}

fn bytes(field: &Json) -> Vec<u8> {
    hex::decode(field.as_str().expect("a text")).expect("hexadecimal")
}

fn event(key: &Json, value: &Json, timestamp: &Json, expires_at: &Json) -> Event {
    let time = |field: &Json| Timestamp::from_millis(field.as_u64().expect("a time"));
    let value = match (value, expires_at) {
        (Json::Null, _) => Value::Deletion,
        (data, Json::Null) => Value::Data(bytes(data).into()),
        (data, until) => Value::Expiring { data: bytes(data).into(), expires_at: time(until) },
    };
    Event::new(bytes(key).into(), value, time(timestamp)).expect("an event")
}

#[test]
fn the_copy_of_the_vectors_is_the_original() {
    let Some(original) = shared("oracle/vectors.json") else { return };
    let original: Json = serde_json::from_slice(&std::fs::read(original).expect("readable")).expect("JSON");
    assert!(
        vectors() == original,
        "tests/data/vectors.json is not shared/oracle/vectors.json: copy it again"
    );
}

#[test]
fn event_vectors() {
    let vectors = vectors();
    let rows = vectors["events"].as_array().expect("rows");
    assert_eq!(rows.len(), 9);
    for row in rows {
        let event = event(&row["key_hex"], &row["value_hex"], &row["timestamp"], &row["expires_at"]);
        assert_eq!(hex::encode(event.canonical_bytes()), row["encoded_hex"].as_str().expect("a text"));
        assert_eq!(event.id().to_string(), row["id"].as_str().expect("a text"));
    }
}

#[tokio::test]
async fn tree_vectors() {
    let vectors = vectors();
    let trees = vectors["trees"].as_array().expect("trees");
    assert_eq!(trees.len(), 6);
    for tree in trees {
        let name = &tree["name"];
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.expect("opens");
        let events: Vec<Event> = tree["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|row| event(&row[0], &row[1], &row[2], &Json::Null))
            .collect();
        replica.insert(events, Durability::Immediate).await.expect("stored");
        let root = replica.root().await.expect("a root");
        assert_eq!(Json::from(root.hash.to_string()), tree["root"], "{name}");
        for level in 0..LEVELS {
            let expected = &tree["levels"][usize::from(level)];
            if expected.is_null() {
                continue;
            }
            let nodes = replica.nodes(level, 0..=u64::MAX).await.expect("nodes");
            let nodes: Vec<Json> =
                nodes.iter().map(|(index, node)| json!([index, node.count, node.hash.to_string()])).collect();
            assert_eq!(&Json::from(nodes), expected, "{name}, level {level}");
        }
    }
}

/// The answer of the oracle, line by line; `None`, with a message, if it cannot run.
fn oracle(arguments: &[&str], file: &Path) -> Option<Vec<Json>> {
    let script = shared("oracle/aevrion_oracle.py")?;
    let (what, rest) = arguments.split_first().expect("something to ask");
    let output = Command::new("python3").arg(script).arg(what).arg(file).args(rest).output().ok();
    match output {
        Some(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            Some(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
        }
        Some(output) => {
            eprintln!("SKIPPED: the oracle does not run: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        None => {
            eprintln!("SKIPPED: there is no python3 to run the oracle with");
            None
        }
    }
}

/// Over a week, because the oracle is plain and slow. `flights.rs` compares the root of the year.
#[test]
fn reads_are_those_of_the_oracle() {
    let file = sample();
    for engine in ENGINES {
        let home = tempfile::tempdir().expect("a place");
        let data = home.path().join("store");
        run_on(&data, &["import", file.to_str().expect("a path"), "--store", engine]).ok();
        // Before all events, early, within a minute, at the exact time of an event, and after all events.
        for at in ["1357035419999", "1357100000000", "1372879350000", "1373162640000", "1400000000000"] {
            let Some(expected) = oracle(&["latest", "--at", at], &file) else { return };
            let found = run_on(&data, &["scan", "-o", "jsonl", "--at", at]).ok().json_lines();
            assert_eq!(found.len(), expected.len(), "{engine} at {at}");
            assert!(found == expected, "{engine}: scan at {at} is not the oracle's latest");
        }
        for key in ["plane:N14228", "plane:N0EGMQ", "plane:none"] {
            let Some(expected) = oracle(&["history", key], &file) else { return };
            let found = run_on(&data, &["history", key, "-o", "jsonl"]).ok().json_lines();
            assert_eq!(found, expected, "{engine}: history of {key}");
        }
    }
}
