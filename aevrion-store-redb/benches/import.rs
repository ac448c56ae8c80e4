//! Importing a year of flights into a replica, beside a plain redb table `id → event` with the same bytes and commits:
//! the cost or gain of the tree, the index and the order of arrival.
//!
//! Both are durable after every commit of 4,096 events, with quick repair, on the file system of the temporary
//! directory. Not measured: parsing and computing ids, which both need. The two take turns.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod support;

use std::path::Path;
use std::time::Instant;

use aevrion_core::bounds::COMMIT_EVENTS;
use aevrion_core::{Event, Options, Replica};
use aevrion_store_redb::{RedbOptions, RedbStore};
use redb::{Builder, TableDefinition};
use support::{events, median};

const ROUNDS: usize = 5;
const PLAIN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("events");

fn main() {
    let events = events();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime");
    println!("{} events, {ROUNDS} rounds, the contenders in turn; events/s", events.len());
    let (mut replica, mut plain) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let home = tempfile::tempdir().expect("a place");
        replica.push(runtime.block_on(import(&home.path().join("replica"), &events)));
        plain.push(import_plain(&home.path().join("plain.redb"), &events));
        println!(
            "  round {round}: replica {:>9.0}   plain table {:>9.0}",
            replica[round - 1],
            plain[round - 1]
        );
    }
    let ratios: Vec<f64> = replica.iter().zip(&plain).map(|(replica, plain)| replica / plain).collect();
    println!("median:    replica {:>9.0}   plain table {:>9.0}", median(replica), median(plain));
    println!("ratio:     {:.2} (median of the rounds)", median(ratios));
}

/// Events per second, including the close: no work is left afterwards.
async fn import(path: &Path, events: &[Event]) -> f64 {
    let store = RedbStore::open(path).expect("opens");
    let replica = Replica::open(store, Options::default()).await.expect("opens");
    let began = Instant::now();
    let mut import = replica.import();
    for event in events {
        import.push(event.clone()).await.expect("stored");
    }
    import.finish().await.expect("stored");
    replica.close().await.expect("closed");
    events.len() as f64 / began.elapsed().as_secs_f64()
}

fn import_plain(path: &Path, events: &[Event]) -> f64 {
    let database =
        Builder::new().set_cache_size(RedbOptions::default().cache_bytes).create(path).expect("opens");
    let began = Instant::now();
    for batch in events.chunks(COMMIT_EVENTS) {
        let mut transaction = database.begin_write().expect("begins");
        transaction.set_quick_repair(true);
        let mut table = transaction.open_table(PLAIN).expect("opens");
        for event in batch {
            table.insert(&event.id().as_bytes()[..], &event.canonical_bytes()[..]).expect("inserted");
        }
        drop(table);
        transaction.commit().expect("committed");
    }
    drop(database);
    events.len() as f64 / began.elapsed().as_secs_f64()
}
