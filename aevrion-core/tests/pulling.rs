//! Promise: one question is open with a neighbour at a time, and whatever it answers, it is asked a bounded number of
//! questions, and others are asked in turn.

use std::time::Duration;

use crate::support::node::{
    NOW, Node, SECOND, answer, cells_of_a_thousand, differing, event, event_at, id, is_question, messages,
    past, questions, snapshots,
};
use crate::support::pair::Pair;
use aevrion_core::agent::{Input, LineState, Origin, Output, ReplicaView};
use aevrion_core::fault_injection::{Bug, inject};
use aevrion_core::message::{
    Differing, End, EventList, Events, Listed, Message, Naming, NeedEvents, Nodes, Reply, Snapshot, Stretch,
};
use aevrion_core::sketch::{Cells, Locator, Mapping, NumberList, SketchKey};
use aevrion_core::store::Durability;
use aevrion_core::transport::Lane;
use aevrion_core::{Event, EventId, EventKey, Hash, Parameters, TimeSpan, Timestamp, Value};

/// The time from a question to its answer.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// The locator of an event.
fn locator(event: &Event) -> u64 {
    Locator::new(&SketchKey::PUBLIC, event.timestamp().as_millis() / 60_000, &event.id()).value()
}

/// The neighbour tells of events that the node lacks.
fn lacked(events: &[Event]) -> Message {
    let mut numbers: Vec<_> = events.iter().map(locator).collect();
    numbers.sort_unstable();
    let numbers = NumberList::new(48, numbers).unwrap();
    Message::EventList(EventList::Lacked(vec![Listed {
        stretch: Stretch::of(past(NOW)),
        naming: Naming::Locators,
        numbers,
    }]))
}

fn lacked_in(spans: &[TimeSpan]) -> Message {
    Message::EventList(EventList::LackedIn(spans.to_vec()))
}

/// Stores the events of an answer, and returns what is sent then.
async fn store(node: &mut Node, outputs: Vec<Output>) -> Vec<Message> {
    let mut said = Vec::new();
    for output in outputs {
        match output {
            Output::Send(_, message) => said.push(message),
            Output::Store(events, origin) => {
                let new = node.replica.insert(events, Durability::Immediate).await.unwrap().new;
                said.extend(messages(node.tell(0, Input::Stored(origin, Ok(new))).await));
            }
        }
    }
    said
}

/// Tells of more and more while a question is open. Returns the number of further questions.
async fn questions_beside_an_open_one() -> usize {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..4).map(|number| event(&number.to_string())).collect();
    assert_eq!(questions(&messages(node.hear(0, lacked(&events[..1])).await)).len(), 1);
    let mut beside = 0;
    for message in [
        lacked(&events[1..2]),
        lacked(&events[2..3]),
        lacked_in(&[past(1_000)]),
        differing(NOW),
        lacked(&events[3..]),
    ] {
        beside += questions(&messages(node.hear(0, message).await)).len();
        beside += questions(&node.pass(0, SECOND).await).len();
    }
    beside
}

#[tokio::test]
async fn one_question_is_open_at_a_time() {
    assert_eq!(questions_beside_an_open_one().await, 0);
    inject(Some(Bug::TwoQuestions));
    let beside = questions_beside_an_open_one().await;
    inject(None);
    assert!(beside > 0, "a second question would be noticed");
}

#[tokio::test]
async fn an_answer_brings_one_question_for_all_that_is_wanted_when_its_events_are_stored() {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..3).map(|number| event(&number.to_string())).collect();
    for event in &events {
        node.hear(0, lacked(std::slice::from_ref(event))).await;
    }
    for (came, next) in [(&events[..1], 1), (&events[1..], 0)] {
        let outputs = node.hear(0, answer(End::Complete, came.to_vec())).await;
        assert!(
            matches!(&outputs[..], [Output::Store(_, Origin::Repaired(by))] if *by == id(1)),
            "{outputs:?}"
        );
        let asked = store(&mut node, outputs).await;
        assert_eq!(questions(&asked).len(), next, "after {} events", came.len());
    }
    assert_eq!(node.replica.root().await.unwrap().count, 3);
}

/// Whether a node that is told again of an event that it is storing asks for it.
async fn asks_for_what_is_being_stored() -> bool {
    let mut node = Node::new(5, 60_000).await;
    let events = [event("one"), event("another")];
    node.hear(0, lacked(&events)).await;
    let outputs = node.hear(0, answer(End::Complete, events.to_vec())).await;
    let before = questions(&messages(node.hear(0, lacked(&events[1..])).await)).len();
    let asked = store(&mut node, outputs).await;
    before + questions(&asked).len() > 0
}

