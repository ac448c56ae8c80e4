//! Promise: a question is awaited as long as its answer is arriving, however slow the line, and no longer; and where the
//! answer cannot be given the question is ended at once.

#![allow(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[path = "support/dressed.rs"]
mod dressed;
#[path = "support/scripted.rs"]
mod scripted;
#[path = "support/mod.rs"]
mod support;
#[path = "support/waiting.rs"]
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aevrion_core::message::{
    Digest, EventList, Events, Ids, Listed, Message, Reply, Row, Share, Snapshot, Tile,
};
use aevrion_core::sync::{Neighbour, Sync};
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport};
use aevrion_core::{Hash, NodeId, Options, Replica, TimeSpan, Timestamp};
use dressed::Dressed;
use scripted::{greet, receive, send};
use support::Kept;
use tokio::time::Instant;
use waiting::until;

const NODE: NodeId = NodeId::from_bytes([5; 32]);
const NEIGHBOUR: NodeId = NodeId::from_bytes([9; 32]);

/// A node, and a neighbour that has greeted it and whose part the test plays.
struct Scene {
    store: Kept,
    replica: Replica,
    connection: Arc<dyn Connection>,
    /// Bytes that come of frames that are not whole.
    besides: Arc<AtomicU64>,
    _sync: Sync,
    _neighbour: MemoryTransport,
}

async fn scene() -> Scene {
    let network = MemoryNetwork::new();
    let transport = Dressed::from(network.bind(NODE));
    let (address, besides) = (transport.address(), Arc::clone(&transport.besides));
    let store = Kept::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let sync = replica.sync_over(transport);
    let neighbour = network.bind(NEIGHBOUR);
    let connection = neighbour.dial(&address).await.unwrap();
    greet(&*connection, NEIGHBOUR).await;
    until(&sync, |sync| sync.neighbours().iter().any(Neighbour::is_connected)).await;
    Scene { store, replica, connection, besides, _sync: sync, _neighbour: neighbour }
}

fn past() -> TimeSpan {
    TimeSpan::before(Timestamp::from_millis(1 << 40)).unwrap()
}

/// A snapshot of the past by one who holds a thousand events in it.
fn of_a_thousand() -> Message {
    let (count, hash) = (1_000, Hash::from_bytes([3; 32]));
    let digest = Digest { rows: vec![Row { level: 4, tiles: vec![Tile { index: 0, count, hash }] }] };
    Message::Snapshot(Snapshot { span: past(), root: hash, count, digest: Some(digest), answer: false })
}

/// When the node next speaks of what it holds, and not of the time.
async fn next_snapshot(connection: &dyn Connection) -> Instant {
    loop {
        match connection.receive(Lane::Live, 1 << 20).await.unwrap().map(|frame| frame[0]) {
            // A Hello, and a Snapshot.
            Some(0) => {}
            Some(2) => return Instant::now(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_arriving_is_awaited_and_one_that_is_not_is_asked_for_anew() {
    for bytes_a_second in [20_000, 10_000_000] {
        let Scene { connection, besides, .. } = &scene().await;
        send(&**connection, Lane::Live, &of_a_thousand()).await;
        let asked = receive(&**connection, Lane::Repair).await;
        assert!(matches!(asked, Some(Message::EventList(EventList::Held(_)))), "{asked:?}");
        // What it sends before it has been asked is of the time before.
        let arrives = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                besides.fetch_add(bytes_a_second, Ordering::Relaxed);
            }
            Instant::now()
        };
        let began = Instant::now();
        let (stopped, compared) = tokio::join!(arrives, async {
            while tokio::time::timeout(Duration::from_secs(2), next_snapshot(&**connection)).await.is_ok() {
                assert!(began.elapsed() < Duration::from_secs(5), "it compares though an answer is arriving");
            }
            next_snapshot(&**connection).await
        });
        assert!(compared > stopped, "it does not wait for what is arriving");
        let waited = compared - stopped;
        assert!(waited <= Duration::from_secs(21), "{bytes_a_second} B/s: it waits {waited:?} for nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_declined_at_once() {
    let Scene { store, replica, connection, .. } = &scene().await;
    replica.put("held", "here").await.unwrap();
    send(&**connection, Lane::Live, &of_a_thousand()).await;
    let asked = receive(&**connection, Lane::Repair).await;
    assert!(matches!(asked, Some(Message::EventList(EventList::Held(_)))), "{asked:?}");
    let list = Listed { span: past(), share: Share::WHOLE, ids: Ids::Full(Vec::new()) };
    let question = Message::EventList(EventList::Held(vec![list]));
    store.fail_reads(1);
    let began = Instant::now();
    send(&**connection, Lane::Repair, &question).await;
    let nothing = receive(&**connection, Lane::Repair).await.unwrap();
    let Message::Events(Events { reply: Reply::Block { last: true, .. }, events }) = nothing else {
        panic!("{nothing:?}")
    };
    assert!(events.is_empty() && began.elapsed() < Duration::from_secs(1));
}
