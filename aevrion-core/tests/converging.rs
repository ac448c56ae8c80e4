//! Two replicas with any events and any cluster parameters hold the same events after a comparison.

use std::time::Duration;

use crate::support::pair::Pair;
use aevrion_core::{Event, Parameters, Timestamp, Value};
use proptest::prelude::*;

const NOW: u64 = 1_700_000_000_000;

fn event(number: u64, ms: u64) -> Event {
    let key = format!("key {}", number % 97).into_bytes();
    let data = format!("{number}").into_bytes();
    Event::new(key.into(), Value::Data(data.into()), Timestamp::from_millis(ms)).unwrap()
}

/// The holder of an event: one side, the other, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Left,
    Right,
    Both,
}

/// Events in clumps, some of which are in the future: their distance before or after `NOW`, their spacing, their
/// number, and their holder.
#[derive(Debug, Clone)]
struct Clump {
    begin: u64,
    apart: u64,
    count: u64,
    holder: Holder,
}

fn clump() -> impl Strategy<Value = Clump> {
    let long_ago = prop_oneof![0..NOW, NOW - 100_000_000..NOW, NOW - 10_000..NOW, NOW..NOW * 2];
    let apart = prop_oneof![Just(0_u64), Just(1), 1..100_u64, 1..10_000_000_u64];
    let count = prop_oneof![Just(1_u64), 1..20_u64, 100..600_u64];
    let holder = prop_oneof![Just(Holder::Left), Just(Holder::Right), Just(Holder::Both)];
    (long_ago, apart, count, holder).prop_map(|(begin, apart, count, holder)| Clump {
        begin,
        apart,
        count,
        holder,
    })
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let granularity = prop_oneof![Just(60_000_u64), Just(10), Just(1_000), Just(86_400_000)];
    let branching = prop_oneof![Just(32_u32), Just(2), Just(256), 2..256_u32];
    (granularity, branching).prop_map(|(granularity, branching)| Parameters {
        granularity,
        branching,
        ..Parameters::default()
    })
}

async fn converge(parameters: Parameters, clumps: &[Clump]) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(parameters, NOW).await;
    let mut number = 0;
    for clump in clumps {
        let events: Vec<_> = (0..clump.count)
            .map(|n| {
                number += 1;
                event(number, clump.begin + n * clump.apart)
            })
            .collect();
        if clump.holder != Holder::Right {
            pair.hold(0, events.clone()).await;
        }
        if clump.holder != Holder::Left {
            pair.hold(1, events).await;
        }
    }
    pair.connect().await;
    // Events ahead by less than the drift and a minute are compared once their time has passed.
    pair.pass_time(Duration::from_secs(300)).await;
    prop_assert!(pair.agree().await, "{}", pair.transcript);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_two_replicas_agree_once_they_have_compared(
        parameters in parameters(),
        clumps in prop::collection::vec(clump(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(converge(parameters, &clumps))?;
    }
}

#[tokio::test]
async fn a_leaf_of_which_each_side_holds_half_a_message_and_more() {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    let minute = NOW - NOW % 60_000 - 60_000;
    for side in 0..2_u64 {
        let events = (0..150_000).map(|n| event(side * 1_000_000 + n, minute + n % 60_000));
        pair.hold(usize::try_from(side).unwrap(), events.collect()).await;
    }
    pair.connect().await;
    pair.pass_time(Duration::from_secs(60)).await;
    assert!(pair.agree().await, "{}", pair.transcript);
}
