//! The promise: an event with a damaged stored copy is requested from the neighbours and mended from a sound copy,
//! after any kind of read; until then it stays on a list. No neighbour is asked for long for events that it lacks.

use std::sync::Arc;
use std::time::Duration;

use crate::support::Kept;
use crate::support::running::{BEGINNING, Running};
use crate::support::scripted::{handshake, receive, send};
use crate::support::waiting::{NEVER, until};
use aevrion_core::message::{EventList, Events, Message, NeedEvents, Reply, Snapshot};
use aevrion_core::replication::{Peer, Replication};
use aevrion_core::store::{Durability, EventStore, Table, WriteBatch};
use aevrion_core::transport::memory::MemoryNetwork;
use aevrion_core::transport::{Lane, Transport};
use aevrion_core::{Event, EventKey, NodeId, Options, ReadError, Replica, Timestamp, Value};
use bytes::Bytes;
use tokio::time::Instant;

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

/// Key and value of the events: some have bodies of their own.
fn event(number: u64) -> Event {
    let value = if number.is_multiple_of(2) { vec![b'v'; 9_000] } else { b"value".to_vec() };
    let key = format!("key {number}").into_bytes();
    Event::new(key.into(), Value::Data(value.into()), Timestamp::from_millis(1_000 + number)).unwrap()
}

const SMALL: u64 = 7;
const LARGE: u64 = 8;

fn row_key(event_key: EventKey) -> Bytes {
    [&event_key.timestamp.as_millis().to_be_bytes()[..], event_key.id.as_bytes()].concat().into()
}

/// Changes a row of an event without the replica's knowledge.
async fn spoil(store: &Kept, table: Table, event: &Event, change: impl FnOnce(&mut Vec<u8>)) {
    let key = row_key(event.event_key());
    let row = store.view().await.unwrap().get(table, &key).await.unwrap();
    let mut row = row.expect("it is stored").to_vec();
    change(&mut row);
    let mut batch = WriteBatch::new();
    batch.put(table, key, row);
    store.commit(batch, Durability::Immediate).await.unwrap();
}

fn flip(at: usize) -> impl FnOnce(&mut Vec<u8>) {
    move |row| row[at] ^= 0x10
}

struct Node {
    replica: Replica,
    replication: Replication,
    address: String,
    store: Kept,
    began: Instant,
}

impl Node {
    /// A node with these events, whose store `spoil` has damaged.
    async fn new(
        network: &MemoryNetwork,
        number: u8,
        events: &[Event],
        spoil: impl AsyncFnOnce(&Kept),
    ) -> Self {
        let (store, began) = (Kept::default(), Instant::now());
        let options = || {
            let wall = Arc::new(Running(began));
            Options::default().node(id(number)).wall(wall).index_batch(1)
        };
        let replica = Replica::open(store.clone(), options()).await.unwrap();
        replica.insert(events.to_vec(), Durability::Immediate).await.unwrap();
        replica.root().await.unwrap();
        replica.close().await.unwrap();
        spoil(&store).await;
        let replica = Replica::open(store.clone(), options()).await.unwrap();
        let transport = network.bind(id(number));
        let address = transport.address();
        let replication = replica.replicate_over(transport);
        Self { replica, replication, address, store, began }
    }

    async fn sound(network: &MemoryNetwork, number: u8, events: &[Event]) -> Self {
        Self::new(network, number, events, async |_: &Kept| {}).await
    }

    fn dials(&self, other: &Self) {
        self.replication.add_peer(Peer::over("memory", other.address.clone()));
    }

    fn standing(&self) -> Vec<EventKey> {
        self.replica.damaged_events().standing.into_iter().map(|(event_key, _)| event_key).collect()
    }

