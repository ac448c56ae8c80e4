//! Promise: a node knows the members of its cluster, including those that are down, moved, or never configured; the
//! past is not settled without them, until they are forgotten.

use std::sync::Arc;
use std::time::Duration;

use crate::support::scripted::handshake;
use crate::support::waiting::{NEVER, until};
use aevrion_core::replication::{
    Member, Members, Neighbour, NeighbourState, Peer, Replication, ReplicationOptions,
};
use aevrion_core::store::MemoryStore;
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Transport};
use aevrion_core::{NodeId, Options, Replica, Timestamp};

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

struct Node {
    replica: Replica,
    replication: Replication,
    members: Members,
    address: Peer,
}

impl Node {
    async fn new(network: &MemoryNetwork, number: u8) -> Self {
        Self::knowing(network, number, Members::default()).await
    }

    async fn knowing(network: &MemoryNetwork, number: u8, members: Members) -> Self {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        Self::of(replica, network, number, members)
    }

    /// A process on a store; the address is a new one each time.
    fn of(replica: Replica, network: &MemoryNetwork, number: u8, members: Members) -> Self {
        let transport = network.bind(id(number));
        let address = Peer::over("memory", transport.address());
        let replication = replica.replicate(ReplicationOptions::default().members(members.clone()));
        replication.over(transport);
        Self { replica, replication, members, address }
    }

    fn dials(&self, other: &Self) {
        self.replication.add_peer(other.address.clone());
    }

    fn row(&self, number: u8) -> Option<Neighbour> {
        self.replication.neighbours().into_iter().find(|one| one.id == Some(id(number)))
    }

    /// Waits until exactly these nodes are connected and agree.
    async fn agrees_with(&self, numbers: &[u8]) {
        until(&self.replication, |replication| {
            let connected = replication.neighbours().into_iter().filter(Neighbour::is_connected);
            let mut agreeing =
                connected.map(|one| (one.id, one.state == NeighbourState::Agrees)).collect::<Vec<_>>();
            agreeing.sort_unstable();
            agreeing == numbers.iter().map(|number| (Some(id(*number)), true)).collect::<Vec<_>>()
        })
        .await;
    }

    /// Waits until the past is settled beyond a moment.
    async fn settles_beyond(&self, moment: Option<Timestamp>) {
        until(&self.replication, |replication| {
            // The next minute would bring a comparison about the present.
            replication.compare();
            replication.stable_until() > moment.max(Some(Timestamp::MIN))
        })
        .await;
    }

    /// Ends the process; the network detects it.
    async fn ends(self) -> Replica {
        self.replication.close().await;
        self.replica
    }
}

