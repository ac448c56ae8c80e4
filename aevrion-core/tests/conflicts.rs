//! Promise: two machines with one identity are distinguished from one restarted machine. They and their neighbours
//! learn of the conflict, and one of them continues normally.

use std::time::Duration;

use crate::support::waiting::{NEVER, until};
use aevrion_core::replication::{Peer, Replication};
use aevrion_core::store::MemoryStore;
use aevrion_core::transport::Transport;
use aevrion_core::transport::memory::MemoryNetwork;
use aevrion_core::{NodeId, Options, Replica};

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

struct Node {
    replica: Replica,
    replication: Replication,
    address: String,
}

async fn node(network: &MemoryNetwork, number: u8) -> Node {
    let transport = network.bind(id(number));
    let address = transport.address();
    let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let replication = replica.replicate_over(transport);
    Node { replica, replication, address }
}

impl Node {
    fn dials(&self, other: &Self) {
        self.replication.add_peer(Peer::over("memory", other.address.clone()));
    }

    fn connected(&self) -> usize {
        self.replication.neighbours().iter().filter(|one| one.is_connected()).count()
    }

    /// Waits for an alarm with these words.
    async fn is_alarmed(&self, words: &[&str]) {
        let has = |alarm: String| words.iter().all(|word| alarm.contains(word));
        until(&self.replication, |replication| replication.identity_alarm().is_some_and(has)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_with_one_identity_learn_of_each_other_and_one_of_them_stays() {
    let network = MemoryNetwork::new();
    // The machines dial the node in the middle, with either order of ids.
    for (hub, double) in [(1, 9), (9, 1)] {
        let hub = node(&network, hub).await;
        let [one, other] = [node(&network, double).await, node(&network, double).await];
        one.dials(&hub);
        until(&hub.replication, |_| hub.connected() == 1).await;
        assert_eq!((hub.replication.identity_alarm(), one.replication.identity_alarm()), (None, None));
        other.dials(&hub);
        hub.is_alarmed(&[&id(double).to_string(), &one.address, &other.address, "join anew"]).await;
        one.is_alarmed(&[&other.address, "has this node's identity", "join anew"]).await;
        other.is_alarmed(&[&one.address, "has this node's identity", "join anew"]).await;

        // One stays connected; the other learns the reason for its refusal.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let connected = [one.connected(), other.connected()];
        let (kept, refused) = if connected[0] == 1 { (&one, &other) } else { (&other, &one) };
        assert_eq!((connected.iter().sum::<usize>(), hub.connected()), (1, 1));
        until(&refused.replication, |replication| {
            let problems =
                replication.neighbours().into_iter().filter_map(|one| one.problem).collect::<String>();
            problems
                .contains(&format!("another machine at memory://{} has this node's identity", kept.address))
        })
        .await;
        let sent = || hub.replication.neighbours()[0].traffic.sent;
        kept.replica.put("k", "v").await.unwrap();
        tokio::time::timeout(NEVER, kept.replication.agreement()).await.expect("it is not disturbed");
        assert!(hub.replica.get("k").await.unwrap().is_some() && sent() > 0);

        // The alarm lasts while both machines run.
        tokio::time::sleep(Duration::from_secs(600)).await;
        for node in [&hub, &one, &other] {
            assert!(node.replication.identity_alarm().is_some());
        }
        refused.replication.close().await;
        tokio::time::sleep(Duration::from_secs(400)).await;
        assert_eq!(
            (hub.replication.identity_alarm(), kept.replication.identity_alarm(), kept.connected()),
            (None, None, 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_one_takes_the_place_of_one_that_is_stopped() {
    let network = MemoryNetwork::new();
    let hub = node(&network, 1).await;
    let [one, other] = [node(&network, 9).await, node(&network, 9).await];
    one.dials(&hub);
    other.dials(&hub);
    hub.is_alarmed(&[&one.address, &other.address]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (kept, refused) = if one.connected() == 1 { (one, other) } else { (other, one) };
    kept.replication.close().await;
    until(&refused.replication, |_| refused.connected() == 1).await;
    // The first machine was stopped to get another identity: the second is alone now.
    refused.replication.close().await;
    let anew = node(&network, 9).await;
    anew.dials(&hub);
    until(&anew.replication, |_| anew.connected() == 1).await;
    tokio::time::timeout(NEVER, anew.replication.agreement()).await.expect("it is let in");
}

/// After any number of restarts, and in any state of the old connection on the other side.
#[tokio::test(start_paused = true)]
async fn one_that_is_started_anew_is_no_other_machine() {
    let network = MemoryNetwork::new();
    let hub = node(&network, 1).await;
    let mut before = Vec::new();
    for _ in 0..6 {
        let anew = node(&network, 9).await;
        anew.dials(&hub);
        tokio::time::timeout(NEVER, anew.replication.agreement()).await.expect("it is let in at once");
        assert_eq!(
            (hub.replication.identity_alarm(), anew.replication.identity_alarm(), hub.connected()),
            (None, None, 1)
        );
        // The old process is gone, but its connection still looks alive to the other side.
        anew.replication.remove_peer(&Peer::over("memory", hub.address.clone()));
        before.push(anew);
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_reach_each_other_directly_are_not_one() {
    let network = MemoryNetwork::new();
    let [one, other] = [node(&network, 9).await, node(&network, 9).await];
    one.dials(&other);
    one.is_alarmed(&[&other.address, "has this node's identity"]).await;
    other.is_alarmed(&[&one.address, "has this node's identity"]).await;
    let row = one.replication.neighbours().into_iter().next().unwrap();
    assert!(row.problem.as_deref().is_some_and(|why| why.contains(&other.address)), "{row:?}");
    // A node that reaches itself has no neighbour.
    let alone = node(&network, 5).await;
    alone.dials(&alone);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((alone.replication.identity_alarm(), alone.replication.neighbours().len()), (None, 0));
}