    /// Waits until nothing is damaged, and returns the number of mended events.
    async fn mended(&self) -> u64 {
        let mended = async {
            while !self.standing().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Failed requests are repeated after a minute.
        let mended = tokio::time::timeout(NEVER * 2, mended).await;
        mended.unwrap_or_else(|_| panic!("it is not mended: {:?}", self.replication.totals()));
        self.replica.damaged_events().mended
    }

    async fn holds_soundly(&self, event: &Event) {
        let found = self.replica.get_event(event.key(), self.replica.now()).await.unwrap();
        assert_eq!(found.as_ref(), Some(event));
        let found = self.replica.verify(|_| {}).await.unwrap();
        assert!(found.is_clean(), "{found:?}");
    }

    async fn fails_to_read(&self, event: &Event) {
        let read = self.replica.get(event.key()).await;
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
    }

    fn received(&self, message: &str) -> u64 {
        self.replication.totals().messages.get(message).map_or(0, |flow| flow.received)
    }
}

fn events() -> Vec<Event> {
    (0..20).map(event).collect()
}

/// Every way to spoil a stored event: the damaged row, the damage, and the event.
async fn spoil_in_every_way(way: usize, store: &Kept) -> Event {
    let (small, large) = (event(SMALL), event(LARGE));
    match way {
        // Offset 12 is behind the flags, the length of the key, and the key.
        0 => spoil(store, Table::Events, &small, flip(12)).await,
        1 => spoil(store, Table::Events, &small, flip(6)).await,
        2 => spoil(store, Table::Events, &small, flip(0)).await,
        3 => spoil(store, Table::Events, &small, |row| row.truncate(3)).await,
        4 => spoil(store, Table::Bodies, &large, flip(5_000)).await,
        5 => spoil(store, Table::Events, &large, flip(6)).await,
        _ => {
            let mut batch = WriteBatch::new();
            batch.remove(Table::Bodies, row_key(large.event_key()));
            store.commit(batch, Durability::Immediate).await.unwrap();
        }
    }
    if (4..=6).contains(&way) { large } else { small }
}

#[tokio::test]
async fn what_a_read_finds_damaged_is_mended_by_a_neighbour_and_read_again() {
    for way in 0..7 {
        let network = MemoryNetwork::new();
        let mut spoilt = None;
        let node = Node::new(&network, 1, &events(), async |store: &Kept| {
            spoilt = Some(spoil_in_every_way(way, store).await);
        })
        .await;
        let spoilt = spoilt.unwrap();
        node.fails_to_read(&spoilt).await;
        assert_eq!(node.standing(), [spoilt.event_key()], "way {way}");
        let root = node.replica.root().await.unwrap();
        let neighbour = Node::sound(&network, 2, &events()).await;
        node.dials(&neighbour);
        assert_eq!(node.mended().await, 1, "way {way}");
        node.holds_soundly(&spoilt).await;
        assert_eq!(node.replica.root().await.unwrap(), root);
        assert_eq!(neighbour.received("NeedEvents"), 1);
        assert_eq!(node.replica.damaged_events().mended, 1, "counted once");
    }
}

/// After any read that finds the damage, the connected neighbour is asked.
#[tokio::test]
async fn whoever_comes_upon_damage_has_it_mended() {
    let spoilt = event(SMALL);
    for finder in ["get", "history", "scan", "export", "watch", "verify", "rebuild", "a neighbour"] {
        let network = MemoryNetwork::new();
        let node = Node::new(&network, 1, &events(), async |store: &Kept| {
            spoil(store, Table::Events, &event(SMALL), flip(12)).await;
        })
        .await;
        let neighbour = Node::sound(&network, 2, &events()).await;
        node.dials(&neighbour);
        node.replication.agreement().await;
        assert_eq!(neighbour.received("NeedEvents"), 0);
        let replica = &node.replica;
        let _third = match finder {
            "get" => replica.get(spoilt.key()).await.map(|_| None).unwrap_or_default(),
            "history" => {
                replica.history(spoilt.key(), &Default::default()).await.map(|_| None).unwrap_or_default()
            }
            "scan" => replica.scan(&Default::default()).await.map(|_| None).unwrap_or_default(),
            "export" => replica.export().unwrap().next().await.map(|_| None).unwrap_or_default(),
            "watch" => {
                let beginning = replica.watch("", None).unwrap().cursor().to_string();
                let (store, _) = beginning.rsplit_once('-').unwrap();
                let mut watch = replica.watch("", Some(format!("{store}-0").parse().unwrap())).unwrap();
                while watch.next().await.is_ok() {}
                None
            }
            "verify" => replica.verify(|_| {}).await.map(|_| None).unwrap(),
            "rebuild" => replica.rebuild(|_| {}).await.map(|_| None).unwrap(),
            _ => {
                // The third node lacks all events, and receives all others.
                let third = Node::sound(&network, 3, &[]).await;
                third.dials(&node);
                Some(third)
            }
        };
        until(&node.replication, |_| node.replica.damaged_events().mended == 1).await;
        node.mended().await;
        node.holds_soundly(&spoilt).await;
        assert_eq!(neighbour.received("NeedEvents"), 1, "{finder}");
    }
}

#[tokio::test]
async fn without_a_neighbour_it_stands_until_a_sound_copy_is_imported() {
    let network = MemoryNetwork::new();
    let (small, large) = (event(SMALL), event(LARGE));
    let node = Node::new(&network, 1, &events(), async |store: &Kept| {
        spoil(store, Table::Events, &event(SMALL), flip(6)).await;
        spoil(store, Table::Bodies, &event(LARGE), flip(6)).await;
    })
    .await;
    let before = node.replica.now();
    node.fails_to_read(&small).await;
    node.fails_to_read(&large).await;
    let report = node.replica.damaged_events();
    assert_eq!((report.standing.len(), report.mended, report.more), (2, 0, false));
    assert!((before..=node.replica.now()).contains(&report.standing[0].1), "{report:?}");
    // The same event, and a newer one of its key.
    let newer = Event::new(small.key().clone(), Value::Deletion, Timestamp::from_millis(9_000)).unwrap();
    node.replica.insert(vec![newer], Durability::Immediate).await.unwrap();
    assert_eq!(node.standing(), [small.event_key(), large.event_key()]);
    let inserted = node.replica.insert(events(), Durability::Immediate).await.unwrap();
    assert_eq!((inserted.new, inserted.known), (0, 20));
    assert_eq!((node.standing(), node.replica.damaged_events().mended), (Vec::new(), 2));
    node.holds_soundly(&large).await;
}

/// A key that was damaged before its event was indexed is unreachable: opening finds the damage, reads do not.
#[tokio::test]
async fn a_key_that_was_spoilt_before_it_was_indexed_is_found_again_for_good() {
    let network = MemoryNetwork::new();
    let spoilt = event(SMALL);
    let store = Kept::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    replica.insert(events(), Durability::Immediate).await.unwrap();
    replica.close().await.unwrap();
    spoil(&store, Table::Events, &spoilt, flip(6)).await;
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    assert_eq!(replica.status().await.unwrap().pending_index_rows, 20);
    assert_eq!(replica.damaged_events().standing.len(), 1, "it is found when the index is made again");
    // The stored index row now has the wrong key, too.
    replica.close().await.unwrap();
    let options = Options::default().index_batch(1);
    let replica = Replica::open(store.clone(), options).await.unwrap();
    replica.put("any", "value").await.unwrap();
    replica.close().await.unwrap();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let read = replica.verify(|_| {}).await.unwrap();
    assert_eq!((read.lost.len(), replica.status().await.unwrap().pending_index_rows), (1, 0));
    let neighbour = Node::sound(&network, 2, &events()).await;
    let replication = replica.replicate_over(network.bind(id(1)));
    replication.add_peer(Peer::over("memory", neighbour.address.clone()));
    until(&replication, |_| replica.damaged_events().mended == 1).await;
    replication.close().await;
    replica.close().await.unwrap();
    let replica = Replica::open(store, Options::default()).await.unwrap();
    let found = replica.get_event(spoilt.key(), replica.now()).await.unwrap();
    assert_eq!(found, Some(spoilt), "also after a restart");
    let mut scrub = replica.scrub().await.unwrap();
    while !scrub.step(100).await.unwrap().ended {}
    let found = scrub.report().last.unwrap();
    assert_eq!((found.found, found.mended), (2, 2), "the row under the wrong key, and that it was counted");
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

/// A misread event is sound, and does not count as mended.
#[tokio::test]
async fn damage_that_is_gone_again_is_struck_off() {
    let network = MemoryNetwork::new();
    let node = Node::new(&network, 1, &events(), async |store: &Kept| {
        spoil(store, Table::Events, &event(SMALL), flip(12)).await;
    })
    .await;
    node.fails_to_read(&event(SMALL)).await;
    spoil(&node.store, Table::Events, &event(SMALL), flip(12)).await;
    node.replica.put("any", "write shows the readers what stands there").await.unwrap();
    let neighbour = Node::sound(&network, 2, &events()).await;
    node.dials(&neighbour);
    assert_eq!(node.mended().await, 0);
    node.holds_soundly(&event(SMALL)).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_has_it_damaged_too_is_passed_over_for_the_next() {
    let network = MemoryNetwork::new();
    let spoilt = async |store: &Kept| spoil(store, Table::Events, &event(SMALL), flip(12)).await;
    let node = Node::new(&network, 1, &events(), spoilt).await;
    let (other, sound) =
        (Node::new(&network, 2, &events(), spoilt).await, Node::sound(&network, 3, &events()).await);
    // The nodes without a sound copy come first, in every direction; the sound one is reached last.
    node.dials(&other);
    node.replication.agreement().await;
    node.fails_to_read(&event(SMALL)).await;
    until(&node.replication, |_| other.standing().len() == 1).await;
    sound.dials(&node);
    let began = Instant::now();
    assert_eq!(node.mended().await, 1);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(other.mended().await, 1, "it has learned of its damage by being asked, and asks itself");
    for node in [&node, &other] {
        node.holds_soundly(&event(SMALL)).await;
        assert!(node.replication.totals().faults.is_empty());
    }
}

/// The content is intact, but under an invalid event key: it is missing at its place, and the misplaced row belongs to
/// no event. In the end both nodes hold the same again.
#[tokio::test]
async fn a_row_whose_own_key_is_garbled_is_brought_back_and_the_misplaced_one_goes() {
    let network = MemoryNetwork::new();
    let victim = event(SMALL);
    for at in [10, 35] {
        let node = Node::new(&network, 1, &events(), async |store: &Kept| {
            let key = row_key(event(SMALL).event_key());
            let row = store.view().await.unwrap().get(Table::Events, &key).await.unwrap().unwrap();
            let (mut batch, mut garbled) = (WriteBatch::new(), key.to_vec());
            garbled[at] ^= 0x10;
            batch.remove(Table::Events, key);
            batch.put(Table::Events, garbled, row);
            store.commit(batch, Durability::Immediate).await.unwrap();
        })
        .await;
        let neighbour = Node::sound(&network, 2, &events()).await;
        let root = neighbour.replica.root().await.unwrap();
        node.dials(&neighbour);
        node.replication.agreement().await;
        node.fails_to_read(&victim).await;
        let mut scrub = node.replica.scrub().await.unwrap();
        while !scrub.step(100).await.unwrap().ended {}
        node.replication.compare();
        until(&node.replication, |_| node.replication.neighbours().iter().any(|one| one.received == 1)).await;
        while !scrub.step(100).await.unwrap().ended {}
        assert_eq!(node.standing(), [], "nobody is asked for it any more");
        node.holds_soundly(&victim).await;
        assert_eq!(node.replica.root().await.unwrap(), root);
        node.replication.agreement().await;
        assert!(neighbour.replication.totals().faults.is_empty());
    }
}

/// A node has the only copy of an event, which is damaged: its neighbour cannot get it, and nobody can mend it. The
/// difference remains, at very little cost.
#[tokio::test(start_paused = true)]
async fn a_neighbour_that_lacks_it_is_bothered_ever_more_rarely_and_nobody_is_cut_off() {
    let network = MemoryNetwork::new();
    let (lost, others) =
        (event(SMALL), events().into_iter().filter(|one| *one != event(SMALL)).collect::<Vec<_>>());
    let node = Node::new(&network, 1, &events(), async |store: &Kept| {
        spoil(store, Table::Events, &event(SMALL), flip(12)).await;
    })
    .await;
    let behind = Node::sound(&network, 2, &others).await;
    node.dials(&behind);
    until(&node.replication, |_| node.standing() == [lost.event_key()]).await;
    let messages =
        |node: &Node| node.replication.totals().messages.values().map(|flow| flow.sent).sum::<u64>();
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    let (before, asked) = (messages(&node) + messages(&behind), behind.received("NeedEvents"));
    assert!((1..=8).contains(&asked), "asked {asked} times in the first hour");
    tokio::time::sleep(Duration::from_secs(6 * 60 * 60)).await;
    let (after, asked) =
        (messages(&node) + messages(&behind) - before, behind.received("NeedEvents") - asked);
    assert!((5..=8).contains(&asked), "asked {asked} times in six hours");
    assert!(
        after < 6 * 60 * 30,
        "{after} messages in six hours between two that differ by what nobody can send"
    );
    for node in [&node, &behind] {
        assert!(node.replication.totals().faults.is_empty(), "{:?}", node.replication.totals());
        assert_eq!(node.replication.neighbours().iter().filter(|one| one.is_connected()).count(), 1);
    }
    assert_eq!(node.standing(), [lost.event_key()], "it stands until it is mended");
    // A node with the event connects: then all have the event.
    let sound = Node::sound(&network, 3, &events()).await;
    sound.dials(&node);
    assert_eq!(node.mended().await, 1);
    tokio::time::timeout(Duration::from_secs(180), behind.replication.agreement()).await.expect("they agree");
    behind.holds_soundly(&lost).await;
}

/// The damaged events of a node are found repeatedly, and its neighbour has none of them although both have agreed.
#[tokio::test(start_paused = true)]
async fn many_questions_in_vain_cost_no_connection() {
    let network = MemoryNetwork::new();
    let spoil_all = async |store: &Kept| {
        for number in 0..20 {
            spoil(store, Table::Events, &event(number), flip(6)).await;
        }
    };
    let node = Node::new(&network, 1, &events(), spoil_all).await;
    let other = Node::new(&network, 2, &events(), async |store: &Kept| {
        // The hashes still include all events.
        let mut batch = WriteBatch::new();
        events().iter().for_each(|event| batch.remove(Table::Events, row_key(event.event_key())));
        store.commit(batch, Durability::Immediate).await.unwrap();
    })
    .await;
    node.dials(&other);
    node.replication.agreement().await;
    for number in 0..20 {
        node.fails_to_read(&event(number)).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert!(other.received("NeedEvents") > 8, "{}", other.received("NeedEvents"));
    assert!(other.replication.totals().faults.is_empty(), "{:?}", other.replication.totals());
}

/// A scripted neighbour that is asked for the damaged event, and replies with `answer`.
async fn asked(answer: Event) -> (Node, String) {
    let network = MemoryNetwork::new();
    let node = Node::new(&network, 1, &events(), async |store: &Kept| {
        spoil(store, Table::Events, &event(SMALL), flip(12)).await;
    })
    .await;
    let hostile = network.bind(id(9));
    let connection = hostile.dial(&node.address).await.unwrap();
    handshake(&*connection, id(9), &[]).await;
    node.fails_to_read(&event(SMALL)).await;
    // The neighbour claims to agree.
    let (root, span) =
        (node.replica.root().await.unwrap(), aevrion_core::TimeSpan::before(BEGINNING).unwrap());
    let snapshot = Snapshot { span, root: root.hash, count: root.count, cells: None, answer: true };
    send(&*connection, Lane::Live, &Message::Snapshot(snapshot)).await;
    let wanted = loop {
        match receive(&*connection, Lane::Live).await.expect("it goes on") {
            Message::NeedEvents(NeedEvents::At(wanted)) => break wanted,
            Message::EventList(EventList::Announced { .. }) | Message::Snapshot(_) | Message::Hello(_) => {}
            other => panic!("it says {other}"),
        }
    };
    assert_eq!(wanted, [event(SMALL).event_key()]);
    let events = Events { reply: Reply::At { more: false }, events: vec![answer] };
    send(&*connection, Lane::Live, &Message::Events(events)).await;
    let end = async {
        while let Ok(Some(_)) = connection.receive(Lane::Live, 1 << 20).await {
            if node.standing().is_empty() {
                return "mended".to_owned();
            }
        }
        "cut off".to_owned()
    };
    let end = tokio::time::timeout(NEVER, async {
        tokio::select! {
            end = end => end,
            () = until(&node.replication, |_| node.standing().is_empty()) => "mended".to_owned(),
        }
    });
    let end = end.await.expect("it has an end");
    (node, end)
}

#[tokio::test]
async fn a_wrong_copy_changes_nothing_and_ends_the_connection() {
    let wrong =
        Event::new(event(SMALL).key().clone(), Value::Data("forged".into()), event(SMALL).timestamp());
    let (node, end) = asked(wrong.unwrap()).await;
    assert_eq!(end, "cut off");
    assert_eq!(node.replication.totals().faults.get("unasked"), Some(&1));
    assert_eq!(node.standing(), [event(SMALL).event_key()]);
    assert_eq!(node.replica.root().await.unwrap().count, 20);
    node.fails_to_read(&event(SMALL)).await;
    let (node, end) = asked(event(SMALL)).await;
    assert_eq!(end, "mended");
    node.holds_soundly(&event(SMALL)).await;
    assert!(node.began.elapsed() < NEVER);
}
