//! Promise: long work yields to other tasks during all its reads: timers fire on time beside it, and dropping it stops
//! it.
//!
//! The tests measure the computing time of a thread between two ticks of a timer, so that a busy machine does not
//! count. Without yields each of these is as long as the work itself.

#![cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::Kept;
use aevrion_core::{Cursor, Event, Options, Replica, Timestamp, Value};
use aevrion_core::{EntryQuery, KeySpan, Order, VersionQuery};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

const EVENTS: u64 = 300_000;

/// A key with many versions.
const HOT: &str = "hot";

/// The longest computing time of a thread between two ticks. A quantum takes half a millisecond, and some twenty times
/// as much in an unoptimised build.
const LONGEST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 40 });

/// A minute that holds all the events of a leaf.
const MINUTE: u64 = 28_000_000;

/// The computing time of this thread so far.
fn computed() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A timer beside the work under test.
struct Ticker {
    /// The longest time between two ticks so far, in microseconds.
    longest: Arc<AtomicU64>,
}

impl Ticker {
    fn start() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut last = computed();
            loop {
                ticks.tick().await;
                let now = computed();
                seen.fetch_max(u64::try_from((now - last).as_micros()).unwrap(), Ordering::Relaxed);
                last = now;
            }
        });
        Self { longest }
    }

    /// Runs `work`, during which the timer must fire on time.
    async fn beside<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        // The test's own earlier computing does not count.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.longest.store(0, Ordering::Relaxed);
        let began = computed();
        let done = work.await;
        let took = computed() - began;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let longest = Duration::from_micros(self.longest.load(Ordering::Relaxed));
        println!("{what}: {longest:?} of {took:?}");
        assert!(longest < LONGEST, "{what} kept the timer waiting for {longest:?}");
        done
    }
}

/// Imports events `apart` milliseconds apart, or several per millisecond.
async fn fill(replica: &Replica, apart: f64) {
    let mut import = replica.import();
    for number in 0..EVENTS {
        let key = if number % 8 == 0 { HOT.to_owned() } else { format!("key{}", number % 50_000) };
        let value = Value::Data(number.to_string().into());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hours")]
        let at = MINUTE * 60_000 + (number as f64 * apart) as u64;
        import.push(Event::new(key.into(), value, Timestamp::from_millis(at)).unwrap()).await.unwrap();
    }
    assert_eq!(import.finish().await.unwrap().new, EVENTS);
}

async fn export(replica: &Replica) -> u64 {
    let (mut export, mut events) = (replica.export().unwrap(), 0);
    while let Some(page) = export.next().await.unwrap() {
        events += page.len() as u64;
    }
    events
}

/// Watches from a cursor until so many events were seen.
async fn watch(replica: &Replica, prefix: &str, cursor: Cursor, events: u64) {
    let mut watch = replica.watch(prefix, Some(cursor)).unwrap();
    for _ in 0..events {
        watch.next().await.unwrap().unwrap();
    }
}

async fn history(replica: &Replica, order: Order) -> u64 {
    let mut query = VersionQuery::default().order(order);
    let mut versions = 0;
    loop {
        let page = replica.history(HOT, &query).await.unwrap();
        versions += page.events.len() as u64;
        match page.next {
            Some(next) => query.after = Some(next),
            None => return versions,
        }
    }
}

/// Hashes a replica with events so many milliseconds apart. Returns the replica and the cursor before the first event.
async fn hash_everything(store: &Kept, apart: f64) -> (Replica, Cursor, Ticker) {
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let cursor = replica.watch("", None).unwrap().cursor();
    let ticker = Ticker::start();
    ticker.beside("import", fill(&replica, apart)).await;
    let root = ticker.beside("root", replica.root()).await.unwrap();
    assert_eq!(root.count, EVENTS);
    let middle = Timestamp::from_millis(MINUTE * 60_000 + 15_000);
    assert!(ticker.beside("root_at", replica.root_at(middle)).await.unwrap().count < EVENTS);
    let found = ticker.beside("verify", replica.verify(|_| {})).await.unwrap();
    assert!(found.is_clean() && found.root == root);
    (replica, cursor, ticker)
}

#[tokio::test]
async fn timers_fire_beside_long_reads() {
    let store = Kept::default();
    let (replica, cursor, ticker) = hash_everything(&store, 40.0).await;
    assert_eq!(ticker.beside("status", replica.status()).await.unwrap().events, EVENTS);
    assert_eq!(ticker.beside("export", export(&replica)).await, EVENTS);
    ticker.beside("watch", watch(&replica, "", cursor, EVENTS)).await;
    ticker.beside("watch of other keys", watch(&replica, HOT, cursor, EVENTS / 8)).await;
    let all = EntryQuery::default();
    assert_eq!(ticker.beside("scan", replica.scan(&all)).await.unwrap().events.len(), 4_096);
    let keys = ticker.beside("count", replica.count(KeySpan::all(), Timestamp::MAX)).await.unwrap();
    assert_eq!(keys, 1 + 50_000 / 8 * 7);
    for order in [Order::NewestFirst, Order::OldestFirst] {
        assert_eq!(ticker.beside("history", history(&replica, order)).await, EVENTS / 8);
    }
    // As after a crash: the index rows in memory are rebuilt.
    let opened = ticker.beside("opening", Replica::open(store, Options::default())).await.unwrap();
    assert!(opened.status().await.unwrap().pending_index_rows > 10_000);
    ticker.beside("rebuild", opened.rebuild(|_| {})).await.unwrap();
}

#[tokio::test]
async fn timers_fire_beside_the_hashing_of_one_full_leaf() {
    hash_everything(&Kept::default(), 0.1).await;
}

#[tokio::test]
async fn what_is_dropped_reads_no_further() {
    let store = Kept::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    fill(&replica, 40.0).await;
    let verifying = {
        let replica = replica.clone();
        tokio::spawn(async move { replica.verify(|_| {}).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!verifying.is_finished(), "it is to be cut short");
    verifying.abort();
    assert!(verifying.await.unwrap_err().is_cancelled());
    let reads = store.reads();
    assert!(reads > 0);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.reads(), reads);
}
