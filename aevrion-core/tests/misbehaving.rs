//! Misbehaving neighbours. Each is cut off with a reason that both sides can read, is counted, and costs others
//! nothing: an honest neighbour continues meanwhile.

use std::sync::Arc;

use crate::support::scripted::{handshake, hello, receive, send, send_bytes};
use crate::support::waiting::{NEVER, until};
use aevrion_core::bounds::FIRST_CELLS;
use aevrion_core::message::{
    Differing, End, EventList, Events, Hello, Listed, Message, Naming, NeedEvents, NodeDigest, Nodes,
    PROTOCOL_VERSION, Parent, Push, Reply, ShortHash, Snapshot, Source, Stretch, encode,
};
use aevrion_core::replication::{NeighbourState, Peer, Replication};
use aevrion_core::sketch::{Cells, Locator, Mapping, NumberList};
use aevrion_core::store::{Durability, MemoryStore};
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport, TransportError};
use aevrion_core::tree::NodePosition;
use aevrion_core::{Event, EventId, EventKey, Hash, NodeId, Options, Replica, TimeSpan, Timestamp, Value};

/// The side with the smaller id shows cells, and the victim asks.
const HOSTILE: NodeId = NodeId::from_bytes([1; 32]);

struct Victim {
    replica: Replica,
    replication: Replication,
    address: String,
    friend: (Replica, Replication),
    hostile: MemoryTransport,
}

async fn node(network: &MemoryNetwork, number: u8) -> (Replica, Replication, String) {
    let transport = network.bind(NodeId::from_bytes([number; 32]));
    let address = transport.address();
    let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
    let replication = replica.replicate_over(transport);
    (replica, replication, address)
}

/// A node with an honest neighbour, and a hostile one about to connect.
async fn victim() -> Victim {
    let network = MemoryNetwork::new();
    let (replica, replication, address) = node(&network, 5).await;
    let (friends, friend, _) = node(&network, 6).await;
    friend.add_peer(Peer::over("memory", address.clone()));
    friend_agrees(&replication).await;
    Victim { replica, replication, address, friend: (friends, friend), hostile: network.bind(HOSTILE) }
}

async fn friend_agrees(replication: &Replication) {
    tokio::time::timeout(NEVER, replication.agreement()).await.expect("the honest neighbour agrees");
}

impl Victim {
    async fn connect(&self) -> Arc<dyn Connection> {
        self.hostile.dial(&self.address).await.unwrap()
    }

    /// A connection after the handshake.
    async fn settled(&self) -> Arc<dyn Connection> {
        let connection = self.connect().await;
        handshake(&*connection, HOSTILE, &[]).await;
        connection
    }

    /// Checks that the connection ends with a reason that contains `what`, is counted under `name`, and does not affect
    /// the friend.
    async fn cuts_off(&self, connection: &dyn Connection, name: &str, what: &str) {
        let reason = tokio::time::timeout(NEVER, end(connection)).await.expect("the connection ends");
        assert!(reason.contains(what), "{reason}");
        until(&self.replication, |replication| replication.totals().faults.get(name) == Some(&1)).await;
        self.others_go_on().await;
    }

    async fn others_go_on(&self) {
        let mut watch = self.friend.0.watch("still", None).unwrap();
        let written = self.replica.put("still", "here").await.unwrap();
        let seen = tokio::time::timeout(NEVER, watch.next()).await.expect("the friend hears of a write");
        assert_eq!(seen.unwrap().unwrap().event.event_key(), written);
        let states: Vec<_> = self.friend.1.neighbours().iter().map(|one| one.state).collect();
        assert!(!states.contains(&NeighbourState::Unreachable), "{states:?}");
    }
}

fn past(end: u64) -> TimeSpan {
    TimeSpan::before(Timestamp::from_millis(end)).unwrap()
}

/// All events of the victim lie before this time.
const END: u64 = 1 << 41;

