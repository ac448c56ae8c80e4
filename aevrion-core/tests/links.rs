//! The connections that a node keeps, and the status of its dialled peers.

use std::sync::Arc;
use std::time::Duration;

use crate::support::dressed::Dressed;
use crate::support::waiting::{NEVER, until};
use aevrion_core::replication::{NeighbourState, Peer, Replication, ReplicationOptions};
use aevrion_core::store::MemoryStore;
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport, TransportError};
use aevrion_core::{NodeId, Options, Replica, SystemWall, WallClock};

/// Longer than a handshake may take.
const A_WHILE: Duration = Duration::from_secs(11);

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

struct Node {
    replication: Replication,
    address: String,
}

async fn node(network: &MemoryNetwork, number: u8) -> Node {
    node_with(network, number, ReplicationOptions::default()).await
}

async fn node_with(network: &MemoryNetwork, number: u8, options: ReplicationOptions) -> Node {
    node_over(network.bind(id(number)), options).await
}

async fn node_over(transport: impl Transport, options: ReplicationOptions) -> Node {
    let address = transport.address();
    let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let replication = replica.replicate(options);
    replication.over(transport);
    Node { replication, address }
}

impl Node {
    fn dials(&self, address: &str) {
        self.replication.add_peer(Peer::over("memory", address));
    }
}

/// Accepts a connection as a scripted neighbour.
async fn accepted(by: &MemoryTransport) -> Arc<dyn Connection> {
    let connection = tokio::time::timeout(NEVER, by.accept()).await.expect("it is dialled");
    connection.expect("the network is there")
}

/// Reads until the end, and returns its reason.
async fn end(connection: &dyn Connection) -> String {
    let end = async {
        loop {
            match connection.receive(Lane::Live, 1 << 20).await {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(TransportError::Closed { reason, .. }) => return reason,
                Err(error) => return error.to_string(),
            }
        }
    };
    tokio::time::timeout(NEVER, end).await.expect("it ends")
}

/// Expects a handshake on this connection.
async fn is_greeted(connection: &dyn Connection) {
    let hello = tokio::time::timeout(NEVER, connection.receive(Lane::Live, 1 << 20)).await;
    let hello = hello.expect("it speaks").expect("the connection stands");
    assert!(hello.is_some());
}

#[tokio::test]
async fn of_two_dialled_at_once_that_of_the_smaller_id_stays() {
    let network = MemoryNetwork::new();
    let (smaller, greater) = (node(&network, 5).await, network.bind(id(9)));
    smaller.dials(&greater.address());
    let standing = accepted(&greater).await;
    is_greeted(&*standing).await;
    let other = greater.dial(&smaller.address).await.unwrap();
    assert_eq!(end(&*other).await, "there is a connection already");
    assert!(smaller.replication.totals().faults.is_empty(), "which is nobody's fault");
    // In the other order the newer connection replaces the older.
    let lesser = network.bind(id(1));
    smaller.dials(&lesser.address());
    let standing = accepted(&lesser).await;
    is_greeted(&*standing).await;
    let other = lesser.dial(&smaller.address).await.unwrap();
    is_greeted(&*other).await;
    assert_eq!(end(&*standing).await, "a newer connection takes its place");
}

#[tokio::test]
async fn one_that_was_started_anew_is_let_in_though_its_old_connection_stands() {
    let network = MemoryNetwork::new();
    let (smaller, greater) = (node(&network, 5).await, network.bind(id(9)));
    smaller.dials(&greater.address());
    let forgotten = accepted(&greater).await;
    is_greeted(&*forgotten).await;
    tokio::time::pause();
    tokio::time::advance(A_WHILE).await;
    let anew = greater.dial(&smaller.address).await.unwrap();
    is_greeted(&*anew).await;
    assert_eq!(end(&*forgotten).await, "a newer connection takes its place");
}

#[tokio::test]
async fn a_peer_that_claims_another_connection_is_not_reached_by_that() {
    let network = MemoryNetwork::new();
    let (node, peer) = (node(&network, 5).await, network.bind(id(9)));
    node.dials(&peer.address());
    accepted(&peer).await.close("there is a connection already");
    until(&node.replication, |replication| {
        let neighbours = replication.neighbours();
        let [one] = &neighbours[..] else { return false };
        let problem = one.problem.as_deref().unwrap_or_default();
        one.id == Some(id(9))
            && one.state == NeighbourState::Unreachable
            && problem.contains("there is a connection already")
    })
    .await;
    assert_eq!(node.replication.stable_until(), None, "what it has written is not known here");
}

/// A peer that has dialled from its listen address is connected: a second connection would only replace the first, in
/// the middle of its traffic.
#[tokio::test(start_paused = true)]
async fn whoever_has_come_is_not_dialled_too() {
    let network = MemoryNetwork::new();
    let (node, peer) = (node(&network, 9).await, network.bind(id(5)));
    let standing = peer.dial(&node.address).await.unwrap();
    is_greeted(&*standing).await;
    node.dials(&peer.address());
    let dialled = tokio::time::timeout(Duration::from_secs(10), peer.accept()).await;
    assert!(dialled.is_err(), "it is dialled");
    let neighbours = node.replication.neighbours();
    let [one] = &neighbours[..] else { panic!("one node: {neighbours:?}") };
    assert_eq!((one.id, one.is_connected()), (Some(id(5)), true));
    // Once the connection has ended, the peer is dialled.
    standing.close("");
    accepted(&peer).await;
}

