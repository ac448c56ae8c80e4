//! Promise: writes acknowledged as durable survive a power failure at any moment, whatever the disk did with unsynced
//! data; and no manual repair is needed.

mod disk;

use std::collections::BTreeSet;

use aevrion_core::store::Durability;
use aevrion_core::{EventKey, Operation, Options, Replica};
use aevrion_store_redb::{RedbOptions, RedbStore};
use disk::{Disk, Random};

/// Runs of the test, each with another seed.
const RUNS: u64 = 150;

fn options() -> Options {
    // Small batches, so that the index is written while the power fails.
    Options::default().index_batch(25)
}

fn quick_or_full_repair(seed: u64) -> RedbOptions {
    RedbOptions::default().quick_repair(!seed.is_multiple_of(4)).cache_bytes(1 << 20)
}

/// Writes until the power fails. Returns the writes acknowledged as durable, and the atomic batches.
async fn write_until_dark(
    disk: &Disk,
    seed: u64,
    random: &mut Random,
    durable: &mut BTreeSet<EventKey>,
    batches: &mut Vec<Vec<EventKey>>,
) {
    let Ok(store) = RedbStore::open_on(disk.backends(), quick_or_full_repair(seed)) else { return };
    let Ok(replica) = Replica::open(store, options()).await else { return };
    let mut buffered = Vec::new();
    // No event is ever repeated: a lost event must not reappear because it was written again in the same millisecond.
    for number in batches.len().. {
        let operations: Vec<Operation> = (0..1 + random.below(6))
            .map(|part| {
                let key = format!("key{}", random.below(40));
                let size = if random.below(10) == 0 { 9_000 } else { 50 };
                match random.below(8) {
                    0 => Operation::delete(format!("gone{number}.{part}")),
                    _ => Operation::put(key, format!("{number}.{part}").repeat(size / 3)),
                }
            })
            .collect();
        let durability = if random.below(3) == 0 { Durability::Buffered } else { Durability::Immediate };
        let Ok(event_keys) = replica.batch(operations, durability).await else {
            batches.push(Vec::new());
            return;
        };
        batches.push(event_keys.clone());
        buffered.extend(event_keys);
        if durability == Durability::Immediate {
            durable.extend(buffered.drain(..));
        }
        if random.below(20) == 0 && replica.root().await.is_err() {
            return;
        }
    }
}

/// Checks that all durable writes are stored, every batch completely or not at all, and that everything is sound.
async fn check(replica: &Replica, seed: u64, durable: &BTreeSet<EventKey>, batches: &[Vec<EventKey>]) {
    let mut found = BTreeSet::new();
    let mut export = replica.export().expect("open");
    while let Some(events) = export.next().await.expect("readable") {
        found.extend(events.iter().map(|event| event.event_key()));
    }
    let lost: Vec<_> = durable.difference(&found).collect();
    assert!(lost.is_empty(), "seed {seed}: acknowledged and lost: {lost:?}");
    for batch in batches {
        let there = batch.iter().filter(|event_key| found.contains(event_key)).count();
        assert!(there == 0 || there == batch.len(), "seed {seed}: {there} of a batch of {}", batch.len());
    }
    let verification = replica.verify(|_| {}).await.expect("readable");
    assert!(verification.is_clean(), "seed {seed}: {verification:?}");
}

#[tokio::test]
async fn acknowledged_writes_survive_the_loss_of_power() {
    let mut acknowledged = 0;
    for seed in 0..RUNS {
        let mut random = Random::new(seed + 1);
        let mut disk = Disk::default();
        let (mut durable, mut batches) = (BTreeSet::new(), Vec::new());
        // Several losses of power in a row, on the same disk.
        for _ in 0..3 {
            disk.lose_power_after(20 + random.below(600));
            write_until_dark(&disk, seed, &mut random, &mut durable, &mut batches).await;
            disk = disk.after_power_loss(&mut random);
            let store = RedbStore::open_on(disk.backends(), quick_or_full_repair(seed)).expect("opens again");
            let replica = Replica::open(store, options()).await.expect("opens again");
            check(&replica, seed, &durable, &batches).await;
            replica.close().await.expect("closes");
        }
        acknowledged += durable.len();
    }
    assert!(acknowledged > 10_000, "the runs were too short to mean anything: {acknowledged}");
}