#[tokio::test]
async fn what_is_being_stored_is_not_asked_for() {
    assert!(!asks_for_what_is_being_stored().await);
    inject(Some(Bug::AsksBeforeStored));
    let asks = asks_for_what_is_being_stored().await;
    inject(None);
    assert!(asks, "a needless question would be noticed");
}

/// A request that names an event in two lists brings it once.
#[tokio::test]
async fn an_event_of_two_lists_comes_once() {
    let mut node = Node::new(5, 60_000).await;
    let wanted = event("wanted");
    node.replica.insert(vec![wanted.clone()], Durability::Immediate).await.unwrap();
    let list = |span| {
        let numbers = NumberList::new(48, vec![locator(&wanted)]).unwrap();
        Listed { stretch: Stretch::of(span), naming: Naming::Locators, numbers }
    };
    let request = NeedEvents::Of(vec![list(past(NOW)), list(past(NOW + 1))]);
    let said = messages(node.hear(0, Message::NeedEvents(request)).await);
    let [Message::Events(Events { events, .. })] = &said[..] else { panic!("{said:?}") };
    assert_eq!(events[..], [wanted]);
}

/// An answer whose budget ran out before any event was found is no end of the search.
#[tokio::test]
async fn what_an_answer_did_not_reach_is_asked_for_again() {
    let mut node = Node::new(5, 60_000).await;
    let wanted = event("early");
    node.hear(0, lacked(std::slice::from_ref(&wanted))).await;
    let reached = event_at("late", wanted.timestamp().as_millis() + 1).event_key();
    let said = messages(node.hear(0, answer(End::Before(reached), Vec::new())).await);
    let [Message::NeedEvents(NeedEvents::Of(lists))] = &said[..] else { panic!("{said:?}") };
    assert_eq!(lists.len(), 1);
    assert_eq!(lists[0].stretch.before, Some(reached));
    assert!(lists[0].stretch.contains(wanted.event_key()));
    // What no list covers says nothing.
    let elsewhere = event_at("later", NOW * 2).event_key();
    let said = messages(node.hear(0, answer(End::Before(elsewhere), Vec::new())).await);
    assert_eq!(questions(&said).len(), 0);
}

/// What is here by the time of the question is not asked for, however it came.
#[tokio::test]
async fn what_came_in_the_meantime_is_not_asked_for() {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..3).map(|number| event(&number.to_string())).collect();
    node.hear(0, lacked(&events[..1])).await;
    node.hear(0, lacked(&events[1..])).await;
    node.replica.insert(vec![events[1].clone()], Durability::Immediate).await.unwrap();
    let said = messages(node.hear(0, answer(End::Complete, Vec::new())).await);
    let [Message::NeedEvents(NeedEvents::Of(lists))] = &said[..] else { panic!("{said:?}") };
    let [listed] = &lists[..] else { panic!("{lists:?}") };
    let (bits, wanted) = (listed.numbers.bits(), locator(&events[2]));
    assert_eq!(listed.numbers.numbers(), [wanted >> (48 - bits)]);
}

/// Numbers of few bits may stand for two events. Both come, and not always in one frame.
#[tokio::test]
async fn two_events_of_one_number_may_come_in_two_frames() {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..50).map(|number| event(&number.to_string())).collect();
    // The leaf, and one bit of the hash.
    let number = locator(&events[0]) >> 27;
    let alike: Vec<_> = events.into_iter().filter(|event| locator(event) >> 27 == number).collect();
    assert!(alike.len() > 2);
    let numbers = NumberList::new(21, vec![number]).unwrap();
    let listed = Listed { stretch: Stretch::of(past(NOW)), naming: Naming::Locators, numbers };
    let asked = messages(node.hear(0, Message::EventList(EventList::Lacked(vec![listed.clone()]))).await);
    assert_eq!(asked, [Message::NeedEvents(NeedEvents::Of(vec![listed]))]);
    let part = Events { reply: Reply::Part, events: vec![alike[0].clone()] };
    for message in [Message::Events(part), answer(End::Complete, alike[1..].to_vec())] {
        let outputs = node.try_to_tell(0, Input::Received(Lane::Repair, message)).await;
        store(&mut node, outputs.unwrap()).await;
    }
    assert_eq!(node.replica.root().await.unwrap().count, alike.len() as u64);
}

