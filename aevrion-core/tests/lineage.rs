//! Promise: a cursor continues in the order that its watcher has seen; a store with another history, because its
//! directory was copied or restored from a copy, refuses the cursor.

use std::time::Duration;

use crate::support::Kept;
use aevrion_core::store::{Durability, EventStore, Table, WriteBatch};
use aevrion_core::{Cursor, Operation, Options, Replica, WatchError};
use proptest::prelude::*;

async fn open(store: &Kept) -> Replica {
    let options = Options::default().index_batch(16);
    Replica::open(store.clone(), options).await.unwrap()
}

/// An opened directory, and the keys of its arrivals in their order.
struct Directory {
    store: Kept,
    replica: Replica,
    arrived: Vec<u32>,
}

/// A cursor as text, and the keys that its watcher has seen, from the first arrival on.
type Place = (String, Vec<u32>);

impl Directory {
    async fn of(store: Kept, arrived: Vec<u32>) -> Self {
        Self { replica: open(&store).await, store, arrived }
    }

    async fn restart(&mut self) {
        self.replica.close().await.unwrap();
        self.replica = open(&self.store).await;
    }

    /// Writes new keys, never written before anywhere.
    async fn write(&mut self, keys: u32, next: &mut u32) {
        let new: Vec<_> = (*next..*next + keys).collect();
        let puts = new.iter().map(|key| Operation::put(key.to_string(), ""));
        self.replica.batch(puts.collect(), Durability::Immediate).await.unwrap();
        self.arrived.extend(new);
        *next += keys;
    }

    /// A copy, reopened or not: the directory may be copied while it is open.
    async fn copied(&self) -> Self {
        Self::of(self.store.copied().await.unwrap(), self.arrived.clone()).await
    }

    /// The place of a watcher that has seen the first `seen` arrivals, started from the oldest valid place.
    async fn place(&self, from: &[Place], seen: usize) -> Option<Place> {
        let begin = from.iter().find(|(_, seen)| self.arrived.starts_with(seen))?;
        let mut watch = self.replica.watch("", Some(begin.0.parse().unwrap())).ok()?;
        let seen = seen.clamp(begin.1.len(), self.arrived.len());
        for expected in &self.arrived[begin.1.len()..seen] {
            let watched = watch.next().await.unwrap().unwrap();
            assert_eq!(watched.event.key(), expected.to_string().as_bytes());
        }
        Some((watch.cursor().to_string(), self.arrived[..seen].to_vec()))
    }

    /// Checks the arrivals behind a place, or its refusal, against the model.
    async fn check(&self, (cursor, seen): &Place) {
        let Some(rest) = self.arrived.strip_prefix(&seen[..]) else {
            let refused = self.replica.watch("", Some(cursor.parse().unwrap())).err();
            assert!(matches!(refused, Some(WatchError::OtherHistory)), "{cursor} is taken: {refused:?}");
            return;
        };
        let mut watch = self.replica.watch("", Some(cursor.parse().unwrap())).unwrap();
        for expected in rest {
            let watched = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
            let watched = watched.expect("an event comes").unwrap().unwrap();
            assert_eq!(watched.event.key(), expected.to_string().as_bytes());
        }
    }
}

/// A step on one of several directories. The indices are taken modulo the number of directories.
#[derive(Debug, Clone)]
enum Step {
    Write(usize, u32),
    Restart(usize),
    Copy(usize),
    /// Replaces the first directory by a copy of the second.
    PutBack(usize, usize),
    See(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize, 1..4u32).prop_map(|(which, keys)| Step::Write(which, keys)),
        2 => (0..4usize).prop_map(Step::Restart),
        1 => (0..4usize).prop_map(Step::Copy),
        1 => (0..4usize, 0..4usize).prop_map(|(which, from)| Step::PutBack(which, from)),
        3 => (0..4usize, 0..40usize).prop_map(|(which, seen)| Step::See(which, seen)),
    ]
}

async fn play(steps: &[Step]) {
    let store = Kept::default();
    let mut directories = vec![Directory::of(store, Vec::new()).await];
    let begin = directories[0].replica.watch("", None).unwrap().cursor().to_string();
    let (mut places, mut next) = (vec![(begin, Vec::new())], 0);
    for step in steps {
        let count = directories.len();
        match *step {
            Step::Write(which, keys) => directories[which % count].write(keys, &mut next).await,
            Step::Restart(which) => directories[which % count].restart().await,
            Step::Copy(which) if count < 4 => directories.push(directories[which % count].copied().await),
            Step::Copy(_) => {}
            Step::PutBack(which, from) => {
                directories[which % count] = directories[from % count].copied().await;
            }
            Step::See(which, seen) => places.extend(directories[which % count].place(&places, seen).await),
        }
    }
    for directory in &directories {
        for place in &places {
            directory.check(place).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cursor_is_good_exactly_where_its_past_is(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps));
    }
}

