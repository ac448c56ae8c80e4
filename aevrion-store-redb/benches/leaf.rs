//! Questions beside the hashing of one full leaf: how long they wait while another task asks for digests whose span ends
//! inside of the leaf, or for the root after a write to it.
//!
//! Two threads, one asker each. "Alone" is the same question without the other task: the ratio counts. Not measured:
//! writes, and stores without isolated views, where a walk keeps the writer waiting. `cargo xtask bench leaf 500000` sets
//! the number of events in the leaf.

mod support;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aevrion_core::agent::ReplicaView;
use aevrion_core::store::Durability;
use aevrion_core::{Event, Options, Replica, TimeSpan, Timestamp, Value};
use aevrion_store_redb::RedbStore;
use support::median;

const EVENTS: u64 = 1_000_000;
const ROUNDS: u64 = 10;

/// The first moment of the full leaf, and a moment long before it.
const LEAF: u64 = 1_700_000_040_000;
const BEFORE: u64 = LEAF - 3_600_000;
const LEAF_MS: u64 = 60_000;

/// The kinds of questions that are asked beside the hashing.
const QUESTIONS: [&str; 4] = ["status", "root", "root_at, a time before", "digest, a time before"];

fn main() {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let home = tempfile::tempdir().expect("a place");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let replica = filled(&home.path().join("replica"), events).await;
        println!("a leaf of {events} events");
        let numbers = Numbers::default();
        let (mut digests, mut steps) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (took, step) = polled(cut_digest(&replica, &numbers)).await;
            digests.push(took);
            steps.push(step);
        }
        show("digest that cuts the leaf, alone", &digests);
        show("its longest step between two yields", &steps);
        questions("alone", &replica, &numbers, None).await;
        questions("beside digests that cut the leaf", &replica, &numbers, Some(Beside::Digests)).await;
        questions("beside roots after a write to the leaf", &replica, &numbers, Some(Beside::Roots)).await;
        replica.close().await.expect("closed");
    });
}

/// Numbers that make each question a new one.
#[derive(Clone, Default)]
struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What another task does meanwhile.
#[derive(Clone, Copy)]
enum Beside {
    Digests,
    Roots,
}

async fn filled(path: &Path, events: u64) -> Replica {
    let store = RedbStore::open(path).expect("opens");
    let replica = Replica::open(store, Options::default()).await.expect("opens");
    let mut import = replica.import();
    for number in 0..1_000 {
        import.push(event(number, BEFORE - number * 600_000)).await.expect("stored");
    }
    for number in 0..events {
        import.push(event(number, LEAF + number * LEAF_MS / events)).await.expect("stored");
    }
    import.finish().await.expect("stored");
    replica.root().await.expect("readable");
    replica
}

/// A digest of the past whose end lies in the middle of the leaf.
async fn cut_digest(replica: &Replica, numbers: &Numbers) {
    digest(replica, LEAF + LEAF_MS / 2 + numbers.next()).await;
}

async fn digest(replica: &Replica, until: u64) {
    let span = TimeSpan::before(Timestamp::from_millis(until)).expect("not empty");
    ReplicaView::digest(replica, span).await.expect("readable");
}

async fn questions(title: &str, replica: &Replica, numbers: &Numbers, beside: Option<Beside>) {
    let ends = Arc::new(AtomicBool::new(false));
    let other = beside.map(|beside| {
        let (replica, numbers, ends) = (replica.clone(), numbers.clone(), Arc::clone(&ends));
        tokio::spawn(async move {
            let mut times = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                times.push(polled(do_beside(beside, &replica, &numbers)).await.0);
            }
            times
        })
    });
    let mut times: [Vec<f64>; QUESTIONS.len()] = Default::default();
    for round in 0..ROUNDS * 4 {
        // The other one is anywhere in its work.
        tokio::time::sleep(Duration::from_millis(7 + round % 5)).await;
        for (place, times) in times.iter_mut().enumerate() {
            times.push(polled(ask(place, replica, numbers)).await.0);
        }
    }
    ends.store(true, Ordering::Relaxed);
    println!("{title}:");
    for (name, times) in QUESTIONS.iter().zip(&times) {
        show(&format!("  {name}"), times);
    }
    if let Some(other) = other {
        show("  the hashing itself", &other.await.expect("done"));
    }
}

async fn do_beside(beside: Beside, replica: &Replica, numbers: &Numbers) {
    match beside {
        Beside::Digests => cut_digest(replica, numbers).await,
        Beside::Roots => {
            let number = numbers.next();
            let event = event(1 << 40 | number, LEAF + number);
            replica.insert(vec![event], Durability::Buffered).await.expect("stored");
            replica.root().await.expect("readable");
        }
    }
}

async fn ask(place: usize, replica: &Replica, numbers: &Numbers) {
    let before = BEFORE - numbers.next();
    match place {
        0 => drop(replica.status().await.expect("readable")),
        1 => drop(replica.root().await.expect("readable")),
        2 => drop(replica.root_at(Timestamp::from_millis(before)).await.expect("readable")),
        _ => digest(replica, before).await,
    }
}

/// The milliseconds of `work`, and of its longest step between two yields.
async fn polled(work: impl Future<Output = ()>) -> (f64, f64) {
    let mut work = pin!(work);
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    std::future::poll_fn(|context| {
        let step = Instant::now();
        let polled = work.as_mut().poll(context);
        longest = longest.max(step.elapsed());
        polled
    })
    .await;
    (began.elapsed().as_secs_f64() * 1_000.0, longest.as_secs_f64() * 1_000.0)
}

fn show(name: &str, times: &[f64]) {
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!("{name:<52} {:>9.2} ms   worst {worst:>9.2} ms", median(times.to_vec()));
}

fn event(number: u64, at: u64) -> Event {
    let key = format!("key {}", number % 1_009).into_bytes();
    let value = Value::Data(format!("value {number}").into_bytes().into());
    Event::new(key.into(), value, Timestamp::from_millis(at)).expect("an event")
}