/// Fifteen hundred events of one leaf take several frames, and some of them have the same number.
#[tokio::test]
async fn many_events_of_one_leaf_come_in_many_frames() {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    // Differences everywhere: then cells find them.
    let place = |place: u64| NOW / 60_000 * 60_000 - (place + 1) * 60_000 * 32 * 32 * 32;
    let event = |first: u64, number: u64, len: usize| {
        let (key, value) = (format!("{number}").into_bytes(), Value::Data(vec![b'v'; len].into()));
        Event::new(key.into(), value, Timestamp::from_millis(first + number * 7_919 % 60_000)).unwrap()
    };
    let both: Vec<_> = (0..60_000).map(|number| event(place(number % 40), number, 1)).collect();
    pair.hold(0, both.clone()).await;
    pair.hold(1, both).await;
    let everywhere = (0..40).map(|number| event(place(number), 70_000 + number, 1)).collect();
    pair.hold(0, everywhere).await;
    let of_one_leaf = (0..1_500).map(|number| event(place(5) + 600_000, number, 2_000)).collect();
    pair.hold(0, of_one_leaf).await;
    pair.connect().await;
    assert!(pair.agree().await);
    assert!(pair.transcript.contains("EventList"), "{}", pair.transcript);
}

/// A failed read costs one step of the plan; the neighbour is asked on, or compared with.
#[tokio::test]
async fn a_failed_read_does_not_end_the_pull() {
    let mut node = Node::new(5, 60_000).await;
    node.replica.insert(vec![event("held")], Durability::Immediate).await.unwrap();
    let events: Vec<_> = (0..3).map(|number| event(&number.to_string())).collect();
    for event in &events {
        node.hear(0, lacked(std::slice::from_ref(event))).await;
    }
    node.pass(0, SECOND).await;
    node.store.fail_reads(1);
    let said = messages(node.hear(0, answer(End::Complete, Vec::new())).await);
    node.store.fail_reads(0);
    assert_eq!(questions(&said).len(), 0, "it cannot be asked");
    let said = node.pass(0, SECOND * 120).await;
    assert!(!questions(&said).is_empty() || snapshots(&said) > 2, "nothing is asked any more: {said:?}");
    assert!(node.agents[0].wake_at(LineState::IDLE).is_some());
}

/// A way to answer every question.
#[derive(Debug, Clone, Copy)]
enum Way {
    Later,
    Nothing,
    TooDifferent,
    /// There is more before a time that was not reached yet.
    NoFurther,
    /// There is more before the earliest event key, where nothing can be.
    Beginning,
    /// Cells that never decode.
    Cells,
    /// Cells that decode to events that do not exist.
    Nonsense,
    /// Everything differs.
    Differing,
}

/// The answer to a question, in this way if it fits.
async fn answer_to(question: &Message, way: Way, node: &Node) -> Message {
    let key = |ms| EventKey { timestamp: Timestamp::from_millis(ms), id: EventId::from_bytes([0; 32]) };
    match (way, question) {
        (Way::Later, _) => answer(End::Later, Vec::new()),
        (Way::TooDifferent, _) => answer(End::TooDifferent, Vec::new()),
        (Way::NoFurther, _) => answer(End::Before(key(NOW * 2)), Vec::new()),
        (Way::Beginning, _) => answer(End::Before(key(0)), Vec::new()),
        (Way::Cells, Message::Nodes(Nodes::Cover { counts: Some(_), .. })) => {
            Message::EventList(EventList::Cells(undecodable(0..16)))
        }
        (Way::Cells, Message::NeedEvents(NeedEvents::Cells { from, len, .. })) => {
            let from = usize::try_from(*from).unwrap();
            Message::EventList(EventList::Cells(undecodable(from..from + usize::try_from(*len).unwrap())))
        }
        (Way::Nonsense, Message::Nodes(Nodes::Cover { span, counts: Some(_), .. })) => {
            let cells = ReplicaView::cells(&node.replica, *span, Mapping::Irregular, 0..16).await;
            let mut cells = cells.unwrap().answer;
            cells.insert(Locator::from_value(99).unwrap());
            Message::EventList(EventList::Cells(cells))
        }
        (Way::Differing, Message::Nodes(Nodes::Cover { span, .. } | Nodes::Children { span, .. })) => {
            Message::Nodes(Nodes::Differing(vec![Differing::Count(*span, 1_000)]))
        }
        _ => answer(End::Complete, Vec::new()),
    }
}

/// Cells of so many events that they do not decode.
fn undecodable(range: std::ops::Range<usize>) -> Cells {
    let mut cells = Cells::part(Mapping::Irregular, range);
    let locator = |number: u64| Locator::from_value(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16);
    (1..=2_000).filter_map(locator).for_each(|locator| cells.insert(locator));
    cells
}

