//! The promise: every node cuts off a node that the authority has removed, also nodes that join or return later. The
//! removed node is told the reason, and delays nobody. No other statement has any effect.

use crate::support::Kept;
use crate::support::dressed::Dressed;
use crate::support::waiting::{NEVER, until};
use aevrion_core::replication::{Peer, Replication};
use aevrion_core::transport::memory::MemoryNetwork;
use aevrion_core::transport::{Removals, Transport};
use aevrion_core::{NodeId, Options, Replica, SystemWall, Timestamp, WallClock};

/// 2023-11-14T22:13:20Z.
const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const WORDS: &str = "this node was removed from the cluster by its authority on 2023-11-14T22:13:20Z";

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

/// The authority's statement that a node was removed. The signature is out of scope here.
fn statement(number: u8) -> [u8; 2] {
    [b'!', number]
}

fn removals() -> Removals {
    Removals::checked_by(|statement| match statement {
        [b'!', number] => Some((id(*number), AT)),
        _ => None,
    })
}

struct Node {
    number: u8,
    replica: Replica,
    removals: Removals,
    replication: Replication,
    address: String,
}

async fn node(network: &MemoryNetwork, number: u8) -> Node {
    node_on(network, number, &Kept::default()).await
}

async fn node_on(network: &MemoryNetwork, number: u8, store: &Kept) -> Node {
    let mut transport = Dressed::from(network.bind(id(number)));
    let (removals, address) = (removals(), transport.address());
    transport.removals = Some(removals.clone());
    let options = Options::default().node(id(number));
    let replica = Replica::open(store.clone(), options).await.unwrap();
    let replication = replica.replicate_over(transport);
    Node { number, replica, removals, replication, address }
}

impl Node {
    fn dials(&self, other: &Self) {
        self.replication.add_peer(Peer::over("memory", other.address.clone()));
    }

    /// The connected nodes.
    fn neighbours(&self) -> Vec<u8> {
        let connected = self.replication.neighbours().into_iter().filter(|one| one.is_connected());
        connected.filter_map(|one| Some(one.id?.as_bytes()[0])).collect()
    }

    async fn is_with(&self, neighbours: &[u8]) {
        until(&self.replication, |_| self.neighbours() == neighbours).await;
    }

    async fn agrees(&self) {
        let agreement = tokio::time::timeout(NEVER, self.replication.agreement()).await;
        agreement.unwrap_or_else(|_| panic!("no agreement: {:#?}", self.replication.neighbours()));
    }

    async fn removes(&self, other: &Self) {
        let removal = self.replica.remove_node(&self.removals, &statement(other.number)).await.unwrap();
        assert_eq!((removal.node, removal.at), (id(other.number), AT));
    }

    fn removed(&self) -> Vec<u8> {
        self.replication.removed().iter().map(|removal| removal.node.as_bytes()[0]).collect()
    }
}

/// Three nodes, each connected to the two others.
async fn three(network: &MemoryNetwork) -> [Node; 3] {
    let nodes = [node(network, 1).await, node(network, 2).await, node(network, 3).await];
    let [one, two, three] = &nodes;
    one.dials(two);
    one.dials(three);
    two.dials(three);
    one.is_with(&[2, 3]).await;
    two.is_with(&[1, 3]).await;
    three.is_with(&[1, 2]).await;
    nodes
}

