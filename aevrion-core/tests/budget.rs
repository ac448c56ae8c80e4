//! Promise: the reads for a neighbour's requests stay within its budget. Requests beyond it are declined and counted,
//! are no fault, and do not affect other neighbours.

use std::sync::Arc;
use std::time::Duration;

use crate::support::counted::Counted;
use crate::support::scripted::{handshake, receive, send};
use crate::support::waiting::NEVER;
use aevrion_core::agent::{Budget, Rate};
use aevrion_core::message::{
    CellCounts, EventList, Events, Listed, Message, Naming, NeedEvents, Nodes, Parent, Reply, Snapshot,
    Source, Stretch, encode,
};
use aevrion_core::replication::{Peer, Replication, ReplicationOptions};
use aevrion_core::sketch::{NumberList, SketchKey, short_id};
use aevrion_core::store::{Durability, MemoryStore};
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport};
use aevrion_core::tree::NodePosition;
use aevrion_core::{Event, EventKey, Hash, NodeId, Options, Replica, TimeSpan, Timestamp, Value};
use tokio::time::Instant;

const HOSTILE: NodeId = NodeId::from_bytes([9; 32]);

/// Events in one leaf.
const EVENTS: u64 = 30_000;
const LEAF: u64 = 28_333_333 * 60_000;

/// A few walks over the leaf at once, then half a walk per second.
const BUDGET: Budget =
    Budget { rows: Rate::a_second(EVENTS * 4, EVENTS / 2), bytes: Rate::a_second(1 << 30, 1 << 28) };

fn event(number: u64) -> Event {
    let key = format!("key {number:06}").into_bytes();
    Event::new(key.into(), Value::Deletion, Timestamp::from_millis(LEAF + number * 60_000 / EVENTS)).unwrap()
}

struct Scene {
    store: Counted,
    replica: Replica,
    replication: Replication,
    friend: (Replica, Replication),
    connection: Arc<dyn Connection>,
    _hostile: MemoryTransport,
}

/// A node with an honest neighbour that has all events, and a hostile one after its handshake.
async fn scene() -> Scene {
    let network = MemoryNetwork::new();
    let transport = network.bind(NodeId::from_bytes([5; 32]));
    let address = transport.address();
    let store = Counted::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    for batch in events.chunks(4_096) {
        replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap();
    }
    let replication = replica.replicate(ReplicationOptions::default().budget(BUDGET));
    replication.over(transport);
    let friends = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let friend = friends.replicate_over(network.bind(NodeId::from_bytes([6; 32])));
    friend.add_peer(Peer::over("memory", address.clone()));
    tokio::time::timeout(NEVER, friend.agreement()).await.expect("the honest neighbour agrees");
    let hostile = network.bind(HOSTILE);
    let connection = hostile.dial(&address).await.unwrap();
    handshake(&*connection, HOSTILE, &[]).await;
    Scene { store, replica, replication, friend: (friends, friend), connection, _hostile: hostile }
}

fn past() -> TimeSpan {
    TimeSpan::before(Timestamp::from_millis(1 << 41)).unwrap()
}

fn snapshot(span: TimeSpan) -> Message {
    Message::Snapshot(Snapshot { span, root: Hash::EMPTY, count: 0, cells: None, answer: true })
}

/// A list of this event alone, in short.
fn listed(number: u64) -> Listed {
    let salt = [7; 8];
    let short = short_id(&SketchKey::from_bytes([7; 16]), &event(number).id(), 64);
    let numbers = NumberList::new(64, vec![short]).unwrap();
    Listed { stretch: Stretch::of(past()), naming: Naming::Short(salt), numbers }
}

/// A list of the past with one event that does not exist.
fn list() -> Message {
    Message::EventList(EventList::Held(vec![listed(EVENTS * 2)]))
}

/// A request for the earliest event of the past.
fn request() -> Message {
    Message::NeedEvents(NeedEvents::Of(vec![listed(0)]))
}

/// The span of all events, for which no cells are kept: it does not begin with the beginning of time.
fn later() -> TimeSpan {
    TimeSpan::new(Timestamp::from_millis(1), past().last()).unwrap()
}

/// A comparison by the counts of a few cells.
fn comparison() -> Message {
    let counts = Some(CellCounts { events: 0, counts: vec![0; 4] });
    Message::Nodes(Nodes::Cover { span: later(), digest: None, counts })
}

/// A comparison of one node whose time the span cuts through.
fn nodes() -> Message {
    let span = TimeSpan::new(Timestamp::from_millis(LEAF + 1), past().last()).unwrap();
    let node = NodePosition { level: 1, index: LEAF / 60_000 / 32 };
    Message::Nodes(Nodes::Children { span, parents: vec![Parent { node, children: Vec::new() }] })
}

/// A request for a cell, the same one each time.
fn cell() -> Message {
    Message::NeedEvents(NeedEvents::Cells { span: later(), from: 99, len: 1 })
}

impl Scene {
    /// Reads and drops the messages of a lane.
    fn ignore(&self, lane: Lane) -> tokio::task::JoinHandle<()> {
        let connection = Arc::clone(&self.connection);
        tokio::spawn(
            async move { while connection.receive(lane, 64 << 20).await.is_ok_and(|it| it.is_some()) {} },
        )
    }

