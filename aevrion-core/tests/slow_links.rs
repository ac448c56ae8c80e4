//! Promise: on real lines, fast or slow, a repair of any pattern of differences costs little more than the missing
//! events, and it terminates.

use std::time::Duration;

use crate::support::line::{Line, NOW, Speed};
use aevrion_core::agent::Activity;
use aevrion_core::bounds::{LANE_BYTES, MESSAGE_IDS, WINDOW_BYTES};
use aevrion_core::{Event, Timestamp, Value};

/// The beginning of a leaf in the past.
const LEAF: u64 = NOW - NOW % 60_000 - 600_000;

const FAST: Speed =
    Speed { bandwidth: 100_000_000, latency: Duration::from_millis(1), store: Duration::from_millis(20) };

fn event(ms: u64, number: u64, len: usize) -> Event {
    let mut data = format!("{number}:").into_bytes();
    data.resize(len.max(data.len()), b'v');
    let key = format!("key {number:08}").into_bytes();
    Event::new(key.into(), Value::Data(data.into()), Timestamp::from_millis(ms)).unwrap()
}

fn spread(begin: u64, span: u64, count: u64, len: usize) -> Vec<Event> {
    (0..count).map(|number| event(begin + span * number / count, number, len)).collect()
}

fn weight(events: &[Event]) -> f64 {
    let bytes: usize = events.iter().map(|event| event.canonical_bytes().len()).sum();
    bytes as f64
}

#[tokio::test]
async fn no_event_is_sent_twice_however_slow_the_line_is() {
    let lines = [(1_000_000_000, 150_000), (12_500_000, 100_000), (500_000, 60_000), (20_000, 20_000)];
    for (bandwidth, events) in lines {
        for holder in 0..2 {
            let mut line =
                Line::new(Speed { bandwidth, latency: Duration::from_millis(5), store: FAST.store }).await;
            let events = spread(NOW - 100_000_000, 90_000_000, events, 100);
            let (missing, held) = (weight(&events), events.len() as u64);
            line.hold(holder, events).await;
            line.connect().await;
            let seconds = line.agreement(180).await.expect("they come to agree");
            println!("{bandwidth} B/s, held by {holder}: {seconds} s, {} of {held} events", line.events());
            assert_eq!(line.events(), held);
            let ideal = missing / bandwidth as f64;
            assert!(seconds as f64 <= ideal * 1.2 + 5.0, "{seconds} s, where {ideal:.0} would do");
        }
    }
}

/// A caller waiting for agreement triggers constant comparisons, even while the first answer is in flight or being
/// stored: they start no new repair.
#[tokio::test]
async fn no_event_is_sent_twice_however_often_snapshots_are_compared() {
    for (bandwidth, events) in [(1_000_000_000, 60_000), (2_000_000, 60_000), (100_000, 20_000)] {
        for store in [20, 500, 3_000].map(Duration::from_millis) {
            for holder in 0..2 {
                let mut line = Line::new(Speed { bandwidth, latency: FAST.latency, store }).await;
                line.hold(holder, spread(NOW - 100_000_000, 90_000_000, events, 100)).await;
                line.connect().await;
                while !line.agrees().await {
                    assert!(line.now < Duration::from_secs(60), "they do not come to agree");
                    line.run(line.now + Duration::from_millis(300)).await;
                    line.compare(1 - holder).await;
                    line.compare(holder).await;
                }
                println!("{bandwidth} B/s, stored in {store:?}, held by {holder}: {} events", line.events());
                assert_eq!(line.events(), events);
            }
        }
    }
}

