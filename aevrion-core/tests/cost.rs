//! The cost of synchronisation in bytes and messages, counted between two agents: frames with their lengths, without
//! the overhead of a transport.

use std::time::Duration;

use crate::support::histories::{DAY, HOUR, MINUTE, NOW, YEAR, event, other, scattered, spread, weight};
use crate::support::pair::Pair;
use aevrion_core::message::{Digest, Message, NodeDigest, Nodes, Row, ShortHash, encode};
use aevrion_core::tree::Shape;
use aevrion_core::{Event, Parameters, TimeSpan, Timestamp};

/// The cost of a repair.
struct Cost {
    bytes: u64,
    round_trips: f64,
    /// Events that came a second time.
    again: u64,
    transcript: String,
}

/// Adds events to each side, connects them anew, and counts until both hold the same.
async fn repair(pair: &mut Pair, name: &str, [left, right]: [Vec<Event>; 2]) -> Cost {
    let began = std::time::Instant::now();
    let different = left.len() + right.len();
    pair.hold(0, left).await;
    pair.hold(1, right).await;
    let held = began.elapsed();
    pair.begin_to_count();
    pair.reconnect().await;
    pair.pass_time(Duration::from_secs(2)).await;
    assert!(pair.agree().await, "{name}: they differ:\n{}", pair.transcript);
    let (turns, bytes) = pair.repaired;
    let cost = Cost {
        bytes: bytes - pair.event_bytes,
        round_trips: turns as f64 / 2.0,
        again: pair.sent_again,
        transcript: pair.transcript.clone(),
    };
    let seconds = (began.elapsed() - held).as_secs_f64();
    println!(
        "{name}: {different} events of {} B, {} B beside them in {} round trips, {} came again, {seconds:.2} s",
        pair.event_bytes, cost.bytes, cost.round_trips, cost.again
    );
    if std::env::var_os("AEVRION_SHOW").is_some() {
        println!("{}", pair.transcript);
    }
    cost
}

fn check(name: &str, cost: &Cost, bytes: u64, round_trips: f64) {
    assert_eq!(cost.again, 0, "{name}: events came twice:\n{}", cost.transcript);
    check_cost(name, cost, bytes, round_trips);
}

fn check_cost(name: &str, cost: &Cost, bytes: u64, round_trips: f64) {
    assert!(cost.bytes <= bytes, "{name}: {} B are more than {bytes}:\n{}", cost.bytes, cost.transcript);
    assert!(
        cost.round_trips <= round_trips,
        "{name}: {} round trips:\n{}",
        cost.round_trips,
        cost.transcript
    );
}

const MILLION: u64 = 1_000_000;

#[tokio::test]
async fn differences_among_a_million_events_of_two_years_cost_little_more_than_their_number() {
    let (begin, span) = (NOW - 2 * YEAR, 2 * YEAR);
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    for side in 0..2 {
        pair.hold(side, spread(begin, span - HOUR, MILLION, 60)).await;
    }
    pair.begin_to_count();
    pair.connect().await;
    let first = pair.longest_frame();
    println!("equal: the first snapshot takes {first} B");
    assert!(first <= 300, "{first}");
    let (_, bytes) = pair.compared;
    assert!(bytes <= 360, "only one side sends cells, but both sent {bytes} B:\n{}", pair.transcript);
    pair.begin_to_count();
    pair.pass_time(Duration::from_secs(60)).await;
    println!("equal: the minute's takes {} B", pair.longest_frame());
    assert!(pair.longest_frame() <= 50, "{}", pair.transcript);
    let recent = NOW - 5 * MINUTE;
    for (name, differences, bytes, round_trips) in [
        ("10 in the last five minutes", scattered(recent, 4 * MINUTE, 10, 1), 500, 2.0),
        ("10 anywhere", scattered(begin, span - HOUR, 10, 2), 500, 2.0),
        ("1,000 anywhere", scattered(begin, span - HOUR, 1_000, 3), 16_000, 3.0),
        ("10,000 anywhere", scattered(begin, span - HOUR, 10_000, 4), 130_000, 3.0),
        ("1,000 in an hour a year ago", scattered(NOW - YEAR, HOUR, 1_000, 5), 8_000, 4.0),
        // More than the kept cells tell: parts have cells of their own.
        ("20,000 anywhere", scattered(begin, span - HOUR, 20_000, 9), 360_000, 80.0),
    ] {
        let cost = repair(&mut pair, name, differences).await;
        check(name, &cost, bytes, round_trips);
    }
}