/// A snapshot of `count` events that the victim lacks, with cells that do not decode.
fn differing(count: u64) -> Message {
    let mut cells = Cells::new(Mapping::Regular, FIRST_CELLS);
    let locator = |number: u64| Locator::from_value(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16);
    (0..count).filter_map(locator).for_each(|locator| cells.insert(locator));
    let root = Hash::from_bytes([3; 32]);
    Message::Snapshot(Snapshot { span: past(END), root, count, cells: Some(cells), answer: false })
}

/// The next question of the victim.
async fn question(connection: &dyn Connection) -> Message {
    let next = receive(connection, Lane::Repair);
    tokio::time::timeout(NEVER, next).await.expect("it asks").expect("it goes on")
}

fn listed(stretch: Stretch, bits: u8, numbers: &[u64]) -> Listed {
    let numbers = NumberList::new(bits, numbers.to_vec()).unwrap();
    Listed { stretch, naming: Naming::Locators, numbers }
}

fn answer(ending: End, events: Vec<Event>) -> Message {
    Message::Events(Events { reply: Reply::End(ending), events })
}

/// Reads on until the end of the connection, and returns its reason.
async fn end(connection: &dyn Connection) -> String {
    loop {
        match connection.receive(Lane::Live, 64 << 20).await {
            Ok(Some(_)) => {}
            Ok(None) => return String::new(),
            Err(TransportError::Closed { reason, .. }) => return reason,
            Err(error) => return error.to_string(),
        }
    }
}

fn event(key: &'static str, ms: u64) -> Event {
    Event::new(key.into(), Value::Data("value".into()), Timestamp::from_millis(ms)).unwrap()
}

#[tokio::test]
async fn a_frame_that_is_no_message() {
    for (frame, what) in [
        (vec![9, 1, 2], "message number 9 is unknown"),
        (vec![], "an empty frame"),
        (encode(&Message::Hello(hello(HOSTILE, 1, None, 0)))[..20].to_vec(), "ends in the middle"),
    ] {
        let victim = victim().await;
        let connection = victim.connect().await;
        send_bytes(&*connection, Lane::Live, frame.into()).await;
        victim.cuts_off(&*connection, "malformed", what).await;
    }
}

#[tokio::test]
async fn a_frame_that_is_too_long() {
    let victim = victim().await;
    let connection = victim.connect().await;
    send_bytes(&*connection, Lane::Repair, vec![0; 17 << 20].into()).await;
    victim.cuts_off(&*connection, "frame_too_long", "at most").await;
}

#[tokio::test]
async fn another_version_other_parameters_another_space_another_name() {
    type Change = fn(&mut Hello);
    let cases: [(Change, &str); 4] = [
        (|hello| hello.version = PROTOCOL_VERSION + 1, "version 4 of the protocol, this node 3"),
        (|hello| hello.parameters.granularity = 1_000, "granularity is 60000 here and 1000 there"),
        (|hello| hello.space = "other".into(), "it keeps the space `other`, this node `default`"),
        (|hello| hello.node = NodeId::from_bytes([9; 32]), "has proven to be"),
    ];
    for (change, what) in cases {
        let victim = victim().await;
        let connection = victim.connect().await;
        let mut changed = hello(HOSTILE, 1, None, 0);
        change(&mut changed);
        send(&*connection, Lane::Live, &Message::Hello(changed)).await;
        victim.cuts_off(&*connection, "incompatible", what).await;
    }
}

