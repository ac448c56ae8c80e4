//! The cost of reconciling two sets of a million events, beside that of range-based set reconciliation, the crate
//! `negentropy`, on the same events in the same run.
//!
//! `cargo xtask bench reconcile 100000` sets the number of events. The output ends with its limits.

#![allow(clippy::unwrap_used, reason = "in a benchmark an error is a failure")]

#[path = "../../../aevrion-core/tests/support/histories.rs"]
#[allow(dead_code, reason = "the tests of the core need more")]
mod histories;
#[path = "../../../aevrion-core/tests/support/pair.rs"]
#[allow(dead_code, reason = "the tests of the core need more")]
mod pair;
mod range_based;
mod sides;
mod table;

use aevrion_core::Event;
use histories::{DAY, HOUR, MINUTE, NOW, YEAR, event, scattered, spread};
use sides::Sides;

/// The events on each side.
const EVENTS: u64 = 1_000_000;
/// The length of a value in bytes.
const LEN: usize = 60;
/// The sides: `HERE` begins in negentropy, and has the smaller id in Aevrion.
const HERE: usize = 0;
const THERE: usize = 1;

fn main() {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        table::print_head(events);
        two_years(events).await;
        one_day(events).await;
        one_leaf(events).await;
        last_six_hours(events).await;
        half(events).await;
        empty(events).await;
        table::print_limits();
    });
}

async fn two_years(events: u64) {
    let (begin, span) = (NOW - 2 * YEAR, 2 * YEAR - HOUR);
    let mut sides = Sides::new(spread(begin, span, events, LEN)).await;
    sides.connect("none, on connecting").await;
    sides.pass_minute("none, the minute's comparison").await;
    for (name, differences) in [
        ("10 in the last five minutes", scattered(NOW - 5 * MINUTE, 4 * MINUTE, 10, 1)),
        ("10 anywhere in two years", scattered(begin, span, 10, 2)),
        ("1,000 anywhere in two years", scattered(begin, span, 1_000, 3)),
        ("10,000 anywhere in two years", scattered(begin, span, 10_000, 4)),
        ("1,000 in an hour a year ago", scattered(NOW - YEAR, HOUR, 1_000, 5)),
    ] {
        sides.repair(name, differences).await;
    }
}

async fn one_day(events: u64) {
    let begin = NOW - DAY - HOUR;
    let mut sides = Sides::new(spread(begin, DAY, events, LEN)).await;
    sides.repair("1,000 in the day of all events", scattered(begin, DAY, 1_000, 6)).await;
}

async fn one_leaf(events: u64) {
    let leaf = NOW - HOUR;
    let all = (0..events).map(|number| event(leaf + number % MINUTE, number, LEN)).collect();
    let mut sides = Sides::new(all).await;
    for (name, seed, missing_here) in
        [("1 in the leaf of all, here", 7, true), ("1 in the leaf of all, there", 9, false)]
    {
        let [one, none] = scattered(leaf, MINUTE, 1, seed);
        sides.repair(name, if missing_here { [none, one] } else { [one, none] }).await;
    }
    sides.repair("10,000 in the leaf of all", scattered(leaf, MINUTE, 10_000, 8)).await;
}

async fn last_six_hours(events: u64) {
    let latest = events / 4;
    let early = spread(NOW - DAY - HOUR, DAY - 6 * HOUR, events - latest, LEN);
    missing_on_one_side("the last six hours", early, spread(NOW - 7 * HOUR, 6 * HOUR, latest, LEN)).await;
}

async fn half(events: u64) {
    let (mut common, mut missing) = (Vec::new(), Vec::new());
    for event in spread(NOW - YEAR, YEAR - HOUR, events, LEN) {
        // The id decides as a coin would.
        let part = if event.id().as_bytes()[0] % 2 == 0 { &mut common } else { &mut missing };
        part.push(event);
    }
    missing_on_one_side("half of all at random", common, missing).await;
}

async fn empty(events: u64) {
    missing_on_one_side("all", Vec::new(), spread(NOW - YEAR, YEAR - HOUR, events, LEN)).await;
}

/// Events that one side lacks: here, there, and the sum of both, for no side knows beforehand which one it is.
async fn missing_on_one_side(name: &str, common: Vec<Event>, missing: Vec<Event>) {
    let mut rows = Vec::new();
    for (lacking, side) in [(HERE, "here"), (THERE, "there")] {
        let mut sides = Sides::new(common.clone()).await;
        rows.push(sides.fill(&format!("{name}, {side}"), lacking, missing.clone()).await);
    }
    table::print_sum(&format!("{name}, the sum"), &rows);
}
