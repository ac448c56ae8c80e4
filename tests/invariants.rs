//! Promise: the six invariants of the model, each with a test of its name, on every engine that is built in.

use crate::support;
use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use aevrion_core::store::{Durability, EventStore, MemoryStore};
use aevrion_core::{AsOf, EntryQuery, KeySpan, VersionQuery};
use aevrion_core::{
    Event, ManualWall, Operation, Options, Parameters, Replica, Root, Timestamp, Value, WriteError,
};
use bytes::Bytes;

/// Runs a check on a new store of every engine; the check may reopen it through its `Place`.
async fn on_every_engine<F: Future<Output = ()>>(check: impl Fn(Place) -> F) {
    check(Place::new("memory")).await;
    for engine in support::ENGINES {
        check(Place::new(engine)).await;
    }
}

/// The directory and the engine of a store.
struct Place {
    engine: &'static str,
    directory: tempfile::TempDir,
}

impl Place {
    fn new(engine: &'static str) -> Self {
        Self { engine, directory: tempfile::tempdir().expect("a place") }
    }

    async fn open(&self) -> Replica {
        self.open_with(Options::default()).await
    }

    async fn open_with(&self, options: Options) -> Replica {
        let path: &Path = self.directory.path();
        let store: Arc<dyn EventStore> = match self.engine {
            #[cfg(feature = "redb")]
            "redb" => Arc::new(aevrion_store_redb::RedbStore::open(path).expect("opens")),
            #[cfg(feature = "sled")]
            "sled" => Arc::new(aevrion_store_sled::SledStore::open(path).expect("opens")),
            _ => Arc::new(MemoryStore::new()),
        };
        let _ = path;
        Replica::open(store, options).await.expect("opens")
    }
}

async fn every_event(replica: &Replica) -> BTreeSet<(u64, String)> {
    let mut export = replica.export().expect("open");
    let mut events = BTreeSet::new();
    while let Some(page) = export.next().await.expect("readable") {
        events.extend(page.iter().map(|event| (event.timestamp().as_millis(), event.id().to_string())));
    }
    events
}

fn ms(number: u64) -> Timestamp {
    Timestamp::from_millis(number)
}

fn data(text: &'static str) -> Value {
    Value::Data(Bytes::from_static(text.as_bytes()))
}

/// Events of several leaves and keys: ties, deletions, expiries, and the far future.
fn mixed_events() -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..400_u64 {
        let key = Bytes::from(format!("key{}", number % 23));
        let timestamp =
            ms((number * 7_919_777) % 50_000_000 + if number % 50 == 0 { u64::MAX / 2 } else { 0 });
        let data = Bytes::from(format!("value {number}"));
        let value = match number % 7 {
            0 => Value::Deletion,
            1 => Value::Expiring { data, expires_at: timestamp.after(std::time::Duration::from_secs(60)) },
            _ => Value::Data(data),
        };
        events.push(Event::new(key.clone(), value, timestamp).expect("an event"));
        if number % 11 == 0 {
            let tie = Value::Data(Bytes::from(format!("tie {number}")));
            events.push(Event::new(key, tie, timestamp).expect("an event"));
        }
    }
    events
}

/// All visible reads at a few moments.
async fn all_reads(replica: &Replica) -> Vec<String> {
    let mut reads = Vec::new();
    for at in [0, 1_000_000, 25_000_000, 60_000_000, u64::MAX] {
        let at = Some(ms(at));
        let entries = replica.scan(&EntryQuery::default().as_of(at.map(AsOf::from))).await.expect("readable");
        reads.push(format!("{:?}", entries.events));
        for key in 0..23 {
            let query = VersionQuery::default().until(at);
            let versions = replica.history(format!("key{key}"), &query).await.expect("readable");
            reads.push(format!("{:?}", versions.events));
        }
    }
    reads
}

