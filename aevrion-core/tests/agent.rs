//! One agent beside others: its requests, the frequency of its comparisons, and its limits for a greedy neighbour. The
//! neighbours are scripted, so that they can fail in every way.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::node::{
    NOW, Node, SECOND, answer, differing, differing_in_short, event, messages, past, questions, snapshot,
    snapshots,
};
use aevrion_core::agent::{
    Activity, ByLane, CheckedHashes, Input, LineState, Origin, Output, ReplicaView, Walked,
};
use aevrion_core::bounds::FIRST_CELLS;
use aevrion_core::message::{
    Digest, End, EventList, Events, Message, NeedEvents, NodeDigest, Push, Reply, Snapshot, Source, decode,
    encode,
};
use aevrion_core::sketch::{Cells, Mapping, SketchKey};
use aevrion_core::store::Durability;
use aevrion_core::tree::{NodePosition, Root};
use aevrion_core::{Event, EventKey, Hash, Parameters, ReadError, Replica, TimeSpan, Timestamp};

fn announced(event: &Event) -> Message {
    announcement(vec![event.event_key()])
}

fn announcement(event_keys: Vec<EventKey>) -> Message {
    Message::EventList(EventList::Announced { source: Source::UNKNOWN, event_keys })
}

fn asks_for(messages: &[Message]) -> Vec<EventKey> {
    let asked = messages.iter().filter_map(|message| match message {
        Message::NeedEvents(NeedEvents::At(event_keys)) => Some(event_keys.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

#[tokio::test]
async fn what_one_neighbour_does_not_bring_is_asked_of_the_other() {
    let mut node = Node::new(5, 60_000).await;
    let event = event("late");
    let first = messages(node.hear(0, announced(&event)).await);
    assert_eq!(asks_for(&first), [event.event_key()]);
    let second = messages(node.hear(1, announced(&event)).await);
    assert_eq!(asks_for(&second), [], "one is asked at a time");
    let later = node.pass(1, SECOND * 3).await;
    assert_eq!(asks_for(&later), [event.event_key()], "the other has had its time");
}

#[tokio::test]
async fn what_a_neighbour_takes_with_it_is_asked_of_the_other() {
    let mut node = Node::new(5, 60_000).await;
    let event = event("gone");
    node.hear(0, announced(&event)).await;
    node.hear(1, announced(&event)).await;
    node.agents[0].disconnected();
    assert_eq!(asks_for(&node.pass(1, SECOND * 3).await), [event.event_key()]);
}

#[tokio::test]
async fn what_one_neighbour_brings_is_not_asked_of_the_other() {
    let mut node = Node::new(5, 60_000).await;
    let event = event("in time");
    node.hear(0, announced(&event)).await;
    node.hear(1, announced(&event)).await;
    let reply = Events { reply: Reply::At { more: false }, events: vec![event.clone()] };
    let outputs = node.hear(0, Message::Events(reply)).await;
    assert!(outputs.iter().any(|output| matches!(output, Output::Store(_, Origin::Pushed(_)))));
    node.replica.insert(vec![event], Durability::Immediate).await.unwrap();
    assert_eq!(asks_for(&node.pass(1, SECOND * 10).await), []);
}

#[tokio::test]
async fn whoever_announces_again_and_again_does_not_keep_others_from_bringing_it() {
    let mut node = Node::new(5, 60_000).await;
    let event = event("promised");
    node.hear(0, announced(&event)).await;
    node.steady += SECOND / 20;
    node.hear(1, announced(&event)).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        // At a moment of its choice.
        node.steady += Duration::from_millis(500);
        node.hear(0, announced(&event)).await;
        node.steady += Duration::from_millis(1);
        node.hear(0, announced(&event)).await;
        let now = node.now();
        if node.wake_at(1).is_some_and(|at| at <= now.steady) {
            let outputs = node.tell(1, Input::Woken).await;
            asked.extend(asks_for(&messages(outputs)));
        }
    }
    assert_eq!(asked, [event.event_key()]);
}

#[tokio::test]
async fn what_is_being_stored_is_not_asked_of_the_other() {
    let mut node = Node::new(5, 60_000).await;
    let (pushed, fetched) = (event("pushed"), event("fetched"));
    node.hear(0, Message::Push(Push { source: Source::UNKNOWN, events: vec![pushed.clone()] })).await;
    node.hear(0, announced(&fetched)).await;
    let reply = Events { reply: Reply::At { more: false }, events: vec![fetched.clone()] };
    node.hear(0, Message::Events(reply)).await;
    for event in [&pushed, &fetched] {
        assert_eq!(asks_for(&messages(node.hear(1, announced(event)).await)), []);
    }
    // But if the disk took neither, the remaining neighbours are asked.
    let mut asked = asks_for(&node.pass(1, SECOND * 3).await);
    asked.sort_unstable();
    let mut both = [pushed.event_key(), fetched.event_key()];
    both.sort_unstable();
    assert_eq!(asked, both);
}

#[tokio::test]
async fn however_much_one_neighbour_did_not_bring_the_other_can_read_what_it_is_asked() {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..20_000).map(|number| event(&number.to_string()).event_key()).collect();
    for neighbour in 0..2 {
        for some in events.chunks(10_000) {
            node.hear(neighbour, announcement(some.to_vec())).await;
        }
    }
    // The link was busy for a while, so that everything is due at once.
    node.steady += SECOND * 2 + SECOND / 20;
    let said = messages(node.tell(1, Input::Woken).await);
    assert_eq!(asks_for(&said).len(), events.len());
    for message in said {
        assert_eq!(decode(&encode(&message), &Parameters::default()).as_ref(), Ok(&message));
    }
}

#[tokio::test]
async fn a_flood_of_snapshots_is_not_answered_one_by_one() {
    let mut node = Node::new(5, 60_000).await;
    node.pass(0, SECOND).await;
    let mut answers = 0;
    for number in 0..10_000 {
        answers += snapshots(&messages(node.hear(0, differing_in_short(NOW - number)).await));
    }
    assert!((1..=256).contains(&answers), "{answers} answers");
    // One comparison makes up for the omitted announcements.
    assert!(snapshots(&node.pass(0, SECOND).await) >= 1);
}

#[tokio::test]
async fn while_one_neighbour_repairs_the_other_is_not_compared_with_again_and_again() {
    let mut node = Node::new(5, 60_000).await;
    node.replica.insert(vec![event("held")], Durability::Immediate).await.unwrap();
    for neighbour in 0..2 {
        node.pass(neighbour, SECOND * 3).await;
    }
    // The first neighbour is asked.
    assert_eq!(questions(&messages(node.hear(0, differing(NOW)).await)).len(), 1);
    assert_eq!(node.agents[0].progress().activity, Activity::Repairing);
    // The other's snapshot must wait, without any reply meanwhile.
    node.hear(1, differing(NOW)).await;
    assert_eq!(snapshots(&node.pass(1, SECOND * 4).await), 0);
    node.agents[0].disconnected();
    assert!(snapshots(&node.pass(1, SECOND).await) >= 1, "its turn has come");
}

#[tokio::test]
async fn neighbours_compare_each_minute_however_long_a_leaf_is() {
    let mut node = Node::new(5, 86_400_000).await;
    node.pass(0, SECOND * 10).await;
    let hour = node.pass(0, SECOND * 3_600).await;
    assert!((58..=60).contains(&snapshots(&hour)), "{} snapshots in an hour", snapshots(&hour));
}

/// Events that one neighbour is sending, however slowly, are not requested from another.
#[tokio::test]
async fn what_is_awaited_of_one_neighbour_is_not_asked_of_the_other() {
    let mut node = Node::new(5, 60_000).await;
    assert_eq!(questions(&messages(node.hear(0, differing(NOW)).await)).len(), 1, "all is asked for");
    for _ in 0..9 {
        node.steady += SECOND;
        assert_eq!(questions(&messages(node.hear(1, differing(NOW)).await)).len(), 0);
    }
    // A frame is arriving.
    let (now, unread) = (node.now(), ByLane { repair: true, ..ByLane::default() });
    let line = LineState { unread, ..LineState::IDLE };
    node.agents[0].handle(Input::Woken, now, line, &node.replica).await.unwrap();
    node.steady += SECOND * 9;
    assert_eq!(questions(&messages(node.hear(1, differing(NOW)).await)).len(), 0);
    // When the frame stalls, the other neighbour is asked.
    node.pass(0, SECOND * 3).await;
    node.agents[0].disconnected();
    assert_eq!(questions(&messages(node.hear(1, differing(NOW)).await)).len(), 1);
}

/// A neighbour whose snapshot was skipped assumes that it was received: it is asked to send another.
#[tokio::test]
async fn whoever_was_passed_over_is_asked_again() {
    let mut node = Node::new(5, 60_000).await;
    assert_eq!(questions(&messages(node.hear(0, differing(NOW)).await)).len(), 1);
    assert_eq!(messages(node.hear(0, differing(NOW - 1)).await), [], "what differs is being asked for");
    // The answer is empty.
    node.hear(0, answer(End::Complete, Vec::new())).await;
    let said = node.pass(0, SECOND).await;
    let snapshot = said.iter().find_map(|message| match message {
        Message::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    let snapshot = snapshot.expect("it compares again");
    assert!(snapshot.cells.is_none() && snapshot.answer, "{snapshot:?}");
}

/// Agreement about an earlier time is no answer to a skipped snapshot.
#[tokio::test]
async fn what_was_passed_over_is_compared_after_an_agreement_about_less() {
    let mut node = Node::new(5, 60_000).await;
    node.pass(0, SECOND * 5).await;
    assert_eq!(questions(&messages(node.hear(0, differing(NOW - 1_000)).await)).len(), 1);
    assert_eq!(messages(node.hear(0, differing(NOW - 500)).await), [], "what differs is being asked for");
    let (root, count) = (Hash::EMPTY, 0);
    let equal = Snapshot { span: past(NOW - 1_000), root, count, cells: None, answer: false };
    node.hear(0, Message::Snapshot(equal)).await;
    node.hear(0, answer(End::Complete, Vec::new())).await;
    assert!(snapshots(&node.pass(0, SECOND).await) > 0, "it compares again");
}

/// A time that only one of the two clocks has passed is not settled, even if both hold the same: the other side may
/// still write in it.
#[tokio::test]
async fn nothing_is_settled_before_both_clocks_have_passed_it() {
    for (ahead, settled) in [(-200_000, NOW - 190_000), (0, NOW), (200_000, NOW)] {
        let mut node = Node::with_clock(5, 60_000, ahead).await;
        node.pass(0, SECOND * 5).await;
        let (root, count) = (Hash::EMPTY, 0);
        let equal = Snapshot { span: past(NOW), root, count, cells: None, answer: false };
        node.hear(0, Message::Snapshot(equal)).await;
        let until = node.agents[0].progress().agreement.until.unwrap().as_millis();
        assert!(until <= settled && until + 10_000 >= settled, "{ahead}: {until}, not about {settled}");
    }
}

/// A replica, and the number of events read to check its hashes.
struct Counting<'r>(&'r Replica, AtomicU64);

impl ReplicaView for Counting<'_> {
    async fn digest(&self, span: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        ReplicaView::digest(self.0, span).await
    }

    async fn children(
        &self,
        span: TimeSpan,
        parents: &[NodePosition],
    ) -> Result<Walked<Vec<Vec<NodeDigest>>>, ReadError> {
        ReplicaView::children(self.0, span, parents).await
    }

    async fn check_hashes(&self, span: TimeSpan) -> Result<CheckedHashes, ReadError> {
        let checked = ReplicaView::check_hashes(self.0, span).await?;
        self.1.fetch_add(checked.events, Ordering::SeqCst);
        Ok(checked)
    }

    fn sketch_key(&self) -> SketchKey {
        ReplicaView::sketch_key(self.0)
    }

    async fn cells(
        &self,
        span: TimeSpan,
        mapping: Mapping,
        range: Range<usize>,
    ) -> Result<Walked<Cells>, ReadError> {
        ReplicaView::cells(self.0, span, mapping, range).await
    }

    async fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> Result<Vec<EventKey>, ReadError> {
        ReplicaView::event_keys(self.0, span, before, most).await
    }

    async fn event(&self, event_key: EventKey) -> Result<Option<Event>, ReadError> {
        ReplicaView::event(self.0, event_key).await
    }

    async fn missing(&self, event_keys: &[EventKey]) -> Result<Vec<EventKey>, ReadError> {
        ReplicaView::missing(self.0, event_keys).await
    }
}

/// A neighbour that claims to differ but holds the same events makes this node check its hashes, at a limited rate.
#[tokio::test]
async fn a_neighbour_that_differs_without_reason_makes_no_endless_work() {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..100).map(|number| event(&number.to_string())).collect();
    node.replica.insert(events, Durability::Immediate).await.unwrap();
    let same = ReplicaView::cells(&node.replica, past(NOW), Mapping::Regular, 0..FIRST_CELLS).await;
    let same = same.unwrap().answer;
    let mut checked = 0;
    for _ in 0..3_600 {
        let mut said = messages(node.hear(0, snapshot(NOW, Some(same.clone()))).await);
        while !questions(&said).is_empty() {
            said = messages(node.hear(0, answer(End::Complete, Vec::new())).await);
        }
        node.steady += SECOND;
        let counting = Counting(&node.replica, AtomicU64::new(0));
        let now = node.now();
        node.agents[0].handle(Input::Woken, now, LineState::IDLE, &counting).await.unwrap();
        checked += counting.1.load(Ordering::SeqCst);
    }
    // A hundred each ten seconds, for an hour.
    assert!((1_000..=36_100).contains(&checked), "{checked} events were read");
    assert_eq!(node.replica.healed_hashes(), 0);
}

/// All neighbours compare the same span after a leaf has closed, despite different clocks: so its digest is computed
/// once.
#[tokio::test]
async fn what_is_compared_each_minute_ends_with_the_leaf_whatever_the_clocks_show() {
    let leaf = NOW / 60_000 + 1;
    for ahead in [-20_000, -300, -1, 0, 1, 300, 20_000] {
        let mut node = Node::with_clock(5, 60_000, ahead).await;
        node.pass(0, SECOND * 10).await;
        let said = node.pass(0, SECOND * 120).await;
        let past = said.iter().filter_map(|message| match message {
            Message::Snapshot(Snapshot { span, .. }) if span.first() == Timestamp::MIN => Some(span.last()),
            _ => None,
        });
        let ends: Vec<_> = past.map(Timestamp::as_millis).collect();
        assert_eq!(ends, [leaf * 60_000 - 1, (leaf + 1) * 60_000 - 1], "{ahead} ms ahead");
    }
}