/// The differences lie in whole blocks and in parts of others, on both sides. Several requests begin such a repair, on
/// both sides, about interleaved times.
#[tokio::test]
async fn no_event_is_sent_twice_however_the_missing_ones_lie() {
    const MINUTE: u64 = 60_000;
    const BLOCK: u64 = 1_024 * MINUTE;
    type Holds = fn(u64) -> bool;
    const fn by_turns(minutes: u64, ms: u64) -> u64 {
        ms / MINUTE / minutes % 2
    }
    const fn block(of: u64, ms: u64) -> u64 {
        ms / BLOCK % of
    }
    const fn some_hours(which: u64, ms: u64) -> bool {
        ms / MINUTE / 60 % 4 == which
    }
    let cases: [(&str, Holds, Holds); 6] = [
        ("by turns of 20 minutes", |ms| by_turns(20, ms) == 0, |ms| by_turns(20, ms) == 1),
        ("by turns of 180 minutes", |ms| by_turns(180, ms) == 0, |ms| by_turns(180, ms) == 1),
        ("by turns of a block", |ms| block(2, ms) == 0, |ms| block(2, ms) == 1),
        ("some hours of each second block", |_| true, |ms| block(2, ms) == 0 && some_hours(0, ms)),
        (
            "each third block and some hours of another",
            |_| true,
            |ms| block(3, ms) == 0 || block(3, ms) == 1 && some_hours(0, ms),
        ),
        (
            "thirds, of one of which both have some hours",
            |ms| block(3, ms) == 0 || block(3, ms) == 2 && some_hours(0, ms),
            |ms| block(3, ms) == 1 || block(3, ms) == 2 && some_hours(1, ms),
        ),
    ];
    for (what, one, other) in cases {
        for bandwidth in [1_000_000, 100_000_000] {
            for holder in 0..2 {
                let latency = Duration::from_millis(20);
                let mut line = Line::new(Speed { bandwidth, latency, store: FAST.store }).await;
                let events = spread(27_648 * BLOCK, 20 * BLOCK, 60_000, 200);
                let held_by =
                    |holds: Holds| events.iter().filter(move |event| holds(event.timestamp().as_millis()));
                line.hold(holder, held_by(one).cloned().collect()).await;
                line.hold(1 - holder, held_by(other).cloned().collect()).await;
                let missing = events.iter().map(|event| event.timestamp().as_millis());
                let missing = missing.filter(|ms| one(*ms) != other(*ms)).count() as u64;
                line.connect().await;
                let seconds = line.agreement(60).await.expect("they come to agree");
                println!(
                    "{what}, {bandwidth} B/s, {holder}: {seconds} s, {} of {missing} events",
                    line.events()
                );
                assert_eq!(line.events(), missing);
            }
        }
    }
}

/// Only the events being stored when the line breaks are sent again.
#[tokio::test]
async fn a_broken_line_costs_no_more_than_one_answer() {
    for cut in [20, 150, 700, 2_900].map(Duration::from_millis) {
        for holder in 0..2 {
            let mut line = Line::new(Speed { store: Duration::from_secs(1), ..FAST }).await;
            let events = spread(NOW - 100_000_000, 90_000_000, 60_000, 100);
            let missing = weight(&events);
            line.hold(holder, events).await;
            line.connect().await;
            line.run(cut).await;
            line.break_off().await;
            line.agreement(60).await.expect("they come to agree");
            let came = line.sides[holder].sent_events - line.sides[1 - holder].lost_events;
            println!("cut after {cut:?}, held by {holder}: {:.3}", came as f64 / missing);
            assert!(came as f64 <= missing * 1.02 + WINDOW_BYTES as f64, "{came} B for {missing} B");
        }
    }
}

/// A catch-up needs almost no state: received events stay, and only the rest is sent after the line broke.
#[tokio::test]
async fn a_catch_up_that_is_cut_off_goes_on_where_it_was() {
    for holder in 0..2 {
        let mut line = Line::new(Speed { bandwidth: 1_000_000, ..FAST }).await;
        let events = spread(NOW - 100_000_000, 90_000_000, 100_000, 100);
        let missing = weight(&events);
        line.hold(holder, events).await;
        line.connect().await;
        let mut had = 0;
        for cut in 1..=4 {
            line.run(line.now + Duration::from_secs(2)).await;
            line.break_off().await;
            let has = line.sides[1 - holder].replica.root().await.unwrap().count;
            assert!(has > had, "cut {cut}: {has} events, {had} before");
            had = has;
        }
        line.agreement(60).await.expect("they come to agree");
        let lost = line.sides[1 - holder].lost_events;
        let ratio = (line.sides[holder].sent_events - lost) as f64 / missing;
        println!("held by {holder}: {had} events after four cuts, {ratio:.3} of the missing bytes arrived");
        assert!(lost > 0 && ratio <= 1.02, "{ratio}");
    }
}

