//! Promise: the events of one source reach a neighbour that asked for one of them by pushes from then on; a needless
//! push ends; and a parent that fails is replaced without loss.

use std::time::Duration;

use crate::support::node::{Node, SECOND, event, id, messages};
use aevrion_core::agent::{Input, NewEvent, Origin};
use aevrion_core::bounds::PUSHED_BYTES;
use aevrion_core::message::{EventList, Message, NeedEvents, Push, Source};
use aevrion_core::store::Durability;
use aevrion_core::{Event, EventKey, Timestamp, Value};

/// A far node that writes.
const WRITER: Source = Source([9; 8]);
const OTHER_WRITER: Source = Source([8; 8]);

/// Longer than announcements are gathered, and shorter than a parent is awaited.
const MOMENT: Duration = Duration::from_millis(10);

fn announced(source: Source, event: &Event) -> Message {
    Message::EventList(EventList::Announced { source, event_keys: vec![event.event_key()] })
}

fn pushed(source: Source, event: &Event) -> Message {
    Message::Push(Push { source, events: vec![event.clone()] })
}

fn request(event: &Event) -> Message {
    Message::NeedEvents(NeedEvents::At(vec![event.event_key()]))
}

fn large(key: &'static str) -> Event {
    let value = Value::Data(vec![0; PUSHED_BYTES].into());
    Event::new(key.into(), value, Timestamp::from_millis(1_000)).unwrap()
}