#[tokio::test]
async fn to_read_a_directory_does_not_write_to_it() {
    let store = Kept::default();
    open(&store).await.put("k", "v").await.unwrap();
    let before = store.commits();
    let mut cursors = Vec::new();
    for _ in 0..3 {
        let replica = open(&store).await;
        cursors.push(replica.watch("", None).unwrap().cursor());
        assert!(replica.get("k").await.unwrap().is_some());
        replica.close().await.unwrap();
    }
    assert_eq!(store.commits(), before, "a cursor at the end needs none either");
    let replica = open(&store).await;
    replica.put("next", "").await.unwrap();
    for cursor in cursors {
        let watched = replica.watch("", Some(cursor)).unwrap().next().await.unwrap().unwrap();
        assert_eq!(&watched.event.key()[..], b"next");
    }
}

#[tokio::test]
async fn a_cursor_outlives_the_scripts_that_open_the_directory_for_one_write_each() {
    let store = Kept::default();
    let cursor = open(&store).await.watch("", None).unwrap().cursor();
    for number in 0..200 {
        let replica = open(&store).await;
        replica.put(number.to_string(), "").await.unwrap();
        replica.close().await.unwrap();
    }
    let replica = open(&store).await;
    let mut watch = replica.watch("", Some(cursor)).unwrap();
    for number in 0..200 {
        let watched = watch.next().await.unwrap().unwrap();
        assert_eq!(watched.event.key(), number.to_string().as_bytes());
    }
}

/// A store from a release without incarnations.
#[tokio::test]
async fn a_store_of_an_older_release_opens_and_its_cursors_are_refused() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.put("old", "").await.unwrap();
    let known = replica.watch("", None).unwrap().cursor().to_string();
    replica.close().await.unwrap();
    let mut older = WriteBatch::new();
    older.remove(Table::Meta, "lineage");
    store.commit(older, Durability::Immediate).await.unwrap();

    let (node, _) = known.split_once('-').unwrap();
    let old: Cursor = format!("{node}-1").parse().unwrap();
    assert_eq!(old.to_string(), format!("{node}-1"));
    let replica = open(&store).await;
    for cursor in [old, known.parse().unwrap()] {
        let refused = replica.watch("", Some(cursor)).err();
        let said = refused.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(said.contains("Read the present state, then watch from now"), "{refused:?}");
    }
    let mut watch = replica.watch("", None).unwrap();
    replica.put("new", "").await.unwrap();
    let cursor = watch.next().await.unwrap().unwrap().cursor;
    replica.close().await.unwrap();
    let replica = open(&store).await;
    replica.put("newer", "").await.unwrap();
    let watched = replica.watch("", Some(cursor)).unwrap().next().await.unwrap().unwrap();
    assert_eq!(&watched.event.key()[..], b"newer");
}

/// The first commit of an incarnation failed, or was stored despite the error: the content of the store decides.
#[tokio::test]
async fn a_first_commit_that_failed_costs_no_place() {
    let store = Kept::default();
    open(&store).await.put("a", "").await.unwrap();
    let replica = open(&store).await;
    let mut watch = replica.watch("", None).unwrap();
    store.lie_once();
    assert!(replica.put("b", "").await.is_err(), "it was to fail");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    replica.put("c", "").await.unwrap();
    let mut cursors = Vec::new();
    for key in ["b", "c"] {
        let watched = watch.next().await.unwrap().unwrap();
        assert_eq!(watched.event.key(), key.as_bytes());
        cursors.push(watched.cursor);
    }
    replica.close().await.unwrap();
    let replica = open(&store).await;
    replica.put("d", "").await.unwrap();
    let watched = replica.watch("", Some(cursors[0])).unwrap().next().await.unwrap().unwrap();
    assert_eq!(&watched.event.key()[..], b"c");
    let watched = replica.watch("", Some(cursors[1])).unwrap().next().await.unwrap().unwrap();
    assert_eq!(&watched.event.key()[..], b"d");
}