#[tokio::test]
async fn invariant_1_append_only() {
    on_every_engine(async |place| {
        let replica = place.open().await;
        let mut before = BTreeSet::new();
        let key = "plane";
        replica.put(key, "departed").await.expect("stored");
        replica.put(key, "arrived").await.expect("stored");
        replica.delete(key).await.expect("stored");
        replica.put_until(key, "late", ms(1)).await.expect("stored");
        replica.put_at(key, data("corrected"), ms(5)).await.expect("stored");
        for _ in 0..3 {
            let now = every_event(&replica).await;
            assert!(now.is_superset(&before), "{}: an event is gone", place.engine);
            before = now;
            replica.rebuild(|_| {}).await.expect("rebuilt");
            replica.insert(mixed_events(), Durability::Immediate).await.expect("stored");
        }
        let count = before.len();
        assert_eq!(replica.status().await.expect("readable").events, count as u64);
        replica.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn invariant_2_same_events_same_tree_same_reads() {
    let mut orders = [mixed_events(), mixed_events(), mixed_events()];
    orders[1].reverse();
    let middle = orders[2].len() / 2;
    orders[2].rotate_left(middle);
    let reference: (Root, Vec<String>) = {
        let replica = Place::new("memory").open().await;
        replica.insert(mixed_events(), Durability::Immediate).await.expect("stored");
        (replica.root().await.expect("a root"), all_reads(&replica).await)
    };
    for (number, events) in orders.iter().enumerate() {
        on_every_engine(async |place| {
            let replica = place.open().await;
            for batch in events.chunks(37 * (number + 1)) {
                replica.insert(batch.to_vec(), Durability::Buffered).await.expect("stored");
                // Hashing in between must leave no stale hash.
                replica.root().await.expect("a root");
            }
            assert_eq!(replica.root().await.expect("a root"), reference.0, "{} order {number}", place.engine);
            assert!(all_reads(&replica).await == reference.1, "{} order {number}: other reads", place.engine);
            replica.close().await.expect("closed");
        })
        .await;
    }
}

/// `kill.rs` covers `kill -9`, and each store's own tests cover power loss. This test covers the next open of the
/// store, also after the last handle was simply dropped.
#[tokio::test]
async fn invariant_3_acknowledged_writes_survive() {
    for engine in support::ENGINES {
        let place = Place::new(engine);
        let mut acknowledged = BTreeSet::new();
        for round in 0..3 {
            let replica = place.open().await;
            let events = every_event(&replica).await;
            assert!(events.is_superset(&acknowledged), "{engine}: an acknowledged write is gone");
            for number in 0..20 {
                let durability = if number % 2 == 0 { Durability::Immediate } else { Durability::Buffered };
                let operations = vec![
                    Operation::put(format!("key{number}"), format!("{round}")),
                    Operation::delete("other"),
                ];
                for event_key in replica.batch(operations, durability).await.expect("stored") {
                    acknowledged.insert((event_key.timestamp.as_millis(), event_key.id.to_string()));
                }
            }
            replica.close().await.expect("closed");
        }
    }
}

/// The runtime has no I/O driver: not even creating a socket would work.
#[test]
fn invariant_4_reads_and_writes_never_wait_for_the_network() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(on_every_engine(async |place| {
        let replica = place.open().await;
        replica.put("key", "value").await.expect("stored");
        assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"value".as_slice()));
        replica.scan(&EntryQuery::default()).await.expect("readable");
        replica.history("key", &VersionQuery::default()).await.expect("readable");
        assert_eq!(replica.count(KeySpan::all(), replica.now()).await.expect("readable"), 1);
        replica.root().await.expect("readable");
        replica.close().await.expect("closed");
    }));
}