#[tokio::test]
async fn a_full_node_says_so_and_is_patient() {
    let network = MemoryNetwork::new();
    let full = node_with(&network, 5, ReplicationOptions::default().most_neighbours(1)).await;
    let (first, second) = (network.bind(id(8)), network.bind(id(9)));
    full.dials(&first.address());
    let standing = accepted(&first).await;
    is_greeted(&*standing).await;

    // Incoming peers are listed, and counted.
    let third = network.bind(id(7));
    let refused = third.dial(&full.address).await.unwrap();
    assert_eq!(end(&*refused).await, "this node has as many neighbours as it takes");
    assert_eq!(full.replication.totals().faults.get("too_many_neighbours"), Some(&1));
    let alarm = full.replication.full_alarm().expect("it is an alarm");
    assert!(
        alarm.contains("has 1 neighbours, as many as it takes") && alarm.contains("turned away 1"),
        "{alarm}"
    );

    // Dialled peers are listed, and are dialled at increasing intervals.
    tokio::time::pause();
    full.dials(&second.address());
    let mut pauses = Vec::new();
    let mut last = tokio::time::Instant::now();
    for _ in 0..6 {
        // This connection is never settled, so it would time out meanwhile.
        let refused = accepted(&second).await;
        assert_eq!(end(&*refused).await, "this node has as many neighbours as it takes");
        pauses.push(last.elapsed());
        last = tokio::time::Instant::now();
    }
    let neighbours = full.replication.neighbours();
    let unreached = neighbours.iter().find(|one| one.id == Some(id(9))).expect("it is shown");
    assert!(unreached.problem.as_deref().is_some_and(|what| what.contains("as many neighbours as it takes")));
    assert!(pauses[5] >= Duration::from_secs(2), "it grows more patient: {pauses:?}");
}

#[tokio::test]
async fn a_name_that_stands_for_the_node_itself_is_nobody_that_is_missing() {
    let network = MemoryNetwork::new();
    let node = node(&network, 5).await;
    node.dials(&node.address);
    until(&node.replication, |replication| replication.neighbours().is_empty()).await;
    // The address may belong to another node later.
    assert_eq!(node.replication.peers(), [Peer::over("memory", node.address.clone())]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_the_certificate_that_was_shown_on_it() {
    let network = MemoryNetwork::new();
    // Before the handshake timeout.
    let until = SystemWall.now().after(Duration::from_secs(10));
    let mut transport = Dressed::from(network.bind(id(5)));
    transport.proven_until = Some(until);
    let node = node_over(transport, ReplicationOptions::default()).await;
    let peer = network.bind(id(9));
    let connection = peer.dial(&node.address).await.unwrap();
    is_greeted(&*connection).await;
    assert!(end(&*connection).await.contains("certificate has run out"));
    assert!(node.replication.totals().faults.is_empty(), "it may have another one by now");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_greet_is_given_up() {
    let network = MemoryNetwork::new();
    let (node, peer) = (node(&network, 5).await, network.bind(id(9)));
    let connection = peer.dial(&node.address).await.unwrap();
    is_greeted(&*connection).await;
    assert!(end(&*connection).await.contains("not settled within 20 seconds"));
    assert_eq!(node.replication.totals().faults.get("not_settled"), Some(&1));
}

/// Every member of the cluster may connect; one member must not keep others out.
#[tokio::test(start_paused = true)]
async fn a_thousand_members_that_say_nothing_hold_no_place_for_long() {
    const MANY: usize = 1_000;
    let network = MemoryNetwork::new();
    let (full, honest) = (node(&network, 5).await, node(&network, 6).await);
    let mut silent = Vec::new();
    for number in 0..MANY {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let member = network.bind(NodeId::from_bytes(id));
        silent.push((member.dial(&full.address).await.unwrap(), member));
    }
    honest.dials(&full.address);
    let mut ends = std::collections::BTreeMap::<_, usize>::new();
    for (connection, _) in &silent {
        *ends.entry(end(&**connection).await).or_default() += 1;
    }
    let places = ReplicationOptions::default().most_neighbours;
    let (held, turned_away) = ("the clocks were not settled within 20 seconds", MANY - places);
    assert_eq!(ends.get(held), Some(&places), "{ends:?}");
    assert_eq!(ends.get("this node has as many neighbours as it takes"), Some(&turned_away), "{ends:?}");
    let faults = full.replication.totals().faults;
    assert_eq!(faults.get("not_settled"), Some(&(places as u64)));
    assert!(faults["too_many_neighbours"] >= turned_away as u64, "the honest one was turned away at first");
    tokio::time::timeout(NEVER, honest.replication.agreement()).await.expect("it gets in in the end");
}
