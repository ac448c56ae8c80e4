//! Reading the latest value of a key from a replica with a year of flights, beside a bare lookup in a redb table of the
//! same size.
//!
//! Hot: all rows are in memory. The library is called directly, one read at a time. Not measured: cold reads, reads
//! during writes.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod support;

use std::time::Instant;

use aevrion_core::{Options, Replica};
use aevrion_store_redb::RedbStore;
use bytes::Bytes;
use redb::{Database, ReadableDatabase, TableDefinition};
use support::{events, median};

const READS: usize = 200_000;
const HOT_KEYS: usize = 1_000;
const PLAIN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("events");

fn main() {
    let events = events();
    let home = tempfile::tempdir().expect("a place");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime");
    let replica = runtime.block_on(async {
        let store = RedbStore::open(home.path().join("replica")).expect("opens");
        let replica = Replica::open(store, Options::default()).await.expect("opens");
        let mut import = replica.import();
        for event in &events {
            import.push(event.clone()).await.expect("stored");
        }
        import.finish().await.expect("stored");
        replica
    });
    let database = Database::create(home.path().join("plain.redb")).expect("opens");
    let transaction = database.begin_write().expect("begins");
    let mut table = transaction.open_table(PLAIN).expect("opens");
    for event in &events {
        table.insert(&event.id().as_bytes()[..], &event.canonical_bytes()[..]).expect("inserted");
    }
    drop(table);
    transaction.commit().expect("committed");

    let hot: Vec<_> = events.iter().step_by(events.len() / HOT_KEYS).collect();
    let keys: Vec<Bytes> = hot.iter().map(|event| event.key().clone()).collect();
    let table = database.begin_read().expect("begins").open_table(PLAIN).expect("opens");
    for (name, times) in [
        (
            "replica.get",
            runtime.block_on(async {
                let mut times = Vec::with_capacity(READS);
                for number in 0..READS {
                    let key = &keys[number % keys.len()];
                    let began = Instant::now();
                    let value = replica.get(key).await.expect("readable");
                    times.push(began.elapsed().as_nanos() as f64 / 1_000.0);
                    assert!(value.is_some());
                }
                times
            }),
        ),
        (
            "bare lookup",
            (0..READS)
                .map(|number| {
                    let id = hot[number % hot.len()].id();
                    let began = Instant::now();
                    let value =
                        table.get(&id.as_bytes()[..]).expect("readable").map(|value| value.value().to_vec());
                    let time = began.elapsed().as_nanos() as f64 / 1_000.0;
                    assert!(value.is_some());
                    time
                })
                .collect(),
        ),
    ] {
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        println!("{name:<12} p50 {:.2} µs   p99 {:.2} µs", median(times), sorted[sorted.len() * 99 / 100]);
    }
}
