//! Promise: a node with a hundred neighbours does their common work once: a digest, the frame of a large value.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::counted::Counted;
use crate::support::scripted::{handshake, receive, send};
use crate::support::waiting::{NEVER, until};
use aevrion_core::message::{EventList, Message, NeedEvents, Snapshot, decode};
use aevrion_core::replication::{Peer, Replication, ReplicationOptions};
use aevrion_core::store::{Durability, MemoryStore};
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport};
use aevrion_core::{Event, Hash, NodeId, Options, Parameters, Replica, TimeSpan, Timestamp, Value};

const MANY: usize = 100;
const LEAF: u64 = 28_333_333 * 60_000;

fn id(number: usize) -> NodeId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    NodeId::from_bytes(id)
}

/// A node on a counting store, with some events in one leaf.
async fn node(network: &MemoryNetwork) -> (Replica, Counted, Replication, String) {
    let transport = network.bind(NodeId::from_bytes([5; 32]));
    let address = transport.address();
    let store = Counted::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let event = |number: u64| {
        let key = format!("key {number}").into_bytes();
        Event::new(key.into(), Value::Deletion, Timestamp::from_millis(LEAF + number * 60)).unwrap()
    };
    replica.insert((0..1_000).map(event).collect(), Durability::Immediate).await.unwrap();
    // The scripted neighbours have clocks of another year.
    let replication = replica.replicate(ReplicationOptions::default().write_despite_clocks(true));
    replication.over(transport);
    (replica, store, replication, address)
}

/// Scripted neighbours after their handshakes.
async fn neighbours(network: &MemoryNetwork, address: &str) -> Vec<(Arc<dyn Connection>, MemoryTransport)> {
    let mut all = Vec::new();
    for number in 0..MANY {
        let transport = network.bind(id(number));
        let connection = transport.dial(address).await.unwrap();
        handshake(&*connection, id(number), &[]).await;
        all.push((connection, transport));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_hundred_agree_and_a_write_reaches_them_all() {
    let network = MemoryNetwork::new();
    let (replica, store, replication, address) = node(&network).await;
    let mut others = Vec::new();
    for number in 0..MANY {
        let other = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let its = other.replicate_over(network.bind(id(number)));
        its.add_peer(Peer::over("memory", address.clone()));
        others.push((other, its));
    }
    until(&replication, |replication| replication.neighbours().len() >= MANY).await;
    tokio::time::timeout(NEVER * 10, replication.agreement()).await.expect("all agree");
    assert!(replication.totals().faults.is_empty(), "{:?}", replication.totals());
    for (key, len) in [("small", 10), ("large", 1 << 20)] {
        let written = replica.put(key, vec![b'v'; len]).await.unwrap();
        let reach = async {
            for (other, _) in &others {
                while other.get_event(key, written.timestamp).await.unwrap().is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        tokio::time::timeout(NEVER, reach).await.expect("it reaches all");
    }
    // During quiet minutes all compare, and one digest serves all of them.
    tokio::time::sleep(Duration::from_secs(120)).await;
    let scans = store.node_scans();
    tokio::time::sleep(Duration::from_secs(180)).await;
    let scans = store.node_scans() - scans;
    println!("{scans} scans of nodes in three minutes for {MANY} neighbours");
    assert!(scans <= 3 * 60, "{scans} scans");
    assert_eq!(replication.neighbours().iter().filter(|one| one.is_connected()).count(), MANY);
}

#[tokio::test(start_paused = true)]
async fn what_a_hundred_compare_is_computed_once() {
    let network = MemoryNetwork::new();
    let (replica, store, _sync, address) = node(&network).await;
    let all = neighbours(&network, &address).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let ask = async |connection: &dyn Connection, end: u64| {
        let span = TimeSpan::before(Timestamp::from_millis(end)).unwrap();
        let root = Hash::EMPTY;
        let snapshot = Snapshot { span, root, count: 0, cells: None, answer: true };
        send(connection, Lane::Live, &Message::Snapshot(snapshot)).await;
        loop {
            match receive(connection, Lane::Live).await {
                Some(Message::Snapshot(answer)) if answer.span == span => return answer.root,
                Some(_) => {}
                None => panic!("it is cut off"),
            }
        }
    };
    let rows = store.rows();
    ask(&*all[0].0, LEAF + 40_000).await;
    let one = store.rows() - rows;
    let rows = store.rows();
    let mut roots = BTreeSet::new();
    for (connection, _) in &all {
        roots.insert(ask(&**connection, LEAF + 50_000).await);
    }
    let hundred = store.rows() - rows;
    println!("{one} rows for one, {hundred} for {MANY}");
    assert!(roots.len() == 1 && hundred <= one * 2, "{hundred} rows, {one} for one");
    // A write outside the span leaves the digest valid; a write within invalidates it.
    let put = async |ms: u64| {
        replica.put_at("more", Value::Deletion, Timestamp::from_millis(LEAF + ms)).await.unwrap();
        ask(&*all[1].0, LEAF + 50_000).await
    };
    assert!(roots.contains(&put(55_000).await));
    let changed = put(45_000).await;
    assert!(!roots.contains(&changed));
    assert_eq!(changed, replica.root_at(Timestamp::from_millis(LEAF + 50_000)).await.unwrap().hash);
}

#[tokio::test(start_paused = true)]
async fn a_large_value_is_encoded_once_for_all() {
    let network = MemoryNetwork::new();
    let (replica, _store, _sync, address) = node(&network).await;
    let all = neighbours(&network, &address).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let written = replica.put("large", vec![b'v'; 16 << 20]).await.unwrap();
    let mut frames = Vec::new();
    for (connection, _) in &all {
        loop {
            match receive(&**connection, Lane::Live).await {
                Some(Message::EventList(EventList::Announced { event_keys, .. }))
                    if event_keys.contains(&written) =>
                {
                    break;
                }
                Some(message) => assert!(message.events().is_empty(), "it is not pushed"),
                None => panic!("it is cut off"),
            }
        }
        send(&**connection, Lane::Live, &Message::NeedEvents(NeedEvents::At(vec![written]))).await;
    }
    for (connection, _) in &all {
        let frame = tokio::time::timeout(NEVER, connection.receive(Lane::Repair, 64 << 20)).await;
        frames.push(frame.expect("it comes").unwrap().unwrap());
    }
    let places: BTreeSet<_> = frames.iter().map(|frame| frame.as_ptr() as usize).collect();
    assert_eq!(places.len(), 1, "all have the same bytes");
    let message = decode(&frames[0], &Parameters::default()).unwrap();
    assert_eq!(message.events().iter().map(Event::event_key).collect::<Vec<_>>(), [written]);
}
