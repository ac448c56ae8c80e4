//! Replicas that synchronise over an in-memory network: real links, real time, no sockets.

use std::sync::Arc;
use std::time::Duration;

use crate::support::waiting::{NEVER, until};
use aevrion_core::replication::{NeighbourState, Peer, Replication};
use aevrion_core::store::{Durability, MemoryStore};
use aevrion_core::transport::memory::MemoryNetwork;
use aevrion_core::{
    ClockFault, NodeId, Operation, Options, ParameterOverrides, Replica, SystemWall, Timestamp, Value,
    WallClock, WriteError,
};

struct Node {
    replica: Replica,
    replication: Replication,
    address: String,
}

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

/// A clock ahead of the system's.
struct Ahead(Duration);

impl WallClock for Ahead {
    fn now(&self) -> Timestamp {
        SystemWall.now().after(self.0)
    }
}

async fn node(network: &MemoryNetwork, number: u8) -> Node {
    node_ahead(network, number, Duration::ZERO).await
}

async fn node_ahead(network: &MemoryNetwork, number: u8, ahead: Duration) -> Node {
    let transport = network.bind(id(number));
    let address = aevrion_core::transport::Transport::address(&transport);
    let parameters = ParameterOverrides::default().granularity(500);
    let wall = Arc::new(Ahead(ahead));
    let options = Options::default().parameters(parameters).node(id(number)).wall(wall);
    let replica = Replica::open(MemoryStore::new(), options).await.unwrap();
    let replication = replica.replicate_over(transport);
    Node { replica, replication, address }
}

impl Node {
    fn dials(&self, other: &Self) {
        self.replication.add_peer(Peer::over("memory", other.address.clone()));
    }

    async fn connected(&self, neighbours: usize) {
        until(&self.replication, |replication| {
            replication.neighbours().iter().filter(|one| one.agreed_until.is_some()).count() == neighbours
        })
        .await;
    }

    async fn agrees(&self) {
        tokio::time::timeout(NEVER, self.replication.agreement()).await.unwrap_or_else(|_| {
            panic!("no agreement: {:#?} {:?}", self.replication.neighbours(), self.replication.totals())
        });
    }

    async fn fill(&self, from: u64, events: u64) {
        for batch in (from..from + events).collect::<Vec<_>>().chunks(1_000) {
            let event = |ms: &u64| {
                let value = Value::Data(format!("value {ms}").into_bytes().into());
                aevrion_core::Event::new(
                    format!("key {}", ms % 97).into_bytes().into(),
                    value,
                    Timestamp::from_millis(*ms),
                )
            };
            let events = batch.iter().map(|ms| event(ms).unwrap()).collect();
            self.replica.insert(events, Durability::Immediate).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_write_on_one_node_is_read_on_its_neighbour() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, 1).await, node(&network, 2).await);
    a.dials(&b);
    a.connected(1).await;
    b.connected(1).await;
    let mut watch = b.replica.watch("", None).unwrap();
    let written = a.replica.put("key", "value").await.unwrap();
    let seen = tokio::time::timeout(NEVER, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.event.event_key(), written);
    let back = b.replica.put("key", "newer").await.unwrap();
    assert!(back.timestamp >= written.timestamp);
    a.agrees().await;
    assert_eq!(a.replica.get("key").await.unwrap().as_deref(), Some(b"newer".as_slice()));
}

#[tokio::test]
async fn what_is_written_while_apart_is_repaired_both_ways() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, 1).await, node(&network, 2).await);
    a.fill(1_000, 5_000).await;
    b.fill(4_000, 5_000).await;
    b.replica.put_at("future", Value::Data("later".into()), Timestamp::from_millis(u64::MAX)).await.unwrap();
    b.dials(&a);
    a.connected(1).await;
    b.agrees().await;
    assert_eq!(a.replica.root().await.unwrap(), b.replica.root().await.unwrap());
    assert_eq!(a.replica.root().await.unwrap().count, 8_001);
}

#[tokio::test]
async fn a_new_node_catches_up_and_three_agree() {
    let network = MemoryNetwork::new();
    let (a, b, c) = (node(&network, 2).await, node(&network, 3).await, node(&network, 1).await);
    a.fill(1_000_000, 100_000).await;
    b.dials(&a);
    c.dials(&a);
    c.dials(&b);
    a.connected(2).await;
    for node in [&a, &b, &c] {
        node.agrees().await;
    }
    let root = a.replica.root().await.unwrap();
    assert_eq!(root.count, 100_000);
    assert_eq!(b.replica.root().await.unwrap(), root);
    assert_eq!(c.replica.root().await.unwrap(), root);
    let moved: u64 = [&a, &b, &c]
        .iter()
        .map(|node| node.replication.neighbours().iter().map(|n| n.sent).sum::<u64>())
        .sum();
    assert!(moved < 230_000, "{moved} events were sent for 200,000 that were missing");
}

#[tokio::test]
async fn news_travel_along_a_line() {
    let network = MemoryNetwork::new();
    let (a, b, c) = (node(&network, 1).await, node(&network, 2).await, node(&network, 3).await);
    a.dials(&b);
    b.dials(&c);
    b.connected(2).await;
    c.connected(1).await;
    let mut watch = c.replica.watch("", None).unwrap();
    for round in 0..10 {
        let written = a.replica.put("key", format!("{round}")).await.unwrap();
        let seen = tokio::time::timeout(NEVER, watch.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(seen.event.event_key(), written);
    }
}

#[tokio::test]
async fn a_batch_larger_than_the_feed_is_repaired() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, 1).await, node(&network, 2).await);
    a.dials(&b);
    a.connected(1).await;
    let batch = (0..60_000).map(|n| Operation::put(format!("key {n}"), "value")).collect();
    a.replica.batch(batch, Durability::Immediate).await.unwrap();
    a.agrees().await;
    assert_eq!(b.replica.root().await.unwrap().count, 60_000);
}

