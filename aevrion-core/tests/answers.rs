//! Promise: a request is awaited while its answer is arriving, however slow the line, and no longer; an unanswerable
//! request is ended at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::Kept;
use crate::support::dressed::Dressed;
use crate::support::scripted::{handshake, hello, receive, send};
use crate::support::waiting::until;
use aevrion_core::message::{
    Digest, EventList, Events, Ids, Listed, Message, NodeDigest, Reply, Row, Share, Snapshot, longest_frame,
};
use aevrion_core::replication::{Neighbour, Replication, StallTimeouts};
use aevrion_core::store::Durability;
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport};
use aevrion_core::{Event, Hash, NodeId, Options, Parameters, Replica, TimeSpan, Timestamp, Value};
use tokio::time::Instant;

const NODE: NodeId = NodeId::from_bytes([5; 32]);
const NEIGHBOUR: NodeId = NodeId::from_bytes([9; 32]);

/// A node, and a scripted neighbour after the handshake.
struct Scene {
    store: Kept,
    connection: Arc<dyn Connection>,
    /// Received bytes of incomplete frames.
    besides: Arc<AtomicU64>,
    _sync: Replication,
    _neighbour: MemoryTransport,
}

async fn scene(held: Vec<Event>) -> Scene {
    let network = MemoryNetwork::new();
    let transport = Dressed::from(network.bind(NODE));
    let (address, besides) = (transport.address(), Arc::clone(&transport.besides));
    let store = Kept::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    replica.insert(held, Durability::Immediate).await.unwrap();
    let replication = replica.replicate_over(transport);
    let neighbour = network.bind(NEIGHBOUR);
    let connection = neighbour.dial(&address).await.unwrap();
    handshake(&*connection, NEIGHBOUR, &[]).await;
    until(&replication, |replication| replication.neighbours().iter().any(Neighbour::is_connected)).await;
    Scene { store, connection, besides, _sync: replication, _neighbour: neighbour }
}

fn past() -> TimeSpan {
    TimeSpan::before(Timestamp::from_millis(1 << 40)).unwrap()
}

/// A snapshot of the past with a thousand events.
fn of_a_thousand() -> Message {
    let (count, hash) = (1_000, Hash::from_bytes([3; 32]));
    let digest = Digest { rows: vec![Row { level: 4, nodes: vec![NodeDigest { index: 0, count, hash }] }] };
    Message::Snapshot(Snapshot { span: past(), root: hash, count, digest: Some(digest), answer: false })
}

/// The time of the next snapshot from the node.
async fn next_snapshot(connection: &dyn Connection) -> Instant {
    loop {
        match connection.receive(Lane::Live, 1 << 20).await.unwrap().map(|frame| frame[0]) {
            // The first byte tells the kind: 0 is a Hello, 2 a snapshot.
            Some(0) => {}
            Some(2) => return Instant::now(),
            other => panic!("{other:?}"),
        }
    }
}

/// Lets time pass in which the neighbour sends only its handshake.
async fn idle(connection: &dyn Connection, seconds: u64) {
    for number in 0..seconds / 30 {
        let number = 1_000 + u32::try_from(number).unwrap();
        send(connection, Lane::Live, &Message::Hello(hello(NEIGHBOUR, number, None, 3))).await;
        let read_on = async { while connection.receive(Lane::Live, 1 << 20).await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(30), read_on).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_arriving_is_awaited_and_one_that_is_not_is_asked_for_anew() {
    for (idle_for, bytes_a_second) in
        [(0, 20_000), (0, 10_000_000), (30, 20_000), (120, 20_000), (1_200, 20_000)]
    {
        let Scene { connection, besides, .. } = &scene(Vec::new()).await;
        idle(&**connection, idle_for).await;
        send(&**connection, Lane::Live, &of_a_thousand()).await;
        let asked = receive(&**connection, Lane::Repair).await;
        assert!(matches!(asked, Some(Message::EventList(EventList::Held(_)))), "{asked:?}");
        let arrives = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                besides.fetch_add(bytes_a_second, Ordering::Relaxed);
            }
            Instant::now()
        };
        let began = Instant::now();
        let (stopped, compared) = tokio::join!(arrives, async {
            // Snapshots sent before the request do not count.
            while tokio::time::timeout(Duration::from_secs(2), next_snapshot(&**connection)).await.is_ok() {
                assert!(began.elapsed() < Duration::from_secs(5), "it compares though an answer is arriving");
            }
            next_snapshot(&**connection).await
        });
        assert!(compared > stopped, "idle for {idle_for} s: it does not wait for what is arriving");
        let waited = compared - stopped;
        assert!(waited <= Duration::from_secs(21), "{bytes_a_second} B/s: it waits {waited:?} for nothing");
    }
}

/// Other frames may look like an answer, but not for longer than a frame can take.
#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_awaited_for_ever() {
    let longest = StallTimeouts::default().stalled
        + Duration::from_secs(longest_frame(&Parameters::default()) as u64 >> 14);
    let Scene { connection, besides, .. } = &scene(Vec::new()).await;
    send(&**connection, Lane::Live, &of_a_thousand()).await;
    receive(&**connection, Lane::Repair).await;
    let began = Instant::now();
    let news = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            besides.fetch_add(20_000, Ordering::Relaxed);
        }
    };
    let given_up = async {
        loop {
            let at = next_snapshot(&**connection).await;
            if at > began + Duration::from_secs(5) {
                return at - began;
            }
        }
    };
    let waited = tokio::select! {
        () = news => unreachable!("there is always more"),
        waited = given_up => waited,
    };
    assert!(
        waited > longest && waited < longest + Duration::from_secs(21),
        "{waited:?}, {longest:?} are allowed"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_declined_at_once() {
    let at = Timestamp::from_millis(1_000);
    let held = Event::new("held".into(), Value::Deletion, at).unwrap();
    let Scene { store, connection, .. } = &scene(vec![held]).await;
    send(&**connection, Lane::Live, &of_a_thousand()).await;
    let asked = receive(&**connection, Lane::Repair).await;
    assert!(matches!(asked, Some(Message::EventList(EventList::Held(_)))), "{asked:?}");
    let list = || Listed { span: past(), share: Share::WHOLE, ids: Ids::Full(Vec::new()) };
    let answer = async |failing_reads| {
        store.fail_reads(failing_reads);
        let began = Instant::now();
        send(&**connection, Lane::Repair, &Message::EventList(EventList::Held(vec![list()]))).await;
        let answer = receive(&**connection, Lane::Repair).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2));
        let Message::Events(Events { reply: Reply::Block { span, last: true, .. }, events }) = answer else {
            panic!("{answer:?}")
        };
        (span, events.len())
    };
    assert_eq!(answer(1).await, (TimeSpan::ALL, 0), "declined");
    assert_eq!(answer(0).await, (TimeSpan::new(at, at).unwrap(), 1), "and answered when it can be read");
}