#[tokio::test]
async fn every_node_cuts_a_removed_one_off_whenever_it_hears_of_it() {
    let network = MemoryNetwork::new();
    let [one, two, three] = three(&network).await;
    three.replica.put("before", "v").await.unwrap();
    three.agrees().await;
    one.removes(&three).await;
    one.is_with(&[2]).await;
    two.is_with(&[1]).await;
    three.is_with(&[]).await;
    until(&three.replication, |replication| replication.own_removal().is_some()).await;
    assert!(
        three.replication.own_removal().unwrap().starts_with(WORDS),
        "{:?}",
        three.replication.own_removal()
    );
    assert_eq!((one.removed(), two.removed()), (vec![3], vec![3]));
    assert_eq!((one.replication.own_removal(), two.replication.own_removal()), (None, None));

    // A later node receives the removal from the others, in either direction of dialling.
    let late = node(&network, 4).await;
    late.dials(&three);
    late.dials(&one);
    three.dials(&late);
    until(&late.replication, |_| late.removed() == [3]).await;
    late.is_with(&[1]).await;

    // Later writes of the removed node reach nobody; its earlier ones stay.
    three.replica.put("after", "v").await.unwrap();
    one.replica.put("after all", "v").await.unwrap();
    for node in [&one, &two, &late] {
        node.agrees().await;
        assert!(node.replica.get("before").await.unwrap().is_some());
        assert!(node.replica.get("after all").await.unwrap().is_some());
        assert_eq!(node.replica.get("after").await.unwrap(), None);
        assert!(!node.neighbours().contains(&3));
    }
    assert_eq!(three.replica.get("after all").await.unwrap(), None);
}

#[tokio::test]
async fn a_node_that_was_started_anew_lets_nobody_in_before_it_has_read_who_was_removed() {
    let network = MemoryNetwork::new();
    let (store, removed) = (Kept::default(), network.bind(id(3)));
    let one = node_on(&network, 1, &store).await;
    one.replica.remove_node(&one.removals, &statement(3)).await.unwrap();
    one.replication.close().await;
    one.replica.close().await.unwrap();

    let one = node_on(&network, 1, &store).await;
    let connection = removed.dial(&one.address).await.unwrap();
    let end = tokio::time::timeout(NEVER, connection.receive(aevrion_core::transport::Lane::Live, 1 << 20));
    let end = end.await.unwrap().unwrap_err().to_string();
    assert!(end.contains("the node was removed from the cluster by its authority on 2023-11-14"), "{end}");
    assert_eq!((one.removed(), one.neighbours()), (vec![3], vec![]));
}

#[tokio::test]
async fn nobody_waits_for_a_removed_node() {
    let network = MemoryNetwork::new();
    let [one, two, three] = three(&network).await;
    one.agrees().await;
    until(&one.replication, |replication| replication.stable_until().is_some()).await;
    three.replication.close().await;
    one.is_with(&[2]).await;
    // The absent node cannot agree to any later time.
    let left = SystemWall.now().next();
    while SystemWall.now() <= left {
        one.agrees().await;
    }
    one.agrees().await;
    assert!(one.replication.stable_until() <= Some(left), "it is away: what it writes meanwhile will come");

    one.removes(&three).await;
    until(&two.replication, |_| two.removed() == [3]).await;
    let goes_on = async {
        while one.replication.stable_until() <= Some(left) {
            one.agrees().await;
        }
    };
    tokio::time::timeout(NEVER, goes_on).await.expect("nobody waits for it any more");
    assert!(one.replication.neighbours().iter().all(|one| one.id == Some(id(2))), "it is missed no longer");
    assert!(!one.replication.peers().contains(&Peer::over("memory", three.address.clone())), "nor dialled");
}

#[tokio::test]
async fn what_the_authority_has_not_said_changes_nothing() {
    let network = MemoryNetwork::new();
    let [one, two, three] = three(&network).await;
    // This node accepts every statement, and writes at will.
    let credulous = Removals::checked_by(|statement| Some((id(statement[0]), AT)));
    three.replica.remove_node(&credulous, &[1]).await.unwrap();
    three.replica.remove_node(&credulous, &[2, b'!']).await.unwrap();
    let root = three.replica.root().await.unwrap();
    assert_eq!(root.count, 2);
    for node in [&one, &two] {
        until(&node.replication, |_| true).await;
        node.agrees().await;
        assert_eq!(node.replica.root().await.unwrap(), root, "it is an event like any other");
        assert!(node.removed().is_empty(), "and says nothing");
        assert_eq!(node.neighbours().len(), 2);
    }
    // Nor does a foreign statement invalidate the authority's own.
    one.removes(&two).await;
    until(&three.replication, |_| three.removed() == [2]).await;
    one.is_with(&[3]).await;
}