/// Answers each question, and each snapshot with one that differs, for some minutes. Returns the number of questions,
/// and of the snapshots of the node.
async fn answers_for(node: &mut Node, way: Way, minutes: u32) -> (u32, u32) {
    let until = node.steady + SECOND * 60 * minutes;
    let (mut asked, mut compared) = (0, 0);
    let mut said = messages(node.hear(0, differing(NOW)).await);
    while node.steady < until {
        if said.is_empty() {
            let at = node.wake_at(0).unwrap_or(until).max(node.steady + ROUND_TRIP);
            node.steady = at.min(until);
            said = messages(node.tell(0, Input::Woken).await);
            continue;
        }
        node.steady += ROUND_TRIP;
        for message in std::mem::take(&mut said) {
            if is_question(&message) {
                asked += 1;
                let answer = answer_to(&message, way, node).await;
                said.extend(messages(node.hear(0, answer).await));
            } else if let Message::Snapshot(Snapshot { span, .. }) = message {
                compared += 1;
                let cells = Some(cells_of_a_thousand());
                let theirs =
                    Snapshot { span, root: Hash::from_bytes([3; 32]), count: 1_000, cells, answer: false };
                said.extend(messages(node.hear(0, Message::Snapshot(theirs)).await));
            }
        }
    }
    (asked, compared)
}

/// A neighbour that differs and brings nothing is asked a few questions a minute, and the next one has its turn.
async fn asks_few_questions(way: Way) {
    for held in [0, 3_000] {
        let mut node = Node::new(5, 60_000).await;
        let events = (0..held).map(|number| event(&number.to_string())).collect();
        node.replica.insert(events, Durability::Immediate).await.unwrap();
        let minutes = 10;
        let (asked, compared) = answers_for(&mut node, way, minutes).await;
        println!("{way:?}, {held} events held: {asked} questions, {compared} snapshots in {minutes} minutes");
        assert!(asked > 0, "it is asked at first");
        assert!(asked <= 100 * minutes, "{way:?}, {held} events held: {asked} questions");
        assert!(compared <= 100 * minutes, "{way:?}, {held} events held: {compared} snapshots");
        // It differs still, and has taken its turn again and again.
        let mut others = 0;
        for _ in 0..60 {
            node.steady += SECOND;
            others += questions(&messages(node.hear(1, differing(NOW)).await)).len();
        }
        assert!(others > 0, "{way:?}, {held} events held: the other neighbour is not asked");
    }
}

macro_rules! asks_few_questions {
    ($($name:ident: $way:ident;)*) => { $(
        #[tokio::test]
        async fn $name() {
            asks_few_questions(Way::$way).await;
        }
    )* };
}

asks_few_questions! {
    one_that_cannot_answer_now: Later;
    one_that_differs_and_has_nothing: Nothing;
    one_that_finds_everything_too_different: TooDifferent;
    one_that_promises_more_and_gets_no_further: NoFurther;
    one_that_promises_more_before_the_beginning: Beginning;
    one_whose_cells_never_decode: Cells;
    one_whose_cells_decode_to_nonsense: Nonsense;
    one_that_differs_everywhere: Differing;
}

/// More cells are asked for a few times, for no more than the sketch has.
#[tokio::test]
async fn cells_that_never_decode_are_given_up() {
    let mut node = Node::new(5, 60_000).await;
    let events = (0..3_000).map(|number| event(&number.to_string())).collect();
    node.replica.insert(events, Durability::Immediate).await.unwrap();
    let mut said = messages(node.hear(0, differing(NOW)).await);
    let (mut asked, mut cells) = (Vec::new(), 0);
    while let [question] = &questions(&said)[..] {
        asked.push((*question).clone());
        cells += usize::from(matches!(question, Message::NeedEvents(NeedEvents::Cells { .. })));
        assert!(asked.len() < 20, "{asked:?}");
        let answer = answer_to(question, Way::Cells, &node).await;
        said = messages(node.hear(0, answer).await);
    }
    assert!((1..=3).contains(&cells), "{cells} questions for more cells");
    let by_nodes = |message: &&Message| matches!(message, Message::Nodes(Nodes::Cover { counts: None, .. }));
    assert_eq!(asked.iter().filter(by_nodes).count(), 1, "then the nodes decide");
}

/// Whether both hold the same after one comparison, where the side that shows its cells lacks some events.
async fn one_comparison_tells_both() -> bool {
    let mut pair = Pair::new(Parameters::default(), NOW).await;
    let event_of = |number: u64| event_at(&number.to_string(), NOW - number * 10_000);
    let both: Vec<_> = (100..400).map(event_of).collect();
    pair.hold(0, both.clone()).await;
    pair.hold(1, both).await;
    pair.hold(1, (400..403).map(event_of).collect()).await;
    pair.begin_to_count();
    pair.connect().await;
    let shows = pair.transcript.lines().filter(|line| line.contains("regular cells")).count();
    shows == 1 && pair.agree().await
}

#[tokio::test]
async fn the_side_that_cannot_know_what_it_lacks_is_told() {
    assert!(one_comparison_tells_both().await);
    inject(Some(Bug::LackedNotTold));
    let tells = one_comparison_tells_both().await;
    inject(None);
    assert!(!tells, "silence would be noticed");
}
