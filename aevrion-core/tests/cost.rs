//! The cost of synchronisation in bytes and messages, counted between two agents: frames with their lengths, without
//! the overhead of a transport.

use std::time::Duration;

use crate::support::pair::Pair;
use aevrion_core::message::{Digest, Message, NodeDigest, Row, Snapshot, encode};
use aevrion_core::tree::Shape;
use aevrion_core::{Event, Hash, Parameters, TimeSpan, Timestamp, Value};

const MINUTE: u64 = 60_000;
const YEAR: u64 = 365 * 24 * 60 * MINUTE;
const NOW: u64 = 56 * YEAR;

fn event(ms: u64, number: u64, len: usize) -> Event {
    let mut data = format!("{number}:").into_bytes();
    data.resize(len, b'v');
    let key = format!("key {:08}", number % 5_000);
    Event::new(key.into_bytes().into(), Value::Data(data.into()), Timestamp::from_millis(ms)).unwrap()
}

/// `count` events spread evenly over `span` milliseconds from `begin` on.
fn spread(begin: u64, span: u64, count: u64, len: usize) -> Vec<Event> {
    (0..count).map(|number| event(begin + span / count * number, number, len)).collect()
}

fn weight(events: &[Event]) -> u64 {
    events.iter().map(|event| event.canonical_bytes().len() as u64).sum()
}

#[tokio::test]
async fn agreeing_nodes_say_so_in_a_hundred_bytes() {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    for side in 0..2 {
        pair.hold(side, spread(NOW - YEAR, YEAR, 20_000, 60)).await;
    }
    pair.connect().await;
    pair.begin_to_count();
    pair.pass_time(Duration::from_secs(60)).await;
    println!("{}", pair.transcript);
    assert_eq!(pair.frames(), 4, "a snapshot each, and an answer");
    assert!(pair.bytes() <= 4 * 60, "{} bytes", pair.bytes());
}

#[tokio::test]
async fn one_event_missing_a_year_back_is_found_in_a_few_messages() {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    let events = spread(NOW - YEAR, YEAR, 200_000, 60);
    let without: Vec<_> =
        events.iter().enumerate().filter(|(n, _)| *n != 777).map(|(_, e)| e.clone()).collect();
    pair.hold(0, events).await;
    pair.hold(1, without).await;
    pair.connect().await;
    assert!(pair.agree().await);
    let (turns, bytes) = pair.repaired;
    println!("{}repaired after {bytes} bytes in {turns} turns", pair.transcript);
    println!("confirmed after {} bytes in {} turns, {} frames", pair.bytes(), pair.turns, pair.frames());
    assert!(pair.bytes() <= 20_000, "{} bytes", pair.bytes());
    assert!(turns <= 10, "{turns} turns are more than five round trips");
}

#[tokio::test]
async fn two_nodes_a_week_apart_exchange_little_more_than_what_is_missing() {
    let week = 7 * 24 * 60 * MINUTE;
    for (left, right) in [(10_000, 10_000), (10_000, 0), (5_000, 5_000)] {
        let mut pair = Pair::new(Parameters::default(), NOW).await;
        for side in 0..2 {
            pair.hold(side, spread(NOW - YEAR, YEAR - week, 100_000, 100)).await;
        }
        let missing: Vec<_> = spread(NOW - week, week, left + right, 100);
        let (lefts, rights): (Vec<_>, Vec<_>) = missing
            .iter()
            .cloned()
            .enumerate()
            .partition(|(n, _)| (*n as u64 * left) % (left + right) < left);
        let only =
            |events: Vec<(usize, Event)>| events.into_iter().map(|(_, event)| event).collect::<Vec<_>>();
        pair.hold(0, only(lefts)).await;
        pair.hold(1, only(rights)).await;
        pair.connect().await;
        assert!(pair.agree().await, "{}", pair.transcript);
        let ratio = pair.bytes() as f64 / weight(&missing) as f64;
        println!(
            "{left} and {right}: {} bytes, {ratio:.3} of the events, {} turns",
            pair.bytes(),
            pair.turns
        );
        assert!(ratio <= 1.3, "{ratio}");
    }
}

#[test]
fn a_snapshot_of_everything_is_a_map_of_bounded_size() {
    let shape = Shape::new(&Parameters::default());
    // The moment just before a new node of the top level begins has the longest cover of those two years.
    let top = shape.span(Shape::TOP);
    for year in 1970..=2100_u64 {
        let moment = (year - 1970) * YEAR + (year - 1969) / 4 * 24 * 60 * MINUTE;
        for now in [moment, moment / top * top + top - 1] {
            let Some(span) = TimeSpan::before(Timestamp::from_millis(now)) else { continue };
            let (nodes, bytes) = fullest(shape, span);
            let (most_tiles, most_bytes) = if now < 32 * top { (160, 6_600) } else { (192, 7_900) };
            assert!(nodes <= most_tiles && bytes <= most_bytes, "{nodes} nodes, {bytes} bytes in {year}");
        }
    }
}

/// The snapshot of a history without gaps, of a million events a minute: node digests and bytes.
fn fullest(shape: Shape, span: TimeSpan) -> (usize, usize) {
    let hash = Hash::from_bytes([0xAB; 32]);
    let rows: Vec<_> = shape
        .cover(span)
        .into_iter()
        .map(|(level, indexes)| {
            let count = 100_000 * shape.span(level) / MINUTE;
            Row { level, nodes: indexes.map(|index| NodeDigest { index, count, hash }).collect() }
        })
        .collect();
    let nodes = rows.iter().map(|row| row.nodes.len()).sum();
    let digest = Some(Digest { rows });
    let snapshot = Snapshot { span, root: hash, count: 6_600_000_000, digest, answer: true };
    (nodes, encode(&Message::Snapshot(snapshot)).len())
}
