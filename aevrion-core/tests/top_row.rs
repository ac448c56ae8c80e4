//! Promise: a root matches its definition after any earlier queries, with events at arbitrary times and a long top row
//! of the tree: after single writes and many, between restarts, after failed commits, and beside callers that drop
//! their futures.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::Kept;
use crate::support::tree_model::{NOTHING, TreeModel};
use aevrion_core::agent::ReplicaView;
use aevrion_core::bounds::DIGEST_NODES;
use aevrion_core::message::ShortHash;
use aevrion_core::store::Durability;
use aevrion_core::{
    Event, Hash, ManualWall, Options, ParameterOverrides, Replica, Root, TimeSpan, Timestamp, Value,
    WriteError,
};
use bytes::Bytes;
use proptest::prelude::*;

/// The smallest possible shape: a node of the top level covers 16 ms.
const GRANULARITY: u64 = 1;
const BRANCHING: u64 = 2;

const MODEL: TreeModel = TreeModel { granularity: GRANULARITY, branching: BRANCHING };

/// An action on a replica.
#[derive(Debug, Clone)]
enum Action {
    /// Writes a number of events, from a moment on, at a fixed distance.
    Write {
        first: u64,
        count: u64,
        apart: u64,
    },
    Root,
    /// Requests the root of the events before a time.
    RootAt(u64),
    /// Requests a neighbour's digest of the events from a time on.
    DigestFrom(u64),
    /// Requests a root, and drops the future after so many steps.
    GiveUp(usize),
    /// Makes a commit that is stored but reports an error.
    FailedCommit(u64),
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let moment = || prop_oneof![0..400_u64, 0..80_000_u64, Just(u64::MAX)];
    let count = prop_oneof![3 => Just(1_u64), 2 => 2..40_u64, 1 => 600..1_900_u64];
    prop_oneof![
        8 => (moment(), count, 1..30_u64).prop_map(|(first, count, apart)| Action::Write { first, count, apart }),
        5 => Just(Action::Root),
        5 => moment().prop_map(Action::RootAt),
        2 => moment().prop_map(Action::DigestFrom),
        3 => (1..12_usize).prop_map(Action::GiveUp),
        1 => moment().prop_map(Action::FailedCommit),
        1 => Just(Action::Reopen),
    ]
}

/// A replica, and its expected events.
struct Subject {
    store: Kept,
    replica: Replica,
    events: BTreeSet<(u64, [u8; 32])>,
    number: u64,
}

impl Subject {
    async fn new() -> Self {
        let store = Kept::default();
        Self { replica: open(&store).await, store, events: BTreeSet::new(), number: 0 }
    }

    fn event(&mut self, ms: u64) -> Event {
        self.number += 1;
        let (key, value) = (Bytes::from_static(b"key"), Bytes::from(self.number.to_be_bytes().to_vec()));
        let event = Event::new(key, Value::Data(value), Timestamp::from_millis(ms)).unwrap();
        self.events.insert((ms, *event.id().as_bytes()));
        event
    }

    async fn act(&mut self, action: &Action) {
        match *action {
            Action::Write { first, count, apart } => {
                let times = (0..count).map_while(|number| first.checked_add(number * apart));
                let events = times.map(|ms| self.event(ms)).collect();
                self.replica.insert(events, Durability::Immediate).await.unwrap();
            }
            Action::Root => self.check(0, u64::MAX).await,
            Action::RootAt(at) => {
                let root = self.replica.root_at(Timestamp::from_millis(at)).await.unwrap();
                assert_eq!(root, at.checked_sub(1).map_or(NOTHING, |last| self.root(0, last)));
            }
            Action::DigestFrom(from) => self.check(from, u64::MAX).await,
            Action::GiveUp(steps) => {
                let mut root = pin!(self.replica.root());
                for _ in 0..steps {
                    if root.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            Action::FailedCommit(ms) => {
                let event = self.event(ms);
                self.store.lie_once();
                match self.replica.insert(vec![event.clone()], Durability::Immediate).await {
                    Err(WriteError::Store(_)) => {}
                    // The false error hit a walk that stores hashes.
                    Err(WriteError::ReadOnly(_)) => {
                        self.events.remove(&(ms, *event.id().as_bytes()));
                    }
                    other => panic!("{other:?}"),
                }
                // The store is retried a second later.
                tokio::time::advance(Duration::from_secs(2)).await;
            }
            Action::Reopen => {
                self.replica.close().await.unwrap();
                self.replica = open(&self.store).await;
            }
        }
    }

    /// Checks the root and the last nodes of the top row, for a neighbour and for the whole.
    async fn check(&self, first: u64, last: u64) {
        let span = TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap();
        let (root, digest) = ReplicaView::digest(&self.replica, span).await.unwrap().answer;
        assert_eq!(root, self.root(first, last));
        if first == 0 && last == u64::MAX {
            assert_eq!(self.replica.root().await.unwrap(), root);
            let top = self.level(first, last, 4);
            let short = |(index, hash): (u64, [u8; 32])| (index, ShortHash::from(Hash::from_bytes(hash)));
            let latest: Vec<_> = top.into_iter().rev().take(DIGEST_NODES).rev().map(short).collect();
            let nodes = digest.rows.iter().find(|row| row.level == 4).map_or(&[][..], |row| &row.nodes);
            let nodes: Vec<_> = nodes.iter().map(|node| (node.index, node.hash)).collect();
            assert_eq!(nodes, latest);
        }
    }

    fn level(&self, first: u64, last: u64, level: u32) -> BTreeMap<u64, [u8; 32]> {
        MODEL.level(&self.events, first..=last, level)
    }

    fn root(&self, first: u64, last: u64) -> Root {
        MODEL.root(&self.events, first..=last)
    }
}

async fn open(store: &Kept) -> Replica {
    let parameters =
        ParameterOverrides::default().granularity(GRANULARITY).branching(u32::try_from(BRANCHING).ok());
    let wall = Arc::new(ManualWall::at(Timestamp::from_millis(40_000)));
    Replica::open(store.clone(), Options::default().parameters(parameters).joins().wall(wall)).await.unwrap()
}

#[tokio::test]
async fn a_store_with_a_fine_tree_opens_and_none_is_made() {
    let store = Kept::default();
    let made = open(&store).await;
    made.put("key", "value").await.unwrap();
    made.close().await.unwrap();
    let replica = Replica::open(store, Options::default()).await.unwrap();
    assert_eq!(replica.parameters().granularity, GRANULARITY);
    let parameters = ParameterOverrides::default().granularity(1);
    let made = Replica::open(Kept::default(), Options::default().parameters(parameters)).await;
    let refused = made.unwrap_err().to_string();
    assert!(refused.contains("a day at least"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_root_is_what_its_definition_says(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut subject = Subject::new().await;
            for action in &actions {
                subject.act(action).await;
            }
            subject.check(0, u64::MAX).await;
        });
    }
}
