//! Promise: a question is awaited while its answer is arriving, however slow the line; an answer that stands still ends
//! the connection; a question that cannot be answered is ended at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::Kept;
use crate::support::dressed::Dressed;
use crate::support::scripted::{handshake, hello, receive, send};
use crate::support::waiting::until;
use aevrion_core::bounds::FIRST_CELLS;
use aevrion_core::message::{
    End, EventList, Events, Listed, Message, Naming, Nodes, Reply, Snapshot, Stretch, longest_frame,
};
use aevrion_core::replication::{Neighbour, Replication, StallTimeouts};
use aevrion_core::sketch::{Cells, Mapping, NumberList};
use aevrion_core::store::Durability;
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport, TransportError};
use aevrion_core::{Event, Hash, NodeId, Options, Parameters, Replica, TimeSpan, Timestamp, Value};
use tokio::time::Instant;

const NODE: NodeId = NodeId::from_bytes([5; 32]);
/// The side with the smaller id shows cells, and the node asks.
const NEIGHBOUR: NodeId = NodeId::from_bytes([1; 32]);

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

/// A snapshot of the past with a thousand events, and cells that say nothing of them.
fn of_a_thousand() -> Message {
    let (root, cells) = (Hash::from_bytes([3; 32]), Some(Cells::new(Mapping::Regular, FIRST_CELLS)));
    Message::Snapshot(Snapshot { span: past(), root, count: 1_000, cells, answer: false })
}

/// Provokes a question, which the neighbour does not answer.
async fn ask(connection: &dyn Connection) {
    send(connection, Lane::Live, &of_a_thousand()).await;
    let asked = receive(connection, Lane::Repair).await;
    assert!(matches!(asked, Some(Message::Nodes(Nodes::Cover { .. }))), "{asked:?}");
}

/// The end of the connection, within hours, and its reason.
async fn end(connection: &dyn Connection) -> (Instant, String) {
    let latest = Instant::now() + Duration::from_secs(3 * 60 * 60);
    loop {
        let next = tokio::time::timeout_at(latest, connection.receive(Lane::Live, 1 << 20)).await;
        match next.expect("the connection ends") {
            Ok(Some(_)) => {}
            Ok(None) => return (Instant::now(), String::new()),
            Err(TransportError::Closed { reason, .. }) => return (Instant::now(), reason),
            Err(error) => panic!("{error}"),
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
async fn an_answer_that_is_arriving_is_awaited_and_one_that_stands_still_ends_the_connection() {
    let stalled = StallTimeouts::default().stalled;
    for (idle_for, bytes_a_second) in
        [(0, 0), (0, 20_000), (0, 10_000_000), (30, 20_000), (120, 20_000), (1_200, 20_000)]
    {
        let Scene { connection, besides, .. } = &scene(Vec::new()).await;
        idle(&**connection, idle_for).await;
        ask(&**connection).await;
        let arrives = async {
            let seconds = if bytes_a_second == 0 { 0 } else { 100 };
            for _ in 0..seconds {
                tokio::time::sleep(Duration::from_secs(1)).await;
                besides.fetch_add(bytes_a_second, Ordering::Relaxed);
            }
            Instant::now()
        };
        let (stopped, (ended, reason)) = tokio::join!(arrives, end(&**connection));
        assert_eq!(reason, "it does not answer", "idle for {idle_for} s, {bytes_a_second} B/s");
        assert!(ended > stopped, "idle for {idle_for} s: it does not wait for what is arriving");
        let waited = ended - stopped;
        assert!(waited <= stalled * 2, "{bytes_a_second} B/s: it waits {waited:?} for nothing");
    }
}

/// Other frames may look like an answer, but not for longer than a frame can take.
#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_awaited_for_ever() {
    let stalled = StallTimeouts::default().stalled;
    let longest = stalled + Duration::from_secs(longest_frame(&Parameters::default()) as u64 >> 14);
    let Scene { connection, besides, .. } = &scene(Vec::new()).await;
    ask(&**connection).await;
    let began = Instant::now();
    let news = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            besides.fetch_add(20_000, Ordering::Relaxed);
        }
    };
    let (ended, reason) = tokio::select! {
        () = news => unreachable!("there is always more"),
        end = end(&**connection) => end,
    };
    assert_eq!(reason, "it does not answer");
    let waited = ended - began;
    assert!(waited >= longest && waited <= longest + stalled, "{waited:?}, {longest:?} are allowed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_declined_at_once() {
    let at = Timestamp::from_millis(1_000);
    let held = Event::new("held".into(), Value::Deletion, at).unwrap();
    let Scene { store, connection, .. } = &scene(vec![held]).await;
    let list = || {
        let numbers = NumberList::new(8, Vec::new()).unwrap();
        Listed { stretch: Stretch::of(past()), naming: Naming::Locators, numbers }
    };
    let answer = async |failing_reads| {
        store.fail_reads(failing_reads);
        let began = Instant::now();
        send(&**connection, Lane::Repair, &Message::EventList(EventList::Held(vec![list()]))).await;
        let answer = receive(&**connection, Lane::Repair).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2));
        let Message::Events(Events { reply: Reply::End(ending), events }) = answer else {
            panic!("{answer:?}")
        };
        (ending, events.len())
    };
    assert_eq!(answer(1).await, (End::Later, 0), "declined");
    assert_eq!(answer(0).await, (End::Complete, 1), "and answered when it can be read");
}
