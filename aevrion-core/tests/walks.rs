//! Promise: a walk of the tree waits for no other one, however full the leaf is that the other one hashes; and each
//! answers with the events of one moment between its question and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::counted::Counted;
use crate::support::pausing::Pausing;
use crate::support::tree_model::{Events, TreeModel};
use crate::support::waiting::NEVER;
use crate::support::yielding::Yielding;
use aevrion_core::agent::ReplicaView;
use aevrion_core::store::{Durability, EventStore};
use aevrion_core::{
    Event, ManualWall, Options, ParameterOverrides, ReadError, Replica, Root, TimeSpan, Timestamp, Value,
};
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The first moment of the full leaf, and the last moment before it.
const LEAF: u64 = 1_700_000_040_000;
const BEFORE: u64 = LEAF - 1;

fn event(number: u64, ms: u64) -> Event {
    let value = Value::Data(number.to_string().into());
    Event::new("key".into(), value, Timestamp::from_millis(ms)).unwrap()
}

/// A store whose scans of the leaf can be paused, and its replica, with all hashes.
async fn filled() -> (Pausing, Replica) {
    let store = Pausing::new(LEAF..=LEAF + 59_999);
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let old = (0..50).map(|number| event(number, BEFORE - number * 40_000));
    let full = (0..500).map(|number| event(number, LEAF + number * 100));
    replica.insert(old.chain(full).collect(), Durability::Immediate).await.unwrap();
    replica.root().await.unwrap();
    (store, replica)
}

/// The digest's root of the events until `last`.
async fn digest(replica: &Replica, last: u64) -> Root {
    let span = TimeSpan::before(Timestamp::from_millis(last + 1)).unwrap();
    ReplicaView::digest(replica, span).await.unwrap().answer.0
}

async fn root_until(replica: &Replica, last: u64) -> Root {
    replica.root_at(Timestamp::from_millis(last + 1)).await.unwrap()
}