/// One node that others dial, and two unconfigured ones that dial it. All of them agree.
async fn three(network: &MemoryNetwork) -> [Node; 3] {
    let [hub, one, other] =
        [Node::new(network, 1).await, Node::new(network, 2).await, Node::new(network, 3).await];
    for node in [&one, &other] {
        node.dials(&hub);
    }
    hub.agrees_with(&[2, 3]).await;
    hub.settles_beyond(None).await;
    [hub, one, other]
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_is_listed_and_holds_the_past_up_until_it_is_forgotten() {
    let network = MemoryNetwork::new();
    let [hub, one, _other] = three(&network).await;
    let (address, agreed) = (one.address.clone(), hub.replication.stable_until());
    one.ends().await;
    until(&hub.replication, |_| hub.row(2).is_some_and(|row| !row.is_connected())).await;
    tokio::time::advance(Duration::from_secs(600)).await;
    let row = hub.row(2).unwrap();
    assert_eq!((row.state, &row.addresses), (NeighbourState::Unreachable, &vec![address]));
    assert!(
        row.last_seen.is_some() && row.agreed_until >= agreed && row.away >= Some(Duration::from_secs(600))
    );

    let held = hub.replication.stable_until();
    assert!(held >= agreed, "{held:?}");
    hub.replica.put("k", "v").await.unwrap();
    hub.agrees_with(&[3]).await;
    hub.replication.compare();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.replication.stable_until(), held, "what it writes meanwhile will come");
    assert_eq!(hub.members.named(&row.id.unwrap().to_string()[..8]), [id(2)]);
    hub.members.forget(id(2)).unwrap();
    hub.settles_beyond(held).await;
    assert!(hub.row(2).is_none() && hub.members.peers().iter().all(|peer| !row.addresses.contains(peer)));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_nothing_is_settled_without_one_that_is_merely_away() {
    let network = MemoryNetwork::new();
    let [hub, one, other] = three(&network).await;
    let kept = hub.replication.members();
    assert!(
        kept.iter().all(|member| member.last_seen.is_some() && member.agreed_until.is_some()),
        "{kept:?}"
    );
    let stores = [one.ends().await, hub.ends().await];
    let [one, hub] = stores;
    let hub = Node::of(hub, &network, 1, Members::new(kept));
    other.dials(&hub);
    hub.agrees_with(&[3]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(hub.replication.stable_until(), None, "what it wrote is not known here");
    let row = hub.row(2).unwrap();
    assert!(row.last_seen.is_some() && row.agreed_until.is_some() && !row.is_connected(), "{row:?}");

    // Only the other node itself announced its address, before the restart.
    let one = Node::of(one, &network, 2, Members::default());
    one.dials(&hub);
    hub.agrees_with(&[2, 3]).await;
    hub.settles_beyond(None).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_moves_is_found_where_it_is_and_sought_nowhere_else() {
    let network = MemoryNetwork::new();
    let (hub, one) = (Node::new(&network, 1).await, Node::new(&network, 2).await);
    // An operator has configured its address.
    hub.dials(&one);
    hub.agrees_with(&[2]).await;
    let (before, store) = (one.address.clone(), one.ends().await);
    let one = Node::of(store, &network, 2, Members::default());
    one.dials(&hub);
    hub.agrees_with(&[2]).await;
    hub.settles_beyond(None).await;
    assert_eq!(
        (hub.row(2).unwrap().addresses, hub.replication.neighbours().len()),
        (vec![one.address.clone()], 1)
    );
    assert!(!hub.members.peers().contains(&before));

    // After a restart of the first, at a new address, the other node dials.
    let kept = hub.replication.members();
    let hub = Node::of(hub.ends().await, &network, 1, Members::new(kept));
    hub.agrees_with(&[2]).await;
    hub.settles_beyond(None).await;
    one.agrees_with(&[1]).await;
}

/// A scripted neighbour that claims to listen at `listens`.
async fn claims(transport: &MemoryTransport, hub: &Node, listens: &str) -> Arc<dyn Connection> {
    let connection = transport.dial(hub.address.address()).await.unwrap();
    handshake(&*connection, transport.node(), &[listens, "no address"]).await;
    connection
}

/// Dialling begins before any transport exists.
#[tokio::test(start_paused = true)]
async fn an_address_is_dialled_as_soon_as_its_transport_is_there() {
    let network = MemoryNetwork::new();
    let hub = Node::new(&network, 1).await;
    let members = Members::default();
    members.expect(&hub.address);
    let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let replication = replica.replicate(ReplicationOptions::default().members(members));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    replication.over(network.bind(id(2)));
    until(&replication, |replication| replication.neighbours().iter().any(Neighbour::is_connected)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "it waited for {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_claim_costs_an_attempt_and_hides_nobody() {
    let network = MemoryNetwork::new();
    let (hub, honest) = (Node::new(&network, 1).await, Node::new(&network, 2).await);
    let liar = network.bind(id(3));
    let connection = claims(&liar, &hub, &honest.address.to_string()).await;
    until(&hub.replication, |_| hub.row(3).is_some_and(|row| row.addresses.len() == 1)).await;
    // The claimed node is connected already: the claim causes no dialling.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(honest.replication.neighbours().is_empty());
    connection.close("");
    // The node at the address is identified by its proven identity.
    hub.agrees_with(&[2]).await;
    let addresses = |number| hub.row(number).map(|row| row.addresses);
    assert_eq!((addresses(2), addresses(3)), (Some(vec![honest.address.clone()]), Some(vec![])));
    // A claim of the node's own address has no effect either.
    let connection = claims(&liar, &hub, &hub.address.to_string()).await;
    until(&hub.replication, |_| hub.row(3).is_some_and(|row| row.is_connected())).await;
    assert_eq!(addresses(3), Some(vec![]));
    drop(connection);
}

#[tokio::test(start_paused = true)]
async fn who_is_only_told_of_counts_and_who_cannot_be_reached_does_not() {
    let network = MemoryNetwork::new();
    let told = |number, address: &str| Member {
        told: vec![address.parse().unwrap()],
        ..Member::new(Some(id(number)))
    };
    let members = Members::new([told(3, "memory://memory:99"), told(4, "tcp://192.0.2.1:1")]);
    let (hub, one) = (Node::knowing(&network, 1, members).await, Node::new(&network, 2).await);
    one.dials(&hub);
    hub.agrees_with(&[2]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.replication.stable_until(), None, "of one nothing was heard yet");
    assert_eq!(hub.row(4).unwrap().state, NeighbourState::Unserved, "to the other no transport leads");
    hub.members.forget(id(3)).unwrap();
    hub.settles_beyond(None).await;
    // A node that joins with its address is dialled.
    let joined = Node::new(&network, 5).await;
    hub.members.introduce(id(5), std::slice::from_ref(&joined.address));
    let agreed = tokio::time::timeout(NEVER, joined.agrees_with(&[1])).await;
    agreed.expect("it is dialled");
}
