//! Promise: a replica answers like a plain map of versions, for any writes in any order: late and future events, equal
//! timestamps, clocks that jump, keys that are prefixes of each other, bytes 0x00 and 0xFF.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::support::Kept;
use aevrion_core::store::Durability;
use aevrion_core::{AsOf, EntryQuery, KeySpan, Order, VersionQuery};
use aevrion_core::{
    Event, Hash, ManualWall, Operation, Options, ParameterOverrides, Parameters, Replica, Root, Timestamp,
    Value,
};
use bytes::Bytes;
use proptest::prelude::*;

/// The model: every event, by event key.
#[derive(Default)]
struct Model(BTreeMap<(Timestamp, [u8; 32]), Event>);

impl Model {
    fn insert(&mut self, event: Event) {
        self.0.insert((event.timestamp(), *event.id().as_bytes()), event);
    }

    fn versions(&self, key: &[u8], at: Timestamp) -> Vec<Event> {
        self.0.values().filter(|event| event.key() == key && event.timestamp() <= at).cloned().collect()
    }

    fn keys(&self) -> BTreeSet<Bytes> {
        self.0.values().map(|event| event.key().clone()).collect()
    }

    fn visible(&self, key: &[u8], at: Timestamp) -> Option<Event> {
        self.versions(key, at).pop().filter(|event| event.value().visible_at(at).is_some())
    }

    fn entries(&self, span: &KeySpan, at: Timestamp) -> Vec<Event> {
        self.keys().iter().filter(|key| span.contains(key)).filter_map(|key| self.visible(key, at)).collect()
    }

    /// The tree of the events before `end`, computed from its definition.
    fn root(&self, parameters: &Parameters, end: Option<Timestamp>) -> Root {
        let mut leaves: BTreeMap<u64, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for (timestamp, id) in self.0.keys().filter(|(timestamp, _)| end.is_none_or(|end| *timestamp < end)) {
            leaves.entry(timestamp.as_millis() / parameters.granularity).or_default().insert(*id);
        }
        let count = leaves.values().map(|ids| ids.len() as u64).sum();
        let hash = |bytes: Vec<u8>| *blake3::hash(&bytes).as_bytes();
        let mut level: BTreeMap<u64, [u8; 32]> = leaves
            .into_iter()
            .map(|(index, ids)| (index, hash(ids.into_iter().flatten().collect())))
            .collect();
        let branching = u64::from(parameters.branching);
        for _ in 1..5 {
            let parents: BTreeSet<u64> = level.keys().map(|index| index / branching).collect();
            level = parents
                .into_iter()
                .map(|parent| {
                    let slots = parent * branching..(parent + 1) * branching;
                    let children = slots.flat_map(|slot| level.get(&slot).copied().unwrap_or_default());
                    (parent, hash(children.collect()))
                })
                .collect();
        }
        let top = level.into_iter().flat_map(|(index, node)| [&index.to_be_bytes()[..], &node].concat());
        let hash = if count == 0 { Hash::EMPTY } else { blake3::hash(&top.collect::<Vec<_>>()).into() };
        Root { count, hash }
    }
}

/// An action on a replica.
#[derive(Debug, Clone)]
enum Action {
    /// A write with a given timestamp.
    At(Bytes, u64, Content),
    /// A write at the present.
    Now(Bytes, Content),
    /// Several writes at the present, perhaps with the same key twice.
    Batch(Vec<(Bytes, Content)>),
    /// Moves the wall clock by so many milliseconds, forward or back.
    Wall(i64),
    /// Requests the root.
    Root,
    RootAt(u64),
    /// Restarts the process.
    Reopen,
    Rebuild,
}

#[derive(Debug, Clone)]
enum Content {
    Deletion,
    Data(u8),
    Expiring(u8, u64),
}

impl Content {
    fn value(&self, now: Timestamp) -> Value {
        let data = |byte: u8| Bytes::from(vec![byte; usize::from(byte) * 40]);
        match self {
            Self::Deletion => Value::Deletion,
            Self::Data(byte) => Value::Data(data(*byte)),
            Self::Expiring(byte, after) => {
                Value::Expiring { data: data(*byte), expires_at: now.after(Duration::from_millis(*after)) }
            }
        }
    }
}

const START: u64 = 100_000_000;
/// Small, so that few events fill many leaves and several levels.
const GRANULARITY: u64 = 1_000;
const BRANCHING: u32 = 3;

fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop::sample::select(vec![0x00, 0x61, 0xFF]), 1..4).prop_map(Bytes::from)
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        1 => Just(Content::Deletion),
        3 => any::<u8>().prop_map(Content::Data),
        1 => (any::<u8>(), 0..5_000_u64).prop_map(|(byte, after)| Content::Expiring(byte, after)),
    ]
}

/// Timestamps that collide: few of them, at the edges of leaves, long past, slightly and far ahead.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0..40_u64).prop_map(|step| START - 20_000 + step * 500),
        1 => (0..3_u64).prop_map(|leaf| START + leaf * GRANULARITY - 1),
        1 => 0..2_000_u64,
        1 => START + 1..START + 4_000,
        1 => START + 300_000..START + 400_000,
        1 => Just(u64::MAX),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (key(), time(), content()).prop_map(|(key, at, content)| Action::At(key, at, content)),
        6 => (key(), content()).prop_map(|(key, content)| Action::Now(key, content)),
        2 => prop::collection::vec((key(), content()), 1..5).prop_map(Action::Batch),
        2 => (-10_000..10_000_i64).prop_map(Action::Wall),
        2 => Just(Action::Root),
        1 => time().prop_map(Action::RootAt),
        1 => Just(Action::Reopen),
        1 => Just(Action::Rebuild),
    ]
}

/// A replica and the model, side by side.
struct Pair {
    store: Kept,
    wall: Arc<ManualWall>,
    wall_ms: u64,
    index_batch: usize,
    replica: Replica,
    model: Model,
    /// The last local write of each key.
    own: BTreeMap<Bytes, Timestamp>,
}

impl Pair {
    async fn new(index_batch: usize) -> Self {
        let (store, wall) = (Kept::default(), Arc::new(ManualWall::at(Timestamp::from_millis(START))));
        let replica = open(&store, &wall, index_batch).await;
        let (model, own) = (Model::default(), BTreeMap::new());
        Self { store, wall, wall_ms: START, index_batch, replica, model, own }
    }

    async fn act(&mut self, action: &Action) {
        let now = self.replica.now();
        match action {
            Action::At(key, at, content) => {
                let value = content.value(Timestamp::from_millis(*at));
                let event = Event::new(key.clone(), value, Timestamp::from_millis(*at)).unwrap();
                self.replica.insert(vec![event.clone()], Durability::Immediate).await.unwrap();
                self.model.insert(event);
            }
            Action::Now(key, content) => self.write(&[(key.clone(), content.clone())], now).await,
            Action::Batch(writes) => self.write(writes, now).await,
            Action::Wall(by) => {
                // A larger step back would make writes wait.
                self.wall_ms = self.wall_ms.saturating_add_signed(*by).max(START - 20_000);
                self.wall.set(Timestamp::from_millis(self.wall_ms));
            }
            Action::Root => {
                let parameters = self.replica.parameters();
                assert_eq!(self.replica.root().await.unwrap(), self.model.root(&parameters, None));
            }
            Action::RootAt(at) => self.check_root_at(Timestamp::from_millis(*at)).await,
            Action::Reopen => {
                self.replica.close().await.unwrap();
                self.replica = open(&self.store, &self.wall, self.index_batch).await;
            }
            Action::Rebuild => drop(self.replica.rebuild(|_| {}).await.unwrap()),
        }
    }

    async fn write(&mut self, writes: &[(Bytes, Content)], now: Timestamp) {
        let operations: Vec<Operation> = writes
            .iter()
            .map(|(key, content)| Operation { key: key.clone(), value: content.value(now) })
            .collect();
        let event_keys = self.replica.batch(operations.clone(), Durability::Buffered).await.unwrap();
        for (Operation { key, value }, event_key) in operations.into_iter().zip(event_keys) {
            let event = Event::new(key.clone(), value, event_key.timestamp).unwrap();
            assert_eq!(event.event_key(), event_key);
            // The clock's guarantees: later than every earlier write of this node to the key, and than every version
            // visible at the write.
            let previous = self.own.insert(key.clone(), event_key.timestamp);
            assert!(previous.is_none_or(|previous| event_key.timestamp > previous));
            assert!(self.model.versions(&key, now).iter().all(|seen| seen.timestamp() < event_key.timestamp));
            assert!(event_key.timestamp <= self.replica.now(), "a node reads its own writes");
            self.model.insert(event);
        }
    }

    async fn check_root_at(&self, at: Timestamp) {
        let parameters = self.replica.parameters();
        assert_eq!(
            self.replica.root_at(at).await.unwrap(),
            self.model.root(&parameters, Some(at)),
            "at {at}"
        );
    }

