//! Shared by the benchmarks: events shaped like the movements of aircraft, and the output of figures.

#![allow(dead_code, unreachable_pub, clippy::cast_precision_loss, reason = "shared by several benchmarks")]

use std::fs::File;
use std::io::{BufRead, BufReader};

use aevrion_core::{Event, Timestamp, Value};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// The number of events in a year of flights, and of their keys.
const EVENTS: u64 = 661_610;
const KEYS: u64 = 4_043;

/// The events of a gzipped file of JSON lines, if one is given; else generated ones of the same shape.
pub fn events() -> Vec<Event> {
    match std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        Some(path) => read(&path),
        None => (0..EVENTS).map(made).collect(),
    }
}

fn read(path: &str) -> Vec<Event> {
    let reader = BufReader::new(MultiGzDecoder::new(File::open(path).expect("the file is there")));
    let event = |line: std::io::Result<String>| {
        let line: serde_json::Value = serde_json::from_str(&line.expect("readable")).expect("JSON");
        let key = line["key"].as_str().expect("a key").to_owned();
        let timestamp = Timestamp::from_millis(line["timestamp"].as_u64().expect("a time"));
        Event::new(key.into(), Value::Data(line["value"].to_string().into()), timestamp).expect("an event")
    };
    reader.lines().map(event).collect()
}

fn made(number: u64) -> Event {
    // A year in time order, several events a minute; keys in no order.
    let timestamp = Timestamp::from_millis(1_357_000_000_000 + number * 31_536_000_000 / EVENTS);
    let key = format!("plane:N{:05}", (number * 7_919 + number / 13) % KEYS);
    let value = format!(
        r#"{{"flight":"UA{number}","from":"EWR","to":"IAH","status":"departed","delay_min":{}}}"#,
        number % 97
    );
    Event::new(key.into(), Value::Data(Bytes::from(value)), timestamp).expect("an event")
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