#[tokio::test]
async fn differences_among_a_million_events_of_a_day_cost_little_more_than_their_number() {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    for side in 0..2 {
        pair.hold(side, spread(NOW - DAY - HOUR, DAY - 6 * HOUR, 750_000, 60)).await;
    }
    let latest = spread(NOW - 7 * HOUR, 6 * HOUR, 250_000, 60);
    let latest =
        latest.into_iter().map(|event| other(event.timestamp().as_millis(), event.timestamp().as_millis()));
    let cost = repair(&mut pair, "the last six hours", [latest.collect(), Vec::new()]).await;
    // Beside the questions, each frame of events has some bytes.
    check("the last six hours", &cost, 4_000, f64::MAX);
    let (turns, bytes) = pair.to_first_events.expect("events came");
    println!("the last six hours: {bytes} B, {} round trips to the first events", turns as f64 / 2.0);
    let thousand = scattered(NOW - DAY - HOUR, DAY, 1_000, 6);
    let cost = repair(&mut pair, "1,000 in 24 hours", thousand).await;
    check("1,000 in 24 hours", &cost, 16_000, 3.0);
}

#[tokio::test]
async fn differences_in_a_leaf_of_a_million_events_cost_no_more_than_elsewhere() {
    let leaf = NOW - HOUR;
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    for side in 0..2 {
        pair.hold(side, (0..MILLION).map(|number| event(leaf + number % MINUTE, number, 60)).collect()).await;
    }
    let [one, _] = scattered(leaf, MINUTE, 1, 7);
    let cost = repair(&mut pair, "one in a leaf", [one, Vec::new()]).await;
    check("one in a leaf", &cost, 500, 1.5);
    let cost = repair(&mut pair, "10,000 in a leaf", scattered(leaf, MINUTE, 10_000, 8)).await;
    // The 28 bits of a locator beside its leaf do not tell so many events of one leaf from each other: some share them.
    assert!(cost.again <= 100, "{} came twice", cost.again);
    check_cost("10,000 in a leaf", &cost, 130_000, 4.0);
}

#[tokio::test]
async fn what_is_missing_by_half_costs_little_more_than_itself() {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    let events = spread(NOW - YEAR, YEAR - HOUR, MILLION, 60);
    let (one, two): (Vec<_>, Vec<_>) =
        events.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let only = |events: Vec<(usize, Event)>| events.into_iter().map(|(_, event)| event).collect::<Vec<_>>();
    let (one, two) = (only(one), only(two));
    pair.hold(0, one.clone()).await;
    pair.hold(1, one).await;
    let missing = weight(&two);
    let cost = repair(&mut pair, "half of a million", [two, Vec::new()]).await;
    println!("half of a million: {:.3} of the missing events", 1.0 + cost.bytes as f64 / missing as f64);
    assert!(cost.bytes * 20 <= missing, "{} B beside {missing}", cost.bytes);
}

#[tokio::test]
async fn an_empty_node_receives_little_more_than_the_events() {
    for side in 0..2 {
        let mut pair = Pair::new(Parameters::default(), NOW).await;
        let events = spread(NOW - YEAR, YEAR - HOUR, MILLION / 4, 60);
        let canonical = weight(&events);
        let mut sides = [Vec::new(), Vec::new()];
        sides[side] = events;
        repair(&mut pair, "an empty node", sides).await;
        println!("an empty node: {:.3} of the events", pair.bytes() as f64 / canonical as f64);
        assert!(pair.bytes() * 20 <= canonical * 21, "{} B for {canonical}", pair.bytes());
    }
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
fn a_digest_of_everything_is_a_map_of_bounded_size() {
    let shape = Shape::new(&Parameters::default());
    // The moment just before a new node of the top level begins has the longest cover of those two years.
    let top = shape.span(Shape::TOP);
    for year in 1970..=2100_u64 {
        let moment = (year - 1970) * YEAR + (year - 1969) / 4 * 24 * 60 * MINUTE;
        for now in [moment, moment / top * top + top - 1] {
            let Some(span) = TimeSpan::before(Timestamp::from_millis(now)) else { continue };
            let (nodes, bytes) = fullest(shape, span);
            let (most_tiles, most_bytes) = if now < 32 * top { (160, 2_700) } else { (192, 3_300) };
            assert!(nodes <= most_tiles && bytes <= most_bytes, "{nodes} nodes, {bytes} bytes in {year}");
        }
    }
}

/// The digest of a history without gaps, of a million events a minute: nodes and bytes.
fn fullest(shape: Shape, span: TimeSpan) -> (usize, usize) {
    let hash = ShortHash([0xAB; 8]);
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
    (nodes, encode(&Message::Nodes(Nodes::Cover { span, digest, counts: None })).len())
}
