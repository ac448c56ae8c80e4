//! The root of a replica with events at random times, so that nearly each has a separate node of the top level: the
//! first root after opening, and roots after one more write.
//!
//! One caller, no other load. Not measured: the hashing of an import itself, roots during writes. `cargo xtask bench
//! root 300000` sets the number of events.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod support;

use std::path::Path;
use std::time::Instant;

use aevrion_core::store::Durability;
use aevrion_core::{Event, Operation, Options, Replica, Timestamp, Value};
use aevrion_store_redb::RedbStore;
use support::median;

const EVENTS: u64 = 300_000;
const ROUNDS: u64 = 40;

fn main() {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let home = tempfile::tempdir().expect("a place");
    let path = home.path().join("replica");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let replica = open(&path).await;
        let mut import = replica.import();
        for number in 0..events {
            import.push(event(number)).await.expect("stored");
        }
        import.finish().await.expect("stored");
        let began = Instant::now();
        let root = replica.root().await.expect("readable");
        println!("{events} events at random times, root {}", root.hash);
        show("root after the import, which hashes all", &[began.elapsed().as_secs_f64() * 1_000.0]);
        replica.close().await.expect("closed");
        let replica = open(&path).await;
        let began = Instant::now();
        assert_eq!(replica.root().await.expect("readable"), root);
        show("first root after opening", &[began.elapsed().as_secs_f64() * 1_000.0]);
        measure(&replica, events).await;
        replica.close().await.expect("closed");
    });
}

async fn measure(replica: &Replica, events: u64) {
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut round = 0;
    while round < ROUNDS {
        let mut timed = async |place: usize, moment: Option<Timestamp>| {
            let began = Instant::now();
            match moment {
                None => replica.root().await.expect("readable"),
                Some(moment) => replica.root_at(moment).await.expect("readable"),
            };
            times[place].push(began.elapsed().as_secs_f64() * 1_000.0);
        };
        timed(0, None).await;
        replica.insert(vec![event(events + round)], Durability::Immediate).await.expect("stored");
        timed(1, None).await;
        replica.write(Operation::put("now", "value"), Durability::Immediate).await.expect("stored");
        timed(2, None).await;
        timed(3, Some(replica.now())).await;
        timed(4, Some(Timestamp::from_millis(u64::MAX / 8 * 7))).await;
        round += 1;
    }
    let names = [
        "root once more",
        "root after a write at a random time",
        "root after a write of now",
        "root_at now",
        "root_at seven eighths of all time",
    ];
    for (name, times) in names.into_iter().zip(&times) {
        show(name, times);
    }
}

fn show(name: &str, times: &[f64]) {
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!("{name:<40} {:>9.2} ms   worst {worst:>9.2} ms", median(times.to_vec()));
}

async fn open(path: &Path) -> Replica {
    Replica::open(RedbStore::open(path).expect("opens"), Options::default()).await.expect("opens")
}

/// An event at a pseudo-random time, the same in each run.
fn event(number: u64) -> Event {
    let mut mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let key = format!("key {}", number % 1_009).into_bytes();
    let value = Value::Data(format!("value {number}").into_bytes().into());
    Event::new(key.into(), value, Timestamp::from_millis(mixed ^ (mixed >> 31))).expect("an event")
}