    async fn check_reads(&self, replica: &Replica, at: Timestamp) {
        for key in self.model.keys() {
            let expected = self.model.visible(&key, at);
            assert_eq!(replica.get_event(&key, at).await.unwrap(), expected, "{key:?} at {at}");
            let mut versions = self.model.versions(&key, at);
            assert_eq!(history(replica, &key, at, Order::OldestFirst).await, versions);
            versions.reverse();
            assert_eq!(history(replica, &key, at, Order::NewestFirst).await, versions);
        }
        for span in [
            KeySpan::all(),
            KeySpan::prefix(b"a"),
            KeySpan::prefix(b"\x00"),
            KeySpan::prefix(b"\xFF\xFF"),
            KeySpan::range(b"\x00a", Some(b"a\x00")),
        ] {
            let expected = self.model.entries(&span, at);
            assert_eq!(replica.count(span.clone(), at).await.unwrap(), expected.len() as u64);
            assert_eq!(entries(replica, span, at).await, expected, "at {at}");
        }
    }

    async fn check_all(&self) {
        let mut moments: BTreeSet<Timestamp> = self.model.0.keys().map(|(timestamp, _)| *timestamp).collect();
        moments.extend([Timestamp::MIN, self.replica.now(), Timestamp::MAX]);
        for at in moments.iter().step_by(1 + moments.len() / 6) {
            self.check_reads(&self.replica, *at).await;
            self.check_root_at(*at).await;
        }
        let found = self.replica.verify(|_| {}).await.unwrap();
        assert!(found.is_clean(), "{found:?}");
        let status = self.replica.status().await.unwrap();
        assert_eq!(status.events, self.model.0.len() as u64);
        assert_eq!(status.keys, self.model.keys().len() as u64);
    }

    /// Checks that the same events in another order and in other batches make the same replica.
    async fn check_order_independence(&self, seed: u64) {
        let mut events: Vec<Event> = self.model.0.values().cloned().collect();
        events.sort_by_key(|event| {
            blake3::hash(&[&seed.to_be_bytes()[..], event.id().as_bytes()].concat()).to_hex()
        });
        let other = open(&Kept::default(), &self.wall, 5).await;
        for batch in events.chunks(1 + usize::try_from(seed % 7).unwrap()) {
            other.insert(batch.to_vec(), Durability::Buffered).await.unwrap();
            other.root().await.unwrap();
        }
        assert_eq!(other.root().await.unwrap(), self.replica.root().await.unwrap());
        self.check_reads(&other, Timestamp::from_millis(START)).await;
    }
}

async fn open(store: &Kept, wall: &Arc<ManualWall>, index_batch: usize) -> Replica {
    let parameters = ParameterOverrides::default().granularity(GRANULARITY).branching(BRANCHING);
    let wall = Arc::clone(wall);
    Replica::open(
        store.clone(),
        Options::default().parameters(parameters).joins().wall(wall).index_batch(index_batch),
    )
    .await
    .unwrap()
}

/// The whole history, page by page.
async fn history(replica: &Replica, key: &[u8], until: Timestamp, order: Order) -> Vec<Event> {
    let mut query = VersionQuery::default().order(order).until(until).limit(2);
    let mut events = Vec::new();
    loop {
        let versions = replica.history(key, &query).await.unwrap();
        assert!(versions.events.len() <= 2);
        events.extend(versions.events);
        query.after = versions.next;
        if query.after.is_none() {
            return events;
        }
    }
}

/// The whole span, page by page.
async fn entries(replica: &Replica, span: KeySpan, at: Timestamp) -> Vec<Event> {
    let mut query = EntryQuery::default().span(span).as_of(AsOf::from(at)).limit(3);
    let mut events = Vec::new();
    loop {
        let entries = replica.scan(&query).await.unwrap();
        assert!(entries.events.len() <= 3);
        events.extend(entries.events);
        query.after = entries.next;
        if query.after.is_none() {
            return events;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_answers_like_a_map_of_versions(
        actions in prop::collection::vec(action(), 1..60),
        index_batch in prop::sample::select(vec![1, 3, 10, 1_000]),
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new(index_batch).await;
            for action in &actions {
                pair.act(action).await;
            }
            pair.check_all().await;
            pair.act(&Action::Reopen).await;
            pair.check_all().await;
            pair.check_order_independence(seed).await;
        });
    }
}