    /// Sends one question, and returns the events of its answer.
    async fn ask(&self, question: &Message) -> usize {
        send(&*self.connection, Lane::Repair, question).await;
        let mut brought = 0;
        loop {
            match receive(&*self.connection, Lane::Repair).await {
                Some(Message::Events(Events { reply, events })) => {
                    brought += events.len();
                    if matches!(reply, Reply::End(_)) {
                        return brought;
                    }
                }
                Some(Message::Nodes(Nodes::Differing(_)) | Message::EventList(EventList::Cells(_))) => {
                    return 0;
                }
                Some(_) => {}
                None => panic!("it is cut off"),
            }
        }
    }

    /// Checks that others are unaffected: a write reaches the friend, and local reads are answered.
    async fn others_go_on(&self) {
        let mut watch = self.friend.0.watch("still", None).unwrap();
        let written = self.replica.put("still", "here").await.unwrap();
        let seen = tokio::time::timeout(NEVER, watch.next()).await.expect("the friend hears of a write");
        assert_eq!(seen.unwrap().unwrap().event.event_key(), written);
        assert_eq!(self.replica.get("still").await.unwrap().as_deref(), Some(&b"here"[..]));
        assert!(self.replication.totals().faults.is_empty(), "{:?}", self.replication.totals());
    }

    /// Checks that the reads since `began` are within the budget, except the overdraft of one request.
    fn is_within_budget(&self, (rows, began): (u64, Instant), overdrawn: u64) {
        let read = self.store.rows() - rows;
        let seconds = began.elapsed().as_secs() + 1;
        let most = BUDGET.rows.at_once + BUDGET.rows.gain * seconds + overdrawn;
        println!(
            "{read} rows in {seconds} s, {most} are allowed; {} declined",
            self.replication.totals().declined
        );
        assert!(read <= most, "{read} rows in {seconds} s are more than {most}");
        assert!(self.replication.totals().declined > 0, "it is counted");
    }
}

/// Questions of some thirty bytes, each of which makes the node read everything.
#[tokio::test(start_paused = true)]
async fn short_questions_about_everything_cost_no_more_than_the_budget() {
    for (what, question) in [
        ("one event that is not there", list()),
        ("the earliest event", request()),
        ("a comparison by cells", comparison()),
        ("a comparison by nodes", nodes()),
        ("a cell", cell()),
    ] {
        assert!(encode(&question).len() <= 36, "{} bytes", encode(&question).len());
        let scene = scene().await;
        let live = scene.ignore(Lane::Live);
        let began = (scene.store.rows(), Instant::now());
        let mut answered = 0;
        for second in 0..5 {
            tokio::time::sleep_until(began.1 + Duration::from_secs(second)).await;
            for _ in 0..20 {
                answered += usize::from(scene.ask(&question).await > 0);
            }
        }
        println!("{what}: {answered} of 100 brought something");
        // Two walks for the last comparison that was begun.
        scene.is_within_budget(began, EVENTS * 2 + EVENTS / 10);
        scene.others_go_on().await;
        // After a quiet time the neighbour is answered again.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let declined = scene.replication.totals().declined;
        scene.ask(&question).await;
        assert_eq!(scene.replication.totals().declined, declined);
        live.abort();
    }
}

/// Snapshots whose span ends in the middle of a leaf, which must be hashed for each.
#[tokio::test(start_paused = true)]
async fn snapshots_that_cut_through_a_leaf_cost_no_more_than_the_budget() {
    let scene = scene().await;
    let live = scene.ignore(Lane::Live);
    let began = (scene.store.rows(), Instant::now());
    for number in 0..100 {
        let span = TimeSpan::before(Timestamp::from_millis(LEAF + 59_000 - number)).unwrap();
        send(&*scene.connection, Lane::Live, &snapshot(span)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The follow-up comparisons of this side cost as much.
    scene.is_within_budget(began, EVENTS * 2);
    scene.others_go_on().await;
    live.abort();
}

/// Announcements of known events, each of which is looked up.
#[tokio::test(start_paused = true)]
async fn announcements_of_what_is_known_cost_no_more_than_the_budget() {
    let scene = scene().await;
    let live = scene.ignore(Lane::Live);
    let known: Vec<EventKey> = (0..EVENTS / 4).map(|number| event(number).event_key()).collect();
    let gets = scene.store.gets();
    for _ in 0..40 {
        let announced = EventList::Announced { source: Source::UNKNOWN, event_keys: known.clone() };
        let announced = Message::EventList(announced);
        send(&*scene.connection, Lane::Live, &announced).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let looked_up = scene.store.gets() - gets;
    println!("{looked_up} lookups, {} declined", scene.replication.totals().declined);
    // A lookup counts as four rows.
    assert!(looked_up <= (BUDGET.rows.at_once + BUDGET.rows.gain * 2 + EVENTS) / 4, "{looked_up} lookups");
    assert!(scene.replication.totals().declined > 0);
    scene.others_go_on().await;
    live.abort();
}

/// A new connection brings no new budget.
#[tokio::test(start_paused = true)]
async fn connecting_again_does_not_fill_the_budget() {
    let mut scene = scene().await;
    for round in 0..3 {
        let live = scene.ignore(Lane::Live);
        for _ in 0..10 {
            scene.ask(&request()).await;
        }
        live.abort();
        if round == 2 {
            break;
        }
        let address = scene.replication.addresses()[0].address().to_owned();
        scene.connection = scene._hostile.dial(&address).await.unwrap();
        handshake(&*scene.connection, HOSTILE, &[]).await;
    }
    let declined = scene.replication.totals().declined;
    assert!(declined >= 20, "{declined} of 30 questions are declined");
}