/// Both sides see the progress of a catch-up.
#[tokio::test]
async fn a_catch_up_says_how_far_it_has_come() {
    for holder in 0..2 {
        let mut line = Line::new(Speed { bandwidth: 1_000_000, ..FAST }).await;
        // Equal numbers of events in the last minutes, in the quarter of an hour before them, and so on for ten weeks.
        let age = |number: u64| (100_000 << (number / 6_250)) * (6_250 + number % 6_250) / 6_250;
        let events: Vec<_> = (0..100_000).map(|number| event(NOW - age(number), number, 100)).collect();
        let weights: u64 = events.iter().map(|event| event.weight() as u64).sum();
        line.hold(holder, events).await;
        line.connect().await;
        let mut agreed = [0, 0];
        for second in [3, 6, 9] {
            line.run(Duration::from_secs(second)).await;
            for (side, agreed) in line.sides.iter().zip(&mut agreed) {
                let agreement = side.agent.progress().agreement;
                let catch_up = agreement.catch_up(line.now).expect("they have not come to the end");
                assert!(line.now - catch_up.elapsed < Duration::from_secs(2), "{catch_up:?}");
                assert!(catch_up.blocks > 20, "{catch_up:?}");
                assert!(catch_up.agreed > *agreed && catch_up.agreed < catch_up.blocks, "{catch_up:?}");
                *agreed = catch_up.agreed;
                // For events in flight, one side counts them as sent and the other may still count them as missing.
                let all = catch_up.moved + catch_up.to_go;
                let under_way = 2 * (LANE_BYTES + WINDOW_BYTES) as u64 / 112;
                assert!((100_000..100_000 + under_way).contains(&all), "{agreement:?}");
                let to_go = catch_up.bytes_to_go.expect("something has moved");
                let expected = weights * agreement.behind() / 100_000;
                assert!(to_go.abs_diff(expected) < expected / 100, "{to_go} B for {expected}");
            }
        }
        line.run(Duration::from_secs(30)).await;
        for side in &line.sides {
            let agreement = side.agent.progress().agreement;
            assert_eq!((agreement.behind(), agreement.catch_up(line.now)), (0, None));
        }
    }
}

#[tokio::test]
async fn what_is_missing_here_and_there_is_found_without_waiting_for_the_next_minute() {
    for (span, every) in [(3_000_000_000, 3), (86_400_000, 3), (3_600_000, 2)] {
        for holder in 0..2 {
            let mut line = Line::new(FAST).await;
            let events = spread(NOW - span - 100_000, span, 100_000, 60);
            let (missing, common): (Vec<_>, Vec<_>) =
                events.iter().cloned().enumerate().partition(|(number, _)| number % every == 0);
            let only =
                |some: Vec<(usize, Event)>| some.into_iter().map(|(_, event)| event).collect::<Vec<_>>();
            let (missing, common) = (only(missing), only(common));
            line.hold(holder, events).await;
            line.hold(1 - holder, common).await;
            line.connect().await;
            let seconds = line.agreement(60).await;
            let ratio = (line.sides[0].sent + line.sides[1].sent) as f64 / weight(&missing);
            println!("one of {every} over {span} ms, held by {holder}: {seconds:?} s, {ratio:.3}");
            assert!(seconds.is_some_and(|seconds| seconds <= 10), "{seconds:?} s");
            assert!(ratio <= 1.3, "{ratio}");
        }
    }
}

#[tokio::test]
async fn a_leaf_that_no_message_takes_is_repaired_at_the_price_of_what_is_missing() {
    for missing in [1_usize, 50_000, 200_000] {
        for holder in 0..2 {
            let mut line = Line::new(FAST).await;
            let events = spread(LEAF, 60_000, 250_000, 60);
            let lacks = |number: usize| number >= 20_000 && number < 20_000 + missing;
            let common = events.iter().enumerate().filter(|(number, _)| !lacks(*number));
            line.hold(1 - holder, common.map(|(_, event)| event.clone()).collect()).await;
            let weight = weight(&events[20_000..20_000 + missing]);
            line.hold(holder, events).await;
            line.connect().await;
            let seconds = line.agreement(60).await;
            let (there, back) = (line.sides[holder].sent as f64, line.sides[1 - holder].sent as f64);
            println!(
                "{missing} of a leaf, held by {holder}: {seconds:?} s, {there} B and {back} B for {weight} B"
            );
            assert!(seconds.is_some_and(|seconds| seconds <= 10), "{seconds:?} s");
            // The ids of the leaf: five bytes each, once or twice.
            assert!(there + back <= weight * 1.2 + 250_000.0 * 5.0 * 2.2, "{there} B and {back} B");
        }
    }
}