/// Asks what needs no hash of the leaf. Answers come although a scan of the leaf is paused.
async fn ask_for_the_time_before(replica: &Replica) {
    let asked = async {
        let root = root_until(replica, BEFORE).await;
        assert_eq!(root.count, 50);
        assert_eq!(digest(replica, BEFORE).await, root);
        let children = TimeSpan::before(Timestamp::from_millis(LEAF)).unwrap();
        ReplicaView::children(replica, children, &[]).await.unwrap();
        replica.nodes(0, 0..=BEFORE / 60_000).await.unwrap();
        replica.put("other", "value").await.unwrap();
    };
    timeout(NEVER, asked).await.expect("it waits for the leaf");
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_leaf_that_the_end_of_a_span_cuts() {
    let (store, replica) = filled().await;
    let middle = LEAF + 25_050;
    let right = root_until(&replica, middle).await;
    store.pause();
    let asked = replica.clone();
    let slow = tokio::spawn(async move { digest(&asked, middle).await });
    store.stopped(1).await;
    ask_for_the_time_before(&replica).await;
    let whole = async {
        assert_eq!(replica.status().await.unwrap().root, replica.root().await.unwrap());
    };
    // The hash of the whole leaf is stored; only that of a part is computed.
    timeout(NEVER, whole).await.expect("it waits for the leaf");
    let (asked, other) = (replica.clone(), middle + 5_000);
    let beside = tokio::spawn(async move { digest(&asked, other).await });
    timeout(NEVER, store.stopped(2)).await.expect("a second digest that cuts the leaf begins at once");
    assert!(!slow.is_finished() && !beside.is_finished());
    store.resume();
    assert_eq!(slow.await.unwrap(), right);
    assert_eq!(beside.await.unwrap(), root_until(&replica, other).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_leaf_that_has_no_stored_hash() {
    let (store, replica) = filled().await;
    replica.insert(vec![event(1_000, LEAF + 7)], Durability::Immediate).await.unwrap();
    store.pause();
    let asked = replica.clone();
    let slow: JoinHandle<Result<Root, ReadError>> = tokio::spawn(async move { asked.root().await });
    store.stopped(1).await;
    ask_for_the_time_before(&replica).await;
    replica.insert(vec![event(1_001, BEFORE)], Durability::Immediate).await.unwrap();
    let before = timeout(NEVER, root_until(&replica, BEFORE)).await.expect("it waits for the leaf");
    assert_eq!(before.count, 51);
    assert!(!slow.is_finished());
    store.resume();
    assert_eq!(slow.await.unwrap().unwrap().count, 551, "as of the beginning of the walk");
    let root = replica.root().await.unwrap();
    assert_eq!(root.count, 553);
    assert_eq!(replica.verify(|_| {}).await.unwrap().root, root);
}

#[tokio::test(start_paused = true)]
async fn a_digest_is_computed_once_for_all_who_ask_for_it() {
    let (store, replica) = filled().await;
    let middle = LEAF + 25_050;
    store.pause();
    let ask = || {
        let asked = replica.clone();
        tokio::spawn(async move { digest(&asked, middle).await })
    };
    let askers = [ask(), ask(), ask()];
    store.stopped(1).await;
    store.let_one_pass();
    for asker in askers {
        let root = timeout(NEVER, asker).await.expect("the leaf is read once").unwrap();
        assert_eq!(root.count, 50 + 251);
    }
}

/// The rows read by `askers` that ask for the root at once, of 20,000 leaves without hashes.
async fn rows_for_roots(askers: usize) -> u64 {
    let store = Counted::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let events: Vec<_> = (0..20_000).map(|number| event(number, BEFORE - number * 60_000)).collect();
    for batch in events.chunks(5_000) {
        replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap();
    }
    let before = store.rows();
    let roots: Vec<_> = (0..askers)
        .map(|_| {
            let replica = replica.clone();
            tokio::spawn(async move { replica.root().await.unwrap() })
        })
        .collect();
    for root in roots {
        assert_eq!(root.await.unwrap().count, 20_000);
    }
    store.rows() - before
}

#[tokio::test]
async fn many_missing_hashes_are_computed_by_one_walk_for_all() {
    let (one, four) = (rows_for_roots(1).await, rows_for_roots(4).await);
    assert!(four < one * 3 / 2, "{four} rows for four, {one} for one");
}

/// The smallest possible shape: a node of the top level covers 16 ms.
const FINE: TreeModel = TreeModel { granularity: 1, branching: 2 };

/// A replica beside whose writes others ask.
struct Written {
    replica: Replica,
    shape: TreeModel,
    /// The events before each write, and after the last one.
    states: Vec<Events>,
    /// Writes begun and writes done.
    begun: AtomicUsize,
    done: AtomicUsize,
}

impl Written {
    async fn new(store: impl EventStore, shape: TreeModel, events: Vec<Event>) -> Self {
        let parameters = ParameterOverrides::default().granularity(shape.granularity);
        let parameters = parameters.branching(u32::try_from(shape.branching).ok());
        let wall = Arc::new(ManualWall::at(Timestamp::from_millis(LEAF)));
        let options = Options::default().parameters(parameters).joins().wall(wall);
        let replica = Replica::open(store, options).await.unwrap();
        let states = vec![with(&Events::new(), &events)];
        for events in events.chunks(4_000) {
            replica.insert(events.to_vec(), Durability::Buffered).await.unwrap();
        }
        Self { replica, shape, states, begun: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }

    /// Writes these in turn, so many steps of other tasks apart, beside askers for the root until these times. Each answer
    /// must be that of the events written by one moment between question and answer.
    async fn write(mut self, batches: Vec<Vec<Event>>, apart: usize, askers: Vec<Vec<u64>>) {
        for batch in &batches {
            self.states.push(with(&self.states[self.states.len() - 1], batch));
        }
        let written = Arc::new(self);
        let ask = |lasts: Vec<u64>| {
            let written = Arc::clone(&written);
            tokio::spawn(async move {
                for last in lasts {
                    written.ask(last).await;
                }
            })
        };
        let tasks: Vec<_> = askers.into_iter().map(ask).collect();
        for batch in batches {
            for _ in 0..apart {
                tokio::task::yield_now().await;
            }
            written.begun.fetch_add(1, Ordering::SeqCst);
            let block =
                batch[0].timestamp().as_millis() / (written.shape.granularity * written.shape.branching);
            written.replica.insert(batch, Durability::Buffered).await.unwrap();
            written.done.fetch_add(1, Ordering::SeqCst);
            // The new hashes are stored beside older walks.
            written.replica.nodes(1, block..=block).await.unwrap();
        }
        for task in tasks {
            task.await.unwrap();
        }
        written.ask(u64::MAX - 1).await;
        assert!(written.replica.verify(|_| {}).await.unwrap().is_clean());
    }

    async fn ask(&self, last: u64) {
        let least = self.done.load(Ordering::SeqCst);
        let root = digest(&self.replica, last).await;
        let most = self.begun.load(Ordering::SeqCst);
        let mut possible = self.states[least..=most].iter().map(|events| self.shape.root(events, 0..=last));
        assert!(possible.any(|possible| possible == root), "until {last}, {least} to {most}");
    }
}

fn with(events: &Events, more: &[Event]) -> Events {
    let more = more.iter().map(|event| (event.timestamp().as_millis(), *event.id().as_bytes()));
    events.iter().copied().chain(more).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_walk_beside_writes_answers_with_the_events_of_one_moment(
        writes in prop::collection::vec(prop::collection::vec(0..400_u64, 1..8), 1..25),
        askers in prop::collection::vec(prop::collection::vec(0..500_u64, 1..12), 1..5),
        isolated_views: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let batch = |(number, times): (usize, Vec<u64>)| {
            times.into_iter().map(|ms| event(number as u64, ms)).collect()
        };
        let batches = writes.into_iter().enumerate().map(batch).collect();
        runtime.block_on(async {
            let written = Written::new(Yielding::new(isolated_views), FINE, Vec::new()).await;
            written.write(batches, 0, askers).await;
        });
    }
}

#[tokio::test]
async fn a_walk_that_goes_on_from_what_another_one_stored_answers_with_its_own_events() {
    let shape = TreeModel { granularity: 60_000, branching: 32 };
    let events = (0..8_000).map(|number| event(number, BEFORE - number * 60_000)).collect();
    let written = Written::new(Yielding::new(true), shape, events).await;
    let again = |number: u64| vec![event(10_000 + number, BEFORE - (number * 1_931 % 8_000) * 60_000)];
    let askers = (0..3).map(|asker| vec![BEFORE + asker]).collect();
    written.write((0..40).map(again).collect(), 20, askers).await;
}
