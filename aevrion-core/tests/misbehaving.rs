//! Misbehaving neighbours. Each is cut off with a reason that both sides can read, is counted, and costs others
//! nothing: an honest neighbour continues meanwhile.

use std::sync::Arc;

use crate::support::scripted::{handshake, hello, receive, send, send_bytes};
use crate::support::waiting::{NEVER, until};
use aevrion_core::message::{
    Digest, EventList, Events, Hello, Ids, Listed, Message, NeedEvents, NodeDigest, Nodes, Parent, Push,
    Reply, Row, Share, Snapshot, encode,
};
use aevrion_core::replication::{NeighbourState, Peer, Replication};
use aevrion_core::store::{Durability, MemoryStore};
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{Connection, Lane, Transport, TransportError};
use aevrion_core::tree::NodePosition;
use aevrion_core::{Event, EventId, EventKey, Hash, NodeId, Options, Replica, TimeSpan, Timestamp, Value};

const HOSTILE: NodeId = NodeId::from_bytes([9; 32]);

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

/// The span of a received snapshot. The lanes are read independently: the answer confirms receipt.
async fn compared(connection: &dyn Connection) -> TimeSpan {
    let span = TimeSpan::before(Timestamp::from_millis(1 << 42)).unwrap();
    let snapshot = Snapshot { span, root: Hash::EMPTY, count: 0, digest: None, answer: true };
    send(connection, Lane::Live, &Message::Snapshot(snapshot)).await;
    loop {
        match receive(connection, Lane::Live).await {
            Some(Message::Snapshot(answer)) if answer.span == span => return span,
            Some(_) => {}
            None => panic!("a snapshot was not answered"),
        }
    }
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
        (|hello| hello.version = 3, "version 3 of the protocol, this node 2"),
        (|hello| hello.parameters.granularity = 1_000, "granularity is 60000 here and 1000 there"),
        (|hello| hello.space = "other".into(), "it keeps the space `other`, this node `default`"),
        (|hello| hello.node = NodeId::from_bytes([1; 32]), "has proven to be"),
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
    send(&*connection, Lane::Live, &Message::Push(Push { events: vec![event("k", 1)] })).await;
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
    send(&*connection, Lane::Live, &Message::EventList(EventList::Announced(vec![promised]))).await;
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

#[tokio::test]
async fn a_block_with_events_outside_its_span() {
    let victim = victim().await;
    let connection = victim.settled().await;
    let span = TimeSpan::new(Timestamp::from_millis(0), Timestamp::from_millis(999)).unwrap();
    let events = Events {
        reply: Reply::Block { span, rest: None, last: false },
        events: vec![event("outside", 1_000)],
    };
    send(&*connection, Lane::Repair, &Message::Events(events)).await;
    victim.cuts_off(&*connection, "unasked", "that nobody asked for").await;
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
    let span = compared(&*connection).await;
    for number in 0..100_u8 {
        let ids = Ids::Full(vec![EventId::from_bytes([number; 32])]);
        let list = Listed { span, share: Share::WHOLE, ids };
        send(&*connection, Lane::Repair, &Message::NeedEvents(NeedEvents::Of(vec![list]))).await;
    }
    victim.cuts_off(&*connection, "no_such_events", "for events that do not exist").await;
}

#[tokio::test]
async fn nodes_that_are_not_children_of_what_was_asked() {
    let victim = victim().await;
    let connection = victim.settled().await;
    let span = TimeSpan::before(Timestamp::from_millis(10 * 60_000)).unwrap();
    let node = NodeDigest { index: 0, count: 1, hash: Hash::from_bytes([1; 32]) };
    let snapshot = Snapshot {
        span,
        root: Hash::from_bytes([2; 32]),
        count: 1,
        digest: Some(Digest { rows: vec![Row { level: 0, nodes: vec![node] }] }),
        answer: false,
    };
    send(&*connection, Lane::Live, &Message::Snapshot(snapshot)).await;
    let nodes = |span| {
        let parent = Parent { node: NodePosition { level: 1, index: 500 }, children: vec![node] };
        Message::Nodes(Nodes { span, parents: vec![parent] })
    };
    send(&*connection, Lane::Live, &nodes(span)).await;
    victim.cuts_off(&*connection, "strange_nodes", "not children of what was asked").await;
}

#[tokio::test]
async fn lists_of_a_span_that_was_never_compared() {
    let victim = victim().await;
    for wishes in [false, true] {
        let connection = victim.settled().await;
        let ids = Ids::Full(vec![EventId::from_bytes([1; 32])]);
        let list = vec![Listed { span: TimeSpan::ALL, share: Share::WHOLE, ids }];
        let message = if wishes {
            Message::NeedEvents(NeedEvents::Of(list))
        } else {
            Message::EventList(EventList::Held(list))
        };
        send(&*connection, Lane::Repair, &message).await;
        let reason = tokio::time::timeout(NEVER, end(&*connection)).await.expect("the connection ends");
        assert!(reason.contains("which no snapshot was about"), "{reason}");
    }
    assert_eq!(victim.replication.totals().faults.get("strange_span"), Some(&2));
    victim.others_go_on().await;
}

/// Each block of this neighbour claims a rest, which provokes a list of all events of this node there; it reads none.
#[tokio::test]
async fn blocks_that_promise_more_and_more() {
    let victim = victim().await;
    let events: Vec<_> = (0..40_000).map(|ms| event("held", ms)).collect();
    for batch in events.chunks(4_000) {
        victim.replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap();
    }
    let connection = victim.settled().await;
    let span = compared(&*connection).await;
    let block = |events| {
        Message::Events(Events { reply: Reply::Block { span, rest: Some(span), last: true }, events })
    };
    let promising = async {
        while victim.replication.totals().shed < 300 {
            send(&*connection, Lane::Repair, &block(Vec::new())).await;
        }
    };
    let promising = tokio::time::timeout(NEVER, promising).await;
    assert!(promising.is_ok(), "it is not asked on without end: {:?}", victim.replication.totals());
    // The events of the blocks are stored nonetheless.
    let mut watch = victim.replica.watch("brought", None).unwrap();
    send(&*connection, Lane::Repair, &block(vec![event("brought", 7)])).await;
    let brought = tokio::time::timeout(NEVER, watch.next()).await.expect("it is stored");
    assert_eq!(brought.unwrap().unwrap().event, event("brought", 7));
    assert!(victim.replication.totals().faults.is_empty(), "{:?}", victim.replication.totals());
    victim.others_go_on().await;
}

#[tokio::test]
async fn nodes_of_a_span_that_was_never_compared() {
    let victim = victim().await;
    let connection = victim.settled().await;
    let span = TimeSpan::new(Timestamp::from_millis(5), Timestamp::from_millis(6)).unwrap();
    send(&*connection, Lane::Repair, &Message::Nodes(Nodes { span, parents: Vec::new() })).await;
    victim.cuts_off(&*connection, "strange_span", "which no snapshot was about").await;
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
    let list = Listed { span: compared(&*connection).await, share: Share::WHOLE, ids: Ids::Full(Vec::new()) };
    let question = Message::EventList(EventList::Held(vec![list]));
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
            send(&*connection, Lane::Live, &Message::Push(Push { events })).await;
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
