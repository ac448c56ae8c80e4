//! A node whose only connection to the authority was dialled from there finds the authority all the same.

#![allow(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::sync::Arc;
use std::time::Duration;

use aevrion_core::conformance::within;
use aevrion_core::identity::join::{Joining, Registrar, Tokens};
use aevrion_core::identity::{Authority, NodeKey};
use aevrion_core::replication::{Peer, Replication, ReplicationOptions};
use aevrion_core::store::MemoryStore;
use aevrion_core::transport::{Limits, Transport};
use aevrion_core::{Options, Replica, SystemWall};
use aevrion_net_tcp::TcpTransport;

const PROMISE: &str = "the authority is found over a connection that it dialled itself";

fn bind(authority: &Authority) -> Arc<TcpTransport> {
    let key = NodeKey::generate().unwrap();
    let identity = authority.admit(key).unwrap();
    Arc::new(TcpTransport::bind("127.0.0.1:0".parse().unwrap(), identity, Limits::default()).unwrap())
}

async fn replication(transport: &Arc<TcpTransport>) -> Replication {
    let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let replication = replica.replicate(ReplicationOptions::default());
    replication.over(Arc::clone(transport));
    replication
}

#[tokio::test]
async fn peers_say_where_to_renew_and_the_addresses_of_neighbours_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::make().unwrap();
    let (there, here) = (bind(&authority), bind(&authority));
    let tokens = Tokens::in_directory(directory.path());
    let removals = there.credentials().removals().clone();
    there.answer_joins(Arc::new(Registrar::new(authority, tokens, removals, SystemWall, |_, _| Vec::new())));

    let (far, near) = (replication(&there).await, replication(&here).await);
    far.add_peer(Peer::over("tcp", here.address()));
    let connected = async {
        while !near.neighbours().iter().any(|one| one.agreed_until.is_some()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(PROMISE, connected).await;
    // It knows of the authority, but has never had to dial it.
    let wanted = Peer::over("tcp", there.address());
    near.add_peer(wanted.clone());
    let settled = async {
        while near.neighbours().len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("one connection is enough", settled).await;

    assert_eq!(near.peers(), std::slice::from_ref(&wanted));
    here.renew(wanted.address()).await.expect("whoever listens there renews");
    for neighbour in near.neighbours() {
        let peer: Peer = neighbour.address.parse().unwrap();
        assert!(peer == wanted || here.renew(peer.address()).await.is_err(), "{peer}");
    }
}