fn asks_for(messages: &[Message]) -> Vec<EventKey> {
    let asked = messages.iter().filter_map(|message| match message {
        Message::NeedEvents(NeedEvents::At(event_keys)) => Some(event_keys.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

/// The node stores an event, and tells its neighbours. Returns what it tells each of them.
async fn stores(node: &mut Node, event: &Event, origin: Origin) -> [Vec<Message>; 2] {
    node.replica.insert(vec![event.clone()], Durability::Immediate).await.unwrap();
    let mut told = [Vec::new(), Vec::new()];
    for (neighbour, told) in told.iter_mut().enumerate() {
        let news = vec![NewEvent { event: event.clone(), origin }];
        *told = messages(node.tell(neighbour, Input::News(news)).await);
    }
    for (neighbour, told) in told.iter_mut().enumerate() {
        told.extend(node.pass(neighbour, MOMENT).await);
        told.retain(|message| !matches!(message, Message::Hello(_) | Message::Snapshot(_)));
    }
    told
}

/// A neighbour pushes an event to the node. Returns what the node tells each neighbour.
async fn comes(node: &mut Node, from: usize, source: Source, event: &Event) -> [Vec<Message>; 2] {
    node.hear(from, pushed(source, event)).await;
    let origin = Origin::Pushed(id(u8::try_from(from).unwrap() + 1));
    stores(node, event, origin).await
}

/// A node whose second neighbour has asked for an event of the writer that the first one had pushed.
async fn grafted() -> Node {
    let mut node = Node::new(5, 60_000).await;
    let first = event("first");
    let [back, on] = comes(&mut node, 0, WRITER, &first).await;
    assert_eq!((back, on), (vec![], vec![announced(WRITER, &first)]));
    let answer = messages(node.hear(1, request(&first)).await);
    assert_eq!(answer[0].events(), [first]);
    node
}

#[tokio::test]
async fn what_follows_an_event_that_was_asked_for_is_pushed() {
    let mut node = grafted().await;
    let [back, on] = comes(&mut node, 0, WRITER, &event("second")).await;
    assert_eq!((back, on), (vec![], vec![pushed(WRITER, &event("second"))]));
    // So it is whichever neighbour brings it, but not with another source.
    let [_, on] = comes(&mut node, 0, OTHER_WRITER, &event("other")).await;
    assert_eq!(on, [announced(OTHER_WRITER, &event("other"))]);
    let [_, on] = comes(&mut node, 0, Source::UNKNOWN, &event("unknown")).await;
    assert_eq!(on, [announced(Source::UNKNOWN, &event("unknown"))]);
}

#[tokio::test]
async fn large_and_repaired_events_are_announced_to_everyone() {
    let mut node = grafted().await;
    let [_, on] = comes(&mut node, 0, WRITER, &large("large")).await;
    assert_eq!(on, [announced(WRITER, &large("large"))]);
    let [_, on] = stores(&mut node, &event("repaired"), Origin::Repaired(id(1))).await;
    assert_eq!(on, [announced(Source::UNKNOWN, &event("repaired"))]);
}

#[tokio::test]
async fn own_writes_are_pushed_to_all() {
    let mut node = Node::new(5, 60_000).await;
    let told = stores(&mut node, &event("own"), Origin::Local).await;
    let push = pushed(id(5).into(), &event("own"));
    assert_eq!(told, [vec![push.clone()], vec![push]]);
}

#[tokio::test]
async fn a_needless_push_ends() {
    for needless in [announced(WRITER, &event("second")), pushed(WRITER, &event("second"))] {
        let mut node = grafted().await;
        comes(&mut node, 0, WRITER, &event("second")).await;
        // The neighbour has the event from elsewhere, and says so.
        node.hear(1, needless).await;
        let [_, on] = comes(&mut node, 0, WRITER, &event("third")).await;
        assert_eq!(on, [announced(WRITER, &event("third"))]);
    }
}

#[tokio::test]
async fn what_the_parent_is_about_to_push_is_asked_of_nobody() {
    let mut node = grafted().await;
    let second = event("second");
    assert_eq!(asks_for(&messages(node.hear(1, announced(WRITER, &second)).await)), []);
    comes(&mut node, 0, WRITER, &second).await;
    assert_eq!(asks_for(&node.pass(1, SECOND * 10).await), []);
}

#[tokio::test]
async fn what_the_parent_announces_is_asked_of_it_at_once() {
    let mut node = grafted().await;
    let second = event("second");
    assert_eq!(asks_for(&messages(node.hear(1, announced(WRITER, &second)).await)), []);
    let said = messages(node.hear(0, announced(WRITER, &second)).await);
    assert_eq!(asks_for(&said), [second.event_key()]);
    assert_eq!(asks_for(&node.pass(1, SECOND).await), [], "one is asked at a time");
}

#[tokio::test]
async fn a_parent_that_brings_nothing_is_replaced() {
    let mut node = grafted().await;
    let (second, third) = (event("second"), event("third"));
    node.hear(1, announced(WRITER, &second)).await;
    assert_eq!(asks_for(&node.pass(1, SECOND).await), [second.event_key()], "long before claims end");
    comes(&mut node, 1, WRITER, &second).await;
    // The neighbour that brought it is the parent.
    let said = messages(node.hear(1, announced(WRITER, &third)).await);
    assert_eq!(asks_for(&said), [third.event_key()]);
    let fourth = event("fourth");
    assert_eq!(asks_for(&messages(node.hear(0, announced(WRITER, &fourth)).await)), []);
}

#[tokio::test]
async fn a_lost_parent_is_replaced_and_nothing_is_lost() {
    let mut node = grafted().await;
    let (second, third) = (event("second"), event("third"));
    node.hear(1, announced(WRITER, &second)).await;
    node.agents[0].disconnected();
    assert_eq!(asks_for(&node.pass(1, SECOND).await), [second.event_key()]);
    let said = messages(node.hear(1, announced(WRITER, &third)).await);
    assert_eq!(asks_for(&said), [third.event_key()], "nobody is waited for");
}

#[tokio::test]
async fn a_child_that_was_away_is_announced_what_is_new() {
    let mut node = grafted().await;
    node.agents[1].disconnected();
    let [_, on] = comes(&mut node, 0, WRITER, &event("second")).await;
    assert_eq!(on, [announced(WRITER, &event("second"))]);
}

/// Lies about sources cost detours and nothing else: each event is told to the other neighbour.
#[tokio::test]
async fn whatever_source_is_claimed_each_event_is_told() {
    let mut node = grafted().await;
    for number in 0_u64..5_000 {
        let event = event(&number.to_string());
        let source = Source((number + 1).to_be_bytes());
        let [back, on] = comes(&mut node, 0, source, &event).await;
        assert_eq!((back, on), (vec![], vec![announced(source, &event)]));
        if number % 100 == 0 {
            node.hear(1, request(&event)).await;
        }
    }
}