/// The author of contents could choose ids that all fall into one part of an overfull span.
#[tokio::test]
async fn chosen_ids_do_not_hide_what_is_missing() {
    let chosen = (0..).map(|number| event(LEAF + number % 60_000, number, 10));
    let events: Vec<_> = chosen.filter(|event| event.id().as_bytes()[7] % 2 == 0).take(200_000).collect();
    for lacking in 0..2 {
        let mut line = Line::new(FAST).await;
        let without = events.iter().enumerate().filter(|(number, _)| *number != 77);
        line.hold(lacking, without.map(|(_, event)| event.clone()).collect()).await;
        line.hold(1 - lacking, events.clone()).await;
        line.connect().await;
        let seconds = line.agreement(60).await;
        assert!(seconds.is_some_and(|seconds| seconds <= 10), "{seconds:?} s");
    }
}

/// Future events of the other side alone are no agreement, in any previous state.
#[tokio::test]
async fn a_future_that_only_the_other_side_holds_is_asked_about() {
    for holder in 0..2 {
        let mut line = Line::new(FAST).await;
        line.connect().await;
        line.run(Duration::from_secs(5)).await;
        line.hold(holder, vec![event(NOW + 10_000_000_000, 1, 10)]).await;
        line.compare(1 - holder).await;
        let agrees = |line: &Line| {
            let agreement = line.sides[1 - holder].agent.progress().agreement;
            agreement.future == Some(true)
                && agreement.catch_up(line.now).is_none()
                && agreement.behind() == 0
        };
        assert!(!agrees(&line), "nothing was answered yet");
        while !agrees(&line) {
            line.run(line.now + Duration::from_micros(100)).await;
        }
        assert_eq!(line.sides[1 - holder].replica.root().await.unwrap().count, 1, "it agrees without it");
    }
}

/// A comparison requested during a repair is answered after it, including the future.
#[tokio::test]
async fn a_future_that_is_asked_about_during_a_repair_is_not_forgotten() {
    for holder in 0..2 {
        let mut line = Line::new(Speed { bandwidth: 1_000_000, ..FAST }).await;
        line.connect().await;
        line.run(Duration::from_secs(5)).await;
        line.hold(holder, spread(NOW - 100_000_000, 90_000_000, 20_000, 100)).await;
        line.compare(1 - holder).await;
        let asking = |line: &Line| line.sides[1 - holder].agent.progress().agreement;
        while line.sides[1 - holder].agent.progress().activity != Activity::Repairing
            || asking(&line).future != Some(true)
        {
            line.run(line.now + Duration::from_millis(1)).await;
        }
        line.hold(holder, vec![event(NOW + 10_000_000_000, 1, 10)]).await;
        line.compare(1 - holder).await;
        while asking(&line).future != Some(true) || asking(&line).catch_up(line.now).is_some() {
            assert!(line.now < Duration::from_secs(30), "they do not agree: {:?}", asking(&line));
            line.run(line.now + Duration::from_millis(1)).await;
        }
        assert_eq!(line.sides[1 - holder].replica.root().await.unwrap().count, 20_001);
    }
}

/// A repair without effect is tried a few times per minute, not endlessly, wherever the difference lies.
#[tokio::test]
async fn what_cannot_be_repaired_is_not_tried_without_end() {
    for at in [NOW - 10_000_000, NOW + 10_000_000_000] {
        for holder in 0..2 {
            let mut line = Line::new(FAST).await;
            let common = spread(NOW - 90_000_000, 1_000_000, 100, 10);
            line.hold(0, common.clone()).await;
            line.hold(1, common).await;
            let damaged = event(at, 1, 10);
            line.sides[holder].damaged = Some(damaged.event_key());
            line.hold(holder, vec![damaged]).await;
            line.connect().await;
            line.run(Duration::from_secs(50)).await;
            let snapshots = line.sides[0].snapshots + line.sides[1].snapshots;
            println!("damaged at {at}, held by {holder}: {snapshots} snapshots in 50 s");
            assert!(snapshots <= 60, "{snapshots} snapshots");
        }
    }
}

