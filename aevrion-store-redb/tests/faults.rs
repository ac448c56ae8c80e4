//! Promise: a full or failing disk makes the replica read-only, not wrong; the replica recovers by itself; damage is
//! detected and never served.

mod disk;

use std::time::{Duration, Instant};

use aevrion_core::store::StoreError;
use aevrion_core::{Options, Replica, Timestamp, Value, WriteError};
use aevrion_store_redb::{OpenError, RedbOptions, RedbStore};
use disk::{Disk, Random};

async fn open(disk: &Disk) -> Replica {
    let store = RedbStore::open_on(disk.backends(), RedbOptions::default()).expect("opens");
    Replica::open(store, Options::default()).await.expect("opens")
}

/// Writes until a write succeeds: the replica tries a failed disk again after a second.
async fn recovers(replica: &Replica, value: &str) {
    let began = Instant::now();
    while replica.put("key", value.to_owned()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not recover");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_disk_makes_it_read_only_until_there_is_room() {
    let disk = Disk::default();
    let replica = open(&disk).await;
    replica.put("key", "before").await.expect("stored");
    disk.set_full(true);
    let refused = replica.put("key", "lost").await.expect_err("no room");
    assert!(matches!(&refused, WriteError::Store(error) if error.is_full()), "{refused}");
    let refused = replica.put("key", "lost").await.expect_err("no room");
    assert!(matches!(&refused, WriteError::ReadOnly(error) if error.is_full()), "{refused}");
    let status = replica.status().await.expect("readable");
    assert!(status.read_only.as_ref().is_some_and(StoreError::is_full), "{status:?}");
    assert_eq!(status.events, 1);
    assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"before".as_slice()));
    disk.set_full(false);
    recovers(&replica, "after").await;
    let status = replica.status().await.expect("readable");
    assert!(status.read_only.is_none());
    assert_eq!(status.events, 2);
    assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"after".as_slice()));
    replica.close().await.expect("closes");
}

#[tokio::test]
async fn a_failing_disk_loses_nothing_acknowledged() {
    for seed in 1..60 {
        let mut random = Random::new(seed);
        let disk = Disk::default();
        let replica = open(&disk).await;
        let mut acknowledged = Vec::new();
        for number in 0..8 {
            if random.below(4) == 0 {
                disk.fail_next(1 + random.below(6));
            }
            let value = format!("{number}");
            if let Ok(event_key) = replica.put(format!("key{}", random.below(5)), value).await {
                acknowledged.push(event_key);
            }
        }
        disk.fail_next(0);
        for event_key in &acknowledged {
            let found = all_addresses(&replica).await;
            assert!(found.contains(event_key), "seed {seed}: {event_key} was acknowledged and is gone");
        }
        let found = replica.verify(|_| {}).await.expect("readable");
        assert!(found.is_clean(), "seed {seed}: {found:?}");
    }
}

async fn all_addresses(replica: &Replica) -> Vec<aevrion_core::EventKey> {
    let mut export = replica.export().expect("open");
    let mut event_keys = Vec::new();
    while let Some(events) = export.next().await.expect("readable") {
        event_keys.extend(events.iter().map(|event| event.event_key()));
    }
    event_keys
}

/// With any bit of the file flipped, a read never returns a wrong value. A key may seem absent if the bit was in the
/// index; then `verify` reports it.
#[tokio::test]
async fn a_flipped_bit_is_never_served() {
    let mut noticed = 0;
    for seed in 1..200 {
        let mut random = Random::new(seed);
        let disk = Disk::default();
        let replica = open(&disk).await;
        for number in 0..50_u64 {
            let value = Value::Data(format!("value of {number}").repeat(20).into());
            replica
                .put_at(format!("key{number}"), value, Timestamp::from_millis(number))
                .await
                .expect("stored");
        }
        replica.close().await.expect("closes");
        drop(replica);
        let bits = disk.len() as u64 * 8;
        disk.flip(usize::try_from(random.below(bits)).expect("a bit"));
        let store = match RedbStore::open_on(disk.backends(), RedbOptions::default()) {
            Ok(store) => store,
            Err(OpenError::Store(_) | OpenError::TooOld(_)) => {
                noticed += 1;
                continue;
            }
            Err(other) => panic!("seed {seed}: {other}"),
        };
        let Ok(replica) = Replica::open(store, Options::default()).await else {
            noticed += 1;
            continue;
        };
        let mut gone = 0;
        for number in 0..50_u64 {
            match replica.get(format!("key{number}")).await {
                Ok(Some(value)) => assert_eq!(value, format!("value of {number}").repeat(20), "seed {seed}"),
                Ok(None) => gone += 1,
                Err(_) => noticed += 1,
            }
        }
        if gone > 0 {
            let found = replica.verify(|_| {}).await;
            assert!(!found.is_ok_and(|found| found.is_clean()), "seed {seed}: {gone} keys are silently gone");
            noticed += 1;
        }
    }
    assert!(noticed > 0, "no flipped bit hit anything");
}