#[tokio::test]
async fn data_before_the_clocks_are_settled() {
    let victim = victim().await;
    let connection = victim.connect().await;
    let push = Push { source: Source::UNKNOWN, events: vec![event("k", 1)] };
    send(&*connection, Lane::Live, &Message::Push(push)).await;
    victim.cuts_off(&*connection, "unsettled", "a Push before the clocks were settled").await;
    assert_eq!(victim.replica.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn hellos_without_end() {
    let victim = victim().await;
    let connection = victim.connect().await;
    for number in 1..=100 {
        send(&*connection, Lane::Live, &Message::Hello(hello(HOSTILE, number, None, 0))).await;
    }
    victim.cuts_off(&*connection, "babble", "greets without end").await;
}

#[tokio::test]
async fn events_that_nobody_asked_for() {
    let victim = victim().await;
    let connection = victim.settled().await;
    let events = Events { reply: Reply::At { more: false }, events: vec![event("unasked", 1_000)] };
    send(&*connection, Lane::Repair, &Message::Events(events)).await;
    victim.cuts_off(&*connection, "unasked", "1 events that nobody asked for").await;
    assert_eq!(victim.replica.get("unasked").await.unwrap(), None);
}

#[tokio::test]
async fn an_event_that_is_not_the_one_asked_for() {
    let victim = victim().await;
    let connection = victim.settled().await;
    let promised = event("promised", 1_000).event_key();
    let announced = EventList::Announced { source: Source::UNKNOWN, event_keys: vec![promised] };
    send(&*connection, Lane::Live, &Message::EventList(announced)).await;
    loop {
        match receive(&*connection, Lane::Live).await {
            Some(Message::NeedEvents(NeedEvents::At(wanted))) => {
                assert_eq!(wanted, [promised]);
                break;
            }
            Some(_) => {}
            None => panic!("the announcement was not answered"),
        }
    }
    // The content differs, and therefore the id.
    let events = Events { reply: Reply::At { more: false }, events: vec![event("forged", 1_000)] };
    send(&*connection, Lane::Live, &Message::Events(events)).await;
    victim.cuts_off(&*connection, "unasked", "that nobody asked for").await;
    assert_eq!(victim.replica.get("forged").await.unwrap(), None);
}

/// Each kind of answer on the repair lane, without any question.
#[tokio::test]
async fn answers_that_nobody_asked_for() {
    let victim = victim().await;
    let some = || vec![event("unasked", 1_000)];
    let answers = [
        Message::Nodes(Nodes::Differing(vec![Differing::Count(past(END), 1)])),
        Message::EventList(EventList::Cells(Cells::new(Mapping::Irregular, 16))),
        Message::Events(Events { reply: Reply::Part, events: some() }),
        answer(End::Complete, some()),
        answer(End::Later, Vec::new()),
    ];
    for (number, message) in (1..).zip(&answers) {
        let connection = victim.settled().await;
        send(&*connection, Lane::Repair, message).await;
        let reason = tokio::time::timeout(NEVER, end(&*connection)).await.expect("the connection ends");
        assert!(reason.contains("that nobody asked for"), "{message}: {reason}");
        until(&victim.replication, |it| it.totals().faults.get("unasked") == Some(&number)).await;
    }
    assert_eq!(victim.replica.get("unasked").await.unwrap(), None);
    victim.others_go_on().await;
}

/// Each kind of answer to a question for something else: for all that the victim lacks.
#[tokio::test]
async fn answers_to_another_question() {
    for (name, what, message) in [
        (
            "unasked",
            "that nobody asked for",
            Message::Nodes(Nodes::Differing(vec![Differing::Count(past(END), 1)])),
        ),
        (
            "unasked",
            "that nobody asked for",
            Message::EventList(EventList::Cells(Cells::new(Mapping::Irregular, 16))),
        ),
        ("unasked", "1 events that nobody asked for", answer(End::Complete, vec![event("late", END)])),
    ] {
        let victim = victim().await;
        let connection = victim.settled().await;
        send(&*connection, Lane::Repair, &Message::EventList(EventList::LackedIn(vec![past(END)]))).await;
        let asked = question(&*connection).await;
        assert!(matches!(asked, Message::EventList(EventList::Held(_))), "{asked}");
        send(&*connection, Lane::Repair, &message).await;
        victim.cuts_off(&*connection, name, what).await;
        assert_eq!(victim.replica.get("late").await.unwrap(), None);
    }
}

/// An event of another leaf, which was not named.
#[tokio::test]
async fn events_that_were_not_among_those_asked_for() {
    let victim = victim().await;
    let connection = victim.settled().await;
    // It lacks the event of this locator, and is brought one of the next leaf.
    let lacked = listed(Stretch::of(past(END)), 48, &[7 << 28]);
    send(&*connection, Lane::Repair, &Message::EventList(EventList::Lacked(vec![lacked]))).await;
    let asked = question(&*connection).await;
    assert!(matches!(asked, Message::NeedEvents(NeedEvents::Of(_))), "{asked}");
    send(&*connection, Lane::Repair, &answer(End::Complete, vec![event("other", 8 * 60_000)])).await;
    victim.cuts_off(&*connection, "unasked", "1 events that nobody asked for").await;
    assert_eq!(victim.replica.get("other").await.unwrap(), None);
}

/// A comparison of cells is answered with cells of another index, another mapping, or none at all.
#[tokio::test]
async fn cells_that_were_not_asked_for() {
    for cells in [
        Cells::part(Mapping::Irregular, 1..17),
        Cells::new(Mapping::Regular, 16),
        Cells::new(Mapping::Irregular, 0),
    ] {
        let victim = victim().await;
        victim.replica.put("held", "here").await.unwrap();
        let connection = victim.settled().await;
        send(&*connection, Lane::Live, &differing(1_000)).await;
        let asked = question(&*connection).await;
        assert!(matches!(asked, Message::Nodes(Nodes::Cover { .. })), "{asked}");
        send(&*connection, Lane::Repair, &Message::EventList(EventList::Cells(cells))).await;
        victim.cuts_off(&*connection, "strange_cells", "cells that nobody asked for").await;
    }
}

/// The cells of a snapshot are not the first ones, or those of another mapping.
#[tokio::test]
async fn strange_cells_in_a_snapshot() {
    for cells in [Cells::part(Mapping::Regular, 5..9), Cells::new(Mapping::Irregular, FIRST_CELLS)] {
        let victim = victim().await;
        victim.replica.put("held", "here").await.unwrap();
        let connection = victim.settled().await;
        let (root, count) = (Hash::from_bytes([3; 32]), 1_000);
        let snapshot = Snapshot { span: past(END), root, count, cells: Some(cells), answer: false };
        send(&*connection, Lane::Live, &Message::Snapshot(snapshot)).await;
        victim.cuts_off(&*connection, "malformed", "a Snapshot with a field that is out of bounds").await;
    }
}

#[tokio::test]
async fn wishes_for_what_does_not_exist() {
    let victim = victim().await;
    let connection = victim.settled().await;
    for number in 0..100_u8 {
        let event_key =
            EventKey { timestamp: Timestamp::from_millis(1), id: EventId::from_bytes([number; 32]) };
        send(&*connection, Lane::Live, &Message::NeedEvents(NeedEvents::At(vec![event_key]))).await;
    }
    victim.cuts_off(&*connection, "no_such_events", "asked 17 times for events that do not exist").await;
}

#[tokio::test]
async fn listed_wishes_for_what_does_not_exist() {
    let victim = victim().await;
    let connection = victim.settled().await;
    for number in 0..100 {
        let list = listed(Stretch::of(past(END)), 48, &[number]);
        send(&*connection, Lane::Repair, &Message::NeedEvents(NeedEvents::Of(vec![list]))).await;
    }
    victim.cuts_off(&*connection, "no_such_events", "for events that do not exist").await;
}

/// Nodes and spans outside of the compared one.
#[tokio::test]
async fn nodes_that_were_not_asked_about() {
    let node = NodeDigest { index: 0, count: 1, hash: ShortHash([1; 8]) };
    let last = Timestamp::from_millis(END);
    let later = Parent { node: NodePosition { level: 1, index: END / 60_000 }, children: vec![node] };
    for differing_there in [
        Differing::Count(TimeSpan::from(last), 1),
        Differing::Count(TimeSpan::new(Timestamp::MIN, last).unwrap(), 1),
        Differing::Children(later),
    ] {
        let victim = victim().await;
        victim.replica.put("held", "here").await.unwrap();
        let connection = victim.settled().await;
        send(&*connection, Lane::Live, &differing(1_000)).await;
        let asked = question(&*connection).await;
        assert!(matches!(asked, Message::Nodes(Nodes::Cover { .. })), "{asked}");
        let differing_there = Message::Nodes(Nodes::Differing(vec![differing_there]));
        send(&*connection, Lane::Repair, &differing_there).await;
        victim.cuts_off(&*connection, "strange_nodes", "nodes that nobody asked about").await;
    }
}

/// Every answer of this neighbour says that there is more before a time that was not reached yet, which provokes the
/// same list of all held events again.
#[tokio::test]
async fn answers_that_promise_more_and_more() {
    let victim = victim().await;
    let events: Vec<_> = (0..40_000).map(|ms| event("held", ms)).collect();
    for batch in events.chunks(4_000) {
        victim.replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap();
    }
    let connection = victim.settled().await;
    let lacked_in = Message::EventList(EventList::LackedIn(vec![past(END)]));
    send(&*connection, Lane::Repair, &lacked_in).await;
    let mut asked = 0;
    let promising = async {
        while let Some(message) = receive(&*connection, Lane::Repair).await {
            if matches!(message, Message::EventList(EventList::Held(_))) {
                asked += 1;
                let never_reached = event("never", END).event_key();
                send(&*connection, Lane::Repair, &answer(End::Before(never_reached), Vec::new())).await;
            }
            if asked == 1_000 {
                return;
            }
        }
    };
    let promising = tokio::time::timeout(std::time::Duration::from_secs(10), promising).await;
    assert!(asked < 1_000, "it is asked the same again and again: {promising:?}");
    victim.others_go_on().await;
}

#[tokio::test]
async fn one_that_takes_nothing_and_asks_for_everything() {
    let victim = victim().await;
    let big = vec![b'v'; 1 << 20];
    for number in 0..64_u8 {
        victim.replica.put(format!("big {number}"), big.clone()).await.unwrap();
    }
    let connection = victim.settled().await;
    // The neighbour requests 64 MiB a thousand times over, and reads none of it.
    let question = Message::EventList(EventList::Held(vec![listed(Stretch::of(past(END)), 8, &[])]));
    let asking = async {
        for _ in 0..1_000 {
            send(&*connection, Lane::Repair, &question).await;
        }
    };
    // Requests are dropped while nobody reads the answers.
    let shed = until(&victim.replication, |replication| replication.totals().shed > 0);
    let both = async { tokio::join!(asking, shed) };
    let both = tokio::time::timeout(NEVER, both).await;
    assert!(
        both.is_ok(),
        "questions are dropped while nobody takes the answers: {:?}",
        victim.replication.totals()
    );
    victim.others_go_on().await;
}

/// An endless supply of sound new events: no fault, but no privilege either.
#[tokio::test]
async fn one_that_writes_more_than_anybody() {
    let victim = victim().await;
    let connection = victim.settled().await;
    let flooding = async {
        for push in 0..400 {
            let events = (0..256).map(|number| event("flood", push * 256 + number)).collect();
            send(&*connection, Lane::Live, &Message::Push(Push { source: Source::UNKNOWN, events })).await;
        }
    };
    tokio::join!(flooding, victim.others_go_on());
    victim.others_go_on().await;
    assert!(victim.replication.totals().faults.is_empty());
    // All of them reach the friend, although they exceed every queue.
    let all = async {
        while victim.friend.0.root().await.unwrap().count < 400 * 256 + 2 {
            friend_agrees(&victim.friend.1).await;
        }
    };
    tokio::time::timeout(NEVER, all).await.expect("the friend gets everything");
}