/// On a line that is slow for a digest, two nodes that cannot help each other stop sending their digests.
#[tokio::test]
async fn what_neither_can_give_the_other_is_not_told_without_end() {
    let mut line = Line::new(Speed { bandwidth: 16_384, ..FAST }).await;
    let mut common = spread(NOW - 21 * 61_000_000, 20 * 61_000_000, 3_000, 10);
    common.extend(spread(NOW - 40_000_000, 39_990_000, 3_000, 10));
    for side in 0..2 {
        // In a block where the other side has nothing.
        let damaged = event(NOW - 100_000_000_000 - side as u64 * 70_000_000_000, 1, 10);
        line.sides[side].damaged = Some(damaged.event_key());
        line.hold(side, common.clone()).await;
        line.hold(side, vec![damaged]).await;
    }
    line.connect().await;
    line.run(Duration::from_secs(10)).await;
    line.overflow(0).await;
    line.run(Duration::from_secs(45)).await;
    let snapshots = line.sides.iter().map(|side| side.snapshots).sum::<u64>();
    println!("{snapshots} snapshots in 45 s");
    assert!(snapshots <= 40, "{snapshots} snapshots");
}

/// A large event takes the repair lane, whatever its time, and is sent once: even if a minute ends while it is in
/// flight.
#[tokio::test]
async fn a_large_write_holds_up_nothing_that_is_written_after_it_and_comes_once() {
    const MIB: usize = 1 << 20;
    for (bandwidth, large, at) in [(1_000_000, 16 * MIB, 5), (200_000, 4 * MIB, 35)] {
        for writer in 0..2 {
            let mut line = Line::new(Speed { bandwidth, ..FAST }).await;
            line.connect().await;
            line.run(Duration::from_secs(at)).await;
            line.write(writer, event(NOW + at * 1_000, 1, large)).await;
            line.write(writer, event(NOW + at * 1_000, 2, 100)).await;
            line.run(line.now + Duration::from_millis(500)).await;
            let held = async |line: &Line| line.sides[1 - writer].replica.status().await.unwrap().events;
            assert_eq!(held(&line).await, 1, "the small one has passed");
            line.run(line.now + Duration::from_secs(large as u64 / bandwidth + 2)).await;
            assert_eq!(held(&line).await, 2, "the large one has come");
            line.run(line.now + Duration::from_secs(130)).await;
            println!("{large} B at {bandwidth} B/s by {writer}: {} events were sent", line.events());
            assert!(line.agrees().await && line.events() == 2, "{} events were sent", line.events());
        }
    }
}

/// The later of two overfull leaves cannot be repaired. The earlier one is, completely.
#[tokio::test]
async fn a_leaf_that_cannot_be_mended_keeps_no_other_from_its_turn() {
    // As many shares as are listed at once; and slightly more than one.
    let (many, some) = (MESSAGE_IDS as u64 * 2, MESSAGE_IDS as u64 * 17 / 16);
    let mut line = Line::new(FAST).await;
    let late = spread(LEAF + 60_000, 60_000, many, 20);
    let early = spread(LEAF, 60_000, some, 20);
    line.hold(0, late.clone()).await;
    line.hold(1, late).await;
    let damaged = event(LEAF + 70_000, many + 1, 20);
    line.sides[1].damaged = Some(damaged.event_key());
    line.hold(1, vec![damaged]).await;
    line.hold(0, early.clone()).await;
    let lacks = |number: usize| number % 1_000 == 7;
    let lacking =
        early.iter().enumerate().filter(|(number, _)| !lacks(*number)).map(|(_, event)| event.clone());
    line.hold(1, lacking.collect()).await;
    line.connect().await;
    let mut held = 0;
    for second in 1..=30 {
        line.run(Duration::from_secs(second)).await;
        held = line.sides[1].replica.status().await.unwrap().events;
        if held == many + some + 1 {
            break;
        }
    }
    assert_eq!(held, many + some + 1, "it holds all of the earlier leaf");
}