#[tokio::test]
async fn a_cut_connection_comes_back() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, 1).await, node(&network, 2).await);
    a.dials(&b);
    a.connected(1).await;
    network.part(id(1), id(2));
    until(&a.replication, |replication| {
        replication.neighbours().iter().all(|one| one.state == NeighbourState::Unreachable)
    })
    .await;
    a.replica.put("left", "1").await.unwrap();
    b.replica.put("right", "1").await.unwrap();
    network.heal(id(1), id(2));
    a.connected(1).await;
    a.agrees().await;
    assert!(a.replica.get("right").await.unwrap().is_some());
    assert!(b.replica.get("left").await.unwrap().is_some());
}

/// Waits until `node` refuses a write, and returns the fault.
async fn refused(node: &Node) -> ClockFault {
    let refused = tokio::time::timeout(NEVER, async {
        loop {
            match node.replica.put("after", "it must not").await {
                Err(WriteError::Clock(fault)) => return fault,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    refused.await.expect("writes are refused in the end")
}

fn near(by: Duration, wanted: Duration) -> bool {
    by > wanted - Duration::from_secs(5) && by < wanted + Duration::from_secs(5)
}

#[tokio::test]
async fn two_clocks_apart_without_a_third_take_no_writes() {
    let network = MemoryNetwork::new();
    let ten_minutes = Duration::from_secs(600);
    let (fast, right) = (node_ahead(&network, 1, ten_minutes).await, node(&network, 2).await);
    right.replica.put("before", "alone it cannot know").await.unwrap();
    fast.dials(&right);
    fast.connected(1).await;
    for node in [&fast, &right] {
        let fault = refused(node).await;
        assert!(matches!(fault, ClockFault::Disputed { by } if near(by, ten_minutes)), "{fault}");
        assert!(node.replication.clock_alarm().is_some_and(|alarm| alarm.contains("refused")));
        assert!(matches!(node.replica.refuses_writes(), Some(WriteError::Clock(_))));
    }
    // A third node decides which clock is wrong.
    let third = node(&network, 3).await;
    third.dials(&right);
    third.dials(&fast);
    third.connected(2).await;
    until(&right.replication, |replication| {
        replication.neighbours().iter().filter(|one| one.clock_offset.is_some()).count() == 2
    })
    .await;
    until(&right.replication, |_| right.replica.refuses_writes().is_none()).await;
    right.replica.put("again", "two against one").await.unwrap();
    let fault = refused(&fast).await;
    assert!(matches!(fault, ClockFault::Ahead { by } if near(by, ten_minutes)), "{fault}");
}

#[tokio::test]
async fn a_node_behind_its_neighbours_takes_no_writes_and_says_so() {
    let network = MemoryNetwork::new();
    let ten_minutes = Duration::from_secs(600);
    let slow = node(&network, 1).await;
    let (one, other) =
        (node_ahead(&network, 2, ten_minutes).await, node_ahead(&network, 3, ten_minutes).await);
    one.dials(&other);
    one.connected(1).await;
    slow.dials(&one);
    slow.dials(&other);
    slow.connected(2).await;
    let fault = refused(&slow).await;
    assert!(matches!(fault, ClockFault::Behind { by } if near(by, ten_minutes)), "{fault}");
    assert!(slow.replication.clock_alarm().is_some_and(|alarm| alarm.contains("behind its neighbours")));
    until(&one.replication, |_| one.replica.refuses_writes().is_none()).await;
    one.replica.put("here", "they agree with each other").await.unwrap();
}

#[tokio::test]
async fn a_node_ahead_of_its_neighbours_takes_no_writes_and_says_so() {
    let network = MemoryNetwork::new();
    let ten_minutes = Duration::from_secs(600);
    let fast = node_ahead(&network, 1, ten_minutes).await;
    let (one, other) = (node(&network, 2).await, node(&network, 3).await);
    one.dials(&other);
    one.connected(1).await;
    fast.replica.put("before", "alone it cannot know").await.unwrap();
    fast.replica.put("meanwhile", "alone it cannot know").await.unwrap();
    fast.dials(&one);
    fast.dials(&other);
    fast.connected(2).await;
    let fault = refused(&fast).await;
    assert!(matches!(fault, ClockFault::Ahead { by } if near(by, ten_minutes)), "{fault}");
    // The others write, and do not see events of the future; the write of the fast node is not lost.
    let mut watch = other.replica.watch("", None).unwrap();
    let written = one.replica.put("before", "now").await.unwrap();
    while watch.next().await.unwrap().unwrap().event.event_key() != written {}
    one.agrees().await;
    other.agrees().await;
    for slow in [&one, &other] {
        assert_eq!(slow.replica.get("meanwhile").await.unwrap(), None, "it is not visible before its time");
        let later = slow.replica.now().after(ten_minutes * 2);
        assert!(slow.replica.get_at("meanwhile", later).await.unwrap().is_some(), "and it is there");
    }
    assert_eq!(other.replica.get("before").await.unwrap().as_deref(), Some(b"now".as_slice()));
}