#[tokio::test]
async fn invariant_5_tree_and_index_equal_a_rebuild() {
    on_every_engine(async |place| {
        let replica = place.open().await;
        replica.insert(mixed_events(), Durability::Immediate).await.expect("stored");
        replica.put("key1", "now").await.expect("stored");
        let before = (replica.root().await.expect("a root"), all_reads(&replica).await);
        let found = replica.verify(|_| {}).await.expect("verified");
        assert!(found.is_clean(), "{}: {found:?}", place.engine);
        assert_eq!(found.root, before.0);
        let rebuilt = replica.rebuild(|_| {}).await.expect("rebuilt");
        assert_eq!(rebuilt.root, before.0);
        assert_eq!((rebuilt.rows_removed, rebuilt.damaged_events), (0, 0));
        assert!(all_reads(&replica).await == before.1, "{}: other reads", place.engine);
        assert!(replica.verify(|_| {}).await.expect("verified").is_clean());
        replica.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn invariant_6_what_enters_is_verified() {
    on_every_engine(async |place| {
        let options = Options::default();
        let replica = place.open_with(options).await;
        let Parameters { longest_key, largest_data, .. } = replica.parameters();
        let long_key = vec![b'k'; longest_key as usize + 1];
        let large = Bytes::from(vec![0; largest_data as usize + 1]);
        assert!(matches!(replica.put("", "v").await, Err(WriteError::EmptyKey)));
        assert!(matches!(replica.put(&long_key, "v").await, Err(WriteError::KeyTooLong { .. })));
        assert!(matches!(replica.put("k", large.clone()).await, Err(WriteError::ValueTooLong { .. })));
        assert!(matches!(replica.put("__aevrion/x", "v").await, Err(WriteError::ReservedKey)));
        // One bad event refuses the whole batch.
        for (key, value) in [
            (Bytes::new(), data("v")),
            (Bytes::from(long_key.clone()), data("v")),
            (Bytes::from_static(b"k"), Value::Data(large.clone())),
            (Bytes::from_static(b"__aevrion/x"), data("v")),
        ] {
            let good = Event::new(Bytes::from_static(b"good"), data("v"), ms(1)).expect("an event");
            let bad = Event::new(key, value, ms(1)).expect("an event");
            assert!(replica.insert(vec![good, bad], Durability::Immediate).await.is_err());
        }
        assert_eq!(replica.status().await.expect("readable").events, 0);
        // Values at the limits are allowed.
        replica.put(&long_key[1..], large.slice(1..)).await.expect("stored");
        let value = replica.get(&long_key[1..]).await.expect("readable").expect("there");
        assert_eq!(value.len(), largest_data as usize);
        replica.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn an_event_from_the_future_is_kept_and_shown_in_its_time() {
    on_every_engine(async |place| {
        let wall = Arc::new(ManualWall::at(ms(1_000_000)));
        let options = || Options::default().wall(Arc::clone(&wall));
        let replica = place.open_with(options()).await;
        replica.put("key", "present").await.expect("stored");
        let far = ms(1_000_000 + 3_600_000);
        replica.put_at("key", data("future"), far).await.expect("stored");
        assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"present".as_slice()));
        assert_eq!(replica.status().await.expect("readable").events, 2);
        // The future event does not advance the clock, and a later write with its exact timestamp can still win.
        assert!(replica.put("other", "x").await.expect("stored").timestamp < far);
        wall.set(far);
        assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"future".as_slice()));
        let later = replica.put("key", "later").await.expect("stored");
        assert_eq!(later.timestamp, far.next());
        assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"later".as_slice()));
        replica.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn the_clock_never_runs_back_across_a_restart() {
    for engine in support::ENGINES {
        let place = Place::new(engine);
        let wall = Arc::new(ManualWall::at(ms(10_000_000)));
        let options = || Options::default().wall(Arc::clone(&wall));
        let replica = place.open_with(options()).await;
        let first = replica.put("key", "first").await.expect("stored");
        replica.close().await.expect("closed");
        wall.set(ms(10_000_000 - 30_000));
        let replica = place.open_with(options()).await;
        let second = replica.put("key", "second").await.expect("stored");
        assert!(second.timestamp > first.timestamp, "{engine}: {second} after {first}");
        assert_eq!(replica.get("key").await.expect("readable").as_deref(), Some(b"second".as_slice()));
        replica.close().await.expect("closed");
    }
}
