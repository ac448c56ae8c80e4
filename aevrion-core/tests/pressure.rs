//! Promise: a neighbour that sends more than this node can store, or requests more than it reads, is held back or cut
//! off long before it costs much memory.

use std::sync::Arc;
use std::time::Duration;

use crate::support::Kept;
use crate::support::scripted::{handshake, hello, send};
use crate::support::waiting::{NEVER, until};
use aevrion_core::bounds::STORES_AT_ONCE;
use aevrion_core::message::{Message, Push, Source};
use aevrion_core::replication::{Replication, ReplicationOptions, StallTimeouts};
use aevrion_core::store::MemoryStore;
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Limits, Transport};
use aevrion_core::{Event, NodeId, Options, Replica, Timestamp, Value};

const NEIGHBOUR: NodeId = NodeId::from_bytes([9; 32]);

/// A node, and a neighbour after its handshake.
async fn neighbour_of(replica: &Replica) -> (Replication, Arc<dyn Connection>, MemoryTransport) {
    let network = MemoryNetwork::new();
    let transport = network.bind(NodeId::from_bytes([5; 32]));
    let address = transport.address();
    // No neighbour is cut off for slowness.
    let timeouts = StallTimeouts::default().stalled(Duration::from_secs(86_400));
    let replication = replica.replicate(ReplicationOptions::default().timeouts(timeouts));
    replication.over(transport);
    let neighbour = network.bind(NEIGHBOUR);
    let connection = neighbour.dial(&address).await.unwrap();
    handshake(&*connection, NEIGHBOUR, &[]).await;
    (replication, connection, neighbour)
}

/// Each Hello message of the neighbour is answered at once, even with a full send queue.
#[tokio::test(start_paused = true)]
async fn one_that_has_more_and_more_said_and_reads_none_of_it_is_cut_off() {
    let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let (replication, connection, _neighbour) = neighbour_of(&replica).await;
    let hello = async {
        for number in 1_000..1_000_000 {
            send(&*connection, Lane::Live, &Message::Hello(hello(NEIGHBOUR, number, None, 3))).await;
            if replication.totals().faults.contains_key("does_not_read") {
                return;
            }
        }
    };
    tokio::time::timeout(NEVER, hello).await.expect("it is cut off, or can go on");
    assert_eq!(replication.totals().faults.get("does_not_read"), Some(&1));
    until(&replication, |replication| replication.neighbours().iter().all(|one| !one.is_connected())).await;
}

/// While the disk stands still no further frames are read, beyond those being stored and those in the transport.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_not_read() {
    const PUSHES: u64 = 200;
    const BYTES: usize = 100 << 10;
    let store = Kept::gated();
    store.let_commit(1);
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let (_sync, connection, _neighbour) = neighbour_of(&replica).await;
    let push = |number: u64| {
        let value = Value::Data(vec![b'v'; BYTES].into());
        let key = format!("key {number}").into_bytes();
        let event = Event::new(key.into(), value, Timestamp::from_millis(1_000 + number)).unwrap();
        Message::Push(Push { source: Source::UNKNOWN, events: vec![event] })
    };
    let mut taken = 0;
    while taken < PUSHES {
        let push = push(taken);
        let sent = tokio::time::timeout(Duration::from_secs(1), send(&*connection, Lane::Live, &push));
        if sent.await.is_err() {
            break;
        }
        taken += 1;
    }
    // Besides the batches being stored and the frames in the transport: two decoded, and one in transit.
    let most = STORES_AT_ONCE + Limits::default().window.div_ceil(BYTES) + 4;
    assert!(taken <= most as u64, "{taken} were taken, {most} can be held");
    // When the disk resumes, so do the reads.
    store.let_commit(100_000);
    for number in taken..PUSHES {
        send(&*connection, Lane::Live, &push(number)).await;
    }
    let all = async {
        while replica.status().await.unwrap().events < PUSHES {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(NEVER, all).await.expect("nothing is lost");
}
