//! Promise: an answer brings exactly the events that were asked for, each once, latest first. What does not fit comes
//! when the neighbour asks on.

use std::collections::BTreeSet;

use crate::support::node::{NOW, Node, event_at, messages, past, questions};
use aevrion_core::bounds::{BATCH_FRAME, FRAME_OVERHEAD};
use aevrion_core::message::{
    End, EventList, Events, Listed, Message, Naming, NeedEvents, Reply, Stretch, encode,
};
use aevrion_core::sketch::{Locator, NumberList, SketchKey, short_id};
use aevrion_core::store::Durability;
use aevrion_core::{Event, EventKey, TimeSpan, Timestamp, Value};

fn span(first: u64, last: u64) -> TimeSpan {
    TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
}

/// A list of these events, of so many bits each.
fn listed(stretch: Stretch, naming: Naming, bits: u8, events: &[Event]) -> Listed {
    let number = |event: &Event| match naming {
        Naming::Short(salt) => {
            let key = SketchKey::from_bytes([salt, salt].concat().try_into().unwrap());
            short_id(&key, &event.id(), bits)
        }
        Naming::Locators => {
            let leaf = event.timestamp().as_millis() / 60_000;
            Locator::new(&SketchKey::PUBLIC, leaf, &event.id()).value() >> (48 - bits)
        }
    };
    let numbers: BTreeSet<_> = events.iter().map(number).collect();
    Listed { stretch, naming, numbers: NumberList::new(bits, numbers.into_iter().collect()).unwrap() }
}

const SHORT: Naming = Naming::Short([9; 8]);

/// The events of an answer, and its end: the last of its messages.
fn answer(said: &[Message]) -> (Vec<EventKey>, End) {
    let (mut brought, mut end) = (Vec::new(), None);
    for message in said {
        let Message::Events(Events { reply, events }) = message else { continue };
        assert!(end.is_none(), "nothing comes after the end");
        assert!(encode(message).len() <= BATCH_FRAME + FRAME_OVERHEAD);
        brought.extend(events.iter().map(Event::event_key));
        match reply {
            Reply::Part => {}
            Reply::End(ending) => end = Some(*ending),
            Reply::At { .. } => panic!("{message}"),
        }
    }
    assert!(brought.is_sorted_by(|one, next| one > next), "latest first, each once");
    (brought, end.expect("it has an end"))
}

/// The event keys, latest first.
fn keys(events: &[Event]) -> Vec<EventKey> {
    let mut keys: Vec<_> = events.iter().map(Event::event_key).collect();
    keys.sort_unstable_by(|one, other| other.cmp(one));
    keys
}

/// A node with events in each of ten minutes.
async fn node_with_events() -> (Node, Vec<Event>) {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..600).map(|n| event_at(&n.to_string(), 600_000 + n * 1_000)).collect();
    node.replica.insert(events.clone(), Durability::Immediate).await.unwrap();
    node.pass(0, std::time::Duration::from_secs(3)).await;
    (node, events)
}

#[tokio::test]
async fn what_is_in_no_list_of_its_stretch_is_brought() {
    let (mut node, events) = node_with_events().await;
    // Two stretches, one of which begins and ends in the midst of a span.
    let late = Stretch::of(span(1_000_000, 1_099_999));
    let early = Stretch {
        from: Some(events[50].event_key()),
        before: Some(events[150].event_key()),
        ..Stretch::of(span(600_000, 799_999))
    };
    let (held_late, held_early) = (events[400..470].to_vec(), events[..120].to_vec());
    for bits in [40, 64] {
        let lists =
            vec![listed(late, SHORT, bits, &held_late), listed(early, SHORT, bits, &held_early[50..])];
        let said = messages(node.hear(0, Message::EventList(EventList::Held(lists))).await);
        let missing: Vec<_> = [&events[470..500], &events[120..150]].concat();
        assert_eq!(answer(&said), (keys(&missing), End::Complete));
        assert_eq!(questions(&said).len(), 0, "this side lacks nothing");
    }
}

#[tokio::test]
async fn what_is_listed_and_not_here_is_asked_for() {
    let (mut node, events) = node_with_events().await;
    let theirs = [event_at("theirs", 700_500), event_at("also theirs", 900_500)];
    let list = listed(Stretch::of(past(NOW)), SHORT, 50, &[&events[..], &theirs].concat());
    let said = messages(node.hear(0, Message::EventList(EventList::Held(vec![list]))).await);
    assert_eq!(answer(&said), (Vec::new(), End::Complete));
    let [Message::NeedEvents(NeedEvents::Of(wanted))] = questions(&said)[..] else { panic!("{said:?}") };
    assert_eq!(wanted[..], [listed(Stretch::of(past(NOW)), SHORT, 50, &theirs)]);
}

#[tokio::test]
async fn the_listed_events_of_a_request_are_brought_and_no_others() {
    let (mut node, events) = node_with_events().await;
    let wanted: Vec<_> = events.iter().step_by(7).cloned().collect();
    let within = Stretch {
        from: Some(events[70].event_key()),
        before: Some(events[490].event_key()),
        ..Stretch::of(past(NOW))
    };
    for (naming, bits) in [(SHORT, 64), (SHORT, 40), (Naming::Locators, 48), (Naming::Locators, 40)] {
        for (stretch, expected) in [(Stretch::of(past(NOW)), &wanted[..]), (within, &wanted[10..70])] {
            let request = listed(stretch, naming, bits, expected);
            let said = messages(node.hear(0, Message::NeedEvents(NeedEvents::Of(vec![request]))).await);
            assert_eq!(answer(&said), (keys(expected), End::Complete), "{naming:?} of {bits} bits");
        }
    }
}

/// Asks on until the answer is complete, and returns the events of each answer.
async fn ask_on(node: &mut Node, ask: impl Fn(Stretch) -> Message) -> Vec<Vec<EventKey>> {
    let (mut stretch, mut answers) = (Stretch::of(past(NOW)), Vec::new());
    loop {
        let said = messages(node.hear(0, ask(stretch)).await);
        let (brought, ending) = answer(&said);
        let last = brought.last().copied();
        answers.push(brought);
        match ending {
            End::Complete => return answers,
            End::Before(reached) => {
                assert!(last.is_some_and(|last| reached <= last), "it gets on");
                stretch.before = Some(reached);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_comes_when_the_neighbour_asks_on() {
    let mut node = Node::new(5, 60_000).await;
    let event = |number: u64| {
        let value = Value::Data(vec![b'v'; 1_000].into());
        let at = Timestamp::from_millis(600_000 + number % 50 * 10_000);
        Event::new(format!("{number}").into_bytes().into(), value, at).unwrap()
    };
    let events: Vec<_> = (0..8_000).map(event).collect();
    for batch in events.chunks(2_000) {
        node.replica.insert(batch.to_vec(), Durability::Immediate).await.unwrap();
    }
    let held =
        |stretch| Message::EventList(EventList::Held(vec![listed(stretch, SHORT, 64, &events[..1_000])]));
    let answers = ask_on(&mut node, held).await;
    assert!(answers.len() > 3, "{} answers", answers.len());
    assert_eq!(answers.concat(), keys(&events[1_000..]));
    let wanted = |stretch| {
        Message::NeedEvents(NeedEvents::Of(vec![listed(stretch, Naming::Locators, 48, &events[..5_000])]))
    };
    let answers = ask_on(&mut node, wanted).await;
    assert!(answers.len() > 2, "{} answers", answers.len());
    assert_eq!(answers.concat(), keys(&events[..5_000]));
}
