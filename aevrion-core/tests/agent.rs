//! One agent beside others: its requests, the frequency of its comparisons, and its limits for a greedy neighbour. The
//! neighbours are scripted, so that they can fail in every way.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::held::Held;
use aevrion_core::agent::{
    Activity, Agent, AgentConfig, ByLane, CheckedHashes, Input, LineState, Now, Origin, Output,
    RepairCoordinator, ReplicaView, StallTimeouts, Walked,
};
use aevrion_core::bounds::PUSHED_BYTES;
use aevrion_core::message::{
    Digest, Echo, EventList, Events, Hello, Ids, Listed, Message, NeedEvents, NodeDigest, Nodes, Parent,
    Push, Reply, Row, Share, Snapshot, decode, encode,
};
use aevrion_core::sketch::{Cells, Mapping, SketchKey};
use aevrion_core::store::{Durability, MemoryStore, StoreError};
use aevrion_core::transport::Lane;
use aevrion_core::tree::{NodePosition, Root};
use aevrion_core::{
    Event, EventKey, Hash, Incarnation, ManualWall, NodeId, Options, ParameterOverrides, Parameters,
    ReadError, Replica, TimeSpan, Timestamp, Value,
};

const NOW: u64 = 1_700_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn event(key: &str) -> Event {
    let value = Value::Data(bytes::Bytes::from_static(b"value"));
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    Event::new(key, value, Timestamp::from_millis(NOW - 60_000)).unwrap()
}

/// A node, and the agents for two of its neighbours.
struct Node {
    replica: Replica,
    agents: [Agent; 2],
    steady: Duration,
}

impl Node {
    /// `number` is the node's id; those of its neighbours are 1 and 2.
    async fn new(number: u8, granularity: u64) -> Self {
        Self::with_clock(number, granularity, 0).await
    }

    /// With the neighbours' clocks so many milliseconds ahead.
    async fn with_clock(number: u8, granularity: u64, ahead: i64) -> Self {
        let options = Options::default()
            .parameters(ParameterOverrides::default().granularity(granularity))
            .node(id(number))
            .wall(ManualWall::at(Timestamp::from_millis(NOW)));
        let replica = Replica::open(MemoryStore::new(), options).await.unwrap();
        let config = AgentConfig {
            node: id(number),
            incarnation: Incarnation::from_bytes([0; 8]),
            listens: Vec::new(),
            parameters: Parameters { granularity, ..Parameters::default() },
            space: "default".into(),
            grace: SECOND * 2,
            max_drift: SECOND * 60,
            pushed: PUSHED_BYTES,
            timeouts: StallTimeouts::default().silent(SECOND * 86_400),
        };
        let coordinator = Arc::new(RepairCoordinator::default());
        let agents =
            [1, 2].map(|neighbour| Agent::new(config.clone(), id(neighbour), Arc::clone(&coordinator), 7));
        let mut node = Self { replica, agents, steady: SECOND };
        node.handshake(0, granularity, ahead).await;
        node.handshake(1, granularity, ahead).await;
        node
    }

    fn now(&self) -> Now {
        Now { steady: self.steady, wall: Timestamp::from_millis(NOW).after(self.steady) }
    }

    /// Runs the handshake until data may flow.
    async fn handshake(&mut self, neighbour: usize, granularity: u64, ahead: i64) {
        let mut said = self.tell(neighbour, Input::Connected).await;
        for number in 1.. {
            let Some(Output::Send(_, Message::Hello(ours))) = said.first() else { break };
            let hello = Hello {
                node: id(u8::try_from(neighbour).unwrap() + 1),
                number,
                echo: Some(Echo { number: ours.number, held_us: 0 }),
                samples: 3,
                wall: Timestamp::from_millis(self.now().wall.as_millis().saturating_add_signed(ahead)),
                parameters: Parameters { granularity, ..Parameters::default() },
                ..ours.clone()
            };
            said = self.hear(neighbour, Message::Hello(hello)).await;
        }
        assert!(self.agents[neighbour].is_settled());
    }

    async fn hear(&mut self, neighbour: usize, message: Message) -> Vec<Output> {
        self.tell(neighbour, Input::Received(Lane::Live, message)).await
    }

    async fn tell(&mut self, neighbour: usize, input: Input) -> Vec<Output> {
        let now = self.now();
        self.agents[neighbour].handle(input, now, LineState::IDLE, &self.replica).await.unwrap()
    }

    fn wake_at(&self, neighbour: usize) -> Option<Duration> {
        self.agents[neighbour].wake_at(LineState::IDLE)
    }

    /// Lets `span` pass, and returns the messages of an agent meanwhile.
    async fn pass(&mut self, neighbour: usize, span: Duration) -> Vec<Message> {
        let until = self.steady + span;
        let mut said = Vec::new();
        while let Some(at) = self.wake_at(neighbour).filter(|at| *at <= until) {
            self.steady = self.steady.max(at);
            said.extend(self.tell(neighbour, Input::Woken).await);
        }
        self.steady = until;
        messages(said)
    }
}

fn messages(outputs: Vec<Output>) -> Vec<Message> {
    let message = |output| match output {
        Output::Send(_, message) => Some(message),
        Output::Store(..) => None,
    };
    outputs.into_iter().filter_map(message).collect()
}

fn announced(event: &Event) -> Message {
    Message::EventList(EventList::Announced(vec![event.event_key()]))
}

fn asks_for(messages: &[Message]) -> Vec<EventKey> {
    let asked = messages.iter().filter_map(|message| match message {
        Message::NeedEvents(NeedEvents::At(event_keys)) => Some(event_keys.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

fn snapshots(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::Snapshot(_))).count()
}

/// A snapshot that differs from any replica here.
fn differing(last: u64) -> Message {
    let node = NodeDigest { index: 0, count: 1_000, hash: Hash::from_bytes([3; 32]) };
    snapshot(last, Some(Digest { rows: vec![Row { level: 4, nodes: vec![node] }] }))
}

/// The same snapshot from a neighbour that believes both sides equal.
fn differing_in_short(last: u64) -> Message {
    snapshot(last, None)
}

fn snapshot(last: u64, digest: Option<Digest>) -> Message {
    let span = TimeSpan::before(Timestamp::from_millis(last)).unwrap();
    let root = Hash::from_bytes([3; 32]);
    Message::Snapshot(Snapshot { span, root, count: 1_000, digest, answer: true })
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
    node.hear(0, Message::Push(Push { events: vec![pushed.clone()] })).await;
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
            node.hear(neighbour, Message::EventList(EventList::Announced(some.to_vec()))).await;
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
async fn an_empty_share_asks_for_its_share() {
    let mut node = Node::new(5, 60_000).await;
    let events: Vec<_> = (0..1_000).map(|number| event(&number.to_string())).collect();
    node.replica.insert(events, Durability::Immediate).await.unwrap();
    node.hear(0, differing(NOW)).await;
    let span = TimeSpan::before(Timestamp::from_millis(NOW)).unwrap();
    let mut brought = Vec::new();
    for part in 0..10 {
        let ids = Ids::Short { salt: 77, ids: Vec::new() };
        let list = Listed { span, share: Share { part, of: 10 }, ids };
        let said = messages(node.hear(0, Message::EventList(EventList::Held(vec![list]))).await);
        let events = said.iter().flat_map(Message::events).map(Event::event_key);
        let before = brought.len();
        brought.extend(events);
        assert!((50..150).contains(&(brought.len() - before)), "a tenth of a thousand, but for chance");
        assert!(matches!(
            said.last(),
            Some(Message::Events(Events { reply: Reply::Block { last: true, .. }, .. }))
        ));
    }
    brought.sort_unstable();
    brought.dedup();
    assert_eq!(brought.len(), 1_000);
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
    // The first neighbour begins a repair.
    let span = TimeSpan::before(Timestamp::from_millis(NOW)).unwrap();
    node.hear(0, differing(NOW)).await;
    let block = Events {
        reply: Reply::Block { span, rest: Some(span), last: false },
        events: vec![event("brought")],
    };
    node.hear(0, Message::Events(block)).await;
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
    assert_eq!(lists(&messages(node.hear(0, differing(NOW)).await)), 1, "all is asked for");
    for _ in 0..9 {
        node.steady += SECOND;
        assert_eq!(lists(&messages(node.hear(1, differing(NOW)).await)), 0);
    }
    // A frame is arriving.
    let (now, unread) = (node.now(), ByLane { repair: true, ..ByLane::default() });
    let line = LineState { unread, ..LineState::IDLE };
    node.agents[0].handle(Input::Woken, now, line, &node.replica).await.unwrap();
    node.steady += SECOND * 9;
    assert_eq!(lists(&messages(node.hear(1, differing(NOW)).await)), 0);
    // When the frame stalls, the other neighbour is asked.
    node.pass(0, SECOND * 3).await;
    node.agents[0].disconnected();
    assert_eq!(lists(&messages(node.hear(1, differing(NOW)).await)), 1);
}

fn lists(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::EventList(EventList::Held(_)))).count()
}

/// A request that a read failure kept from being sent is not awaited.
#[tokio::test]
async fn a_failed_read_leaves_no_question_behind() {
    let mut node = Node::new(5, 60_000).await;
    let long_ago = Timestamp::from_millis(NOW - 100_000_000_000);
    let held = Event::new("held".into(), Value::Deletion, long_ago).unwrap();
    node.replica.insert(vec![held], Durability::Immediate).await.unwrap();
    node.pass(0, SECOND * 3).await;
    let told = messages(node.hear(0, differing_in_short(NOW)).await);
    let [Message::Snapshot(Snapshot { span, digest: Some(digest), .. })] = &told[..] else {
        panic!("{told:?}")
    };
    let row = digest.rows.iter().find(|row| row.level > 0).expect("an inner node");
    let parent = NodePosition { level: row.level, index: row.nodes[0].index };
    // The neighbour has events below this node where this side has none, and vice versa.
    let mine = ReplicaView::children(&node.replica, *span, &[parent]).await.unwrap().answer;
    let index = if mine[0][0].index == 0 { 1 } else { 0 };
    let children = vec![NodeDigest { index, count: 5, hash: Hash::from_bytes([3; 32]) }];
    let nodes = Nodes { span: *span, parents: vec![Parent { node: parent, children }] };
    let now = node.now();
    let failed = node.agents[0]
        .handle(
            Input::Received(Lane::Repair, Message::Nodes(nodes)),
            now,
            LineState::IDLE,
            &Held(&node.replica, |_| Some(ReadError::Store(StoreError::Corrupt("planted".into())))),
        )
        .await
        .map(messages);
    let declined = Reply::Block { span: TimeSpan::ALL, rest: None, last: true };
    let declined = Message::Events(Events { reply: declined, events: Vec::new() });
    assert_eq!(failed.unwrap(), [declined], "whoever asked need not wait");
    node.steady += SECOND;
    assert_eq!(snapshots(&messages(node.hear(0, differing_in_short(NOW - 1)).await)), 1, "it is answered");
}

/// A neighbour whose snapshot was skipped assumes that it was received: it is asked to send another.
#[tokio::test]
async fn whoever_was_passed_over_is_asked_again() {
    let mut node = Node::new(5, 60_000).await;
    assert_eq!(lists(&messages(node.hear(0, differing(NOW)).await)), 1);
    assert_eq!(messages(node.hear(0, differing(NOW - 1)).await), [], "what differs is being asked for");
    // The answer is empty.
    let reply = Reply::Block { span: TimeSpan::ALL, rest: None, last: true };
    node.hear(0, Message::Events(Events { reply, events: Vec::new() })).await;
    let said = node.pass(0, SECOND).await;
    let snapshot = said.iter().find_map(|message| match message {
        Message::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    let snapshot = snapshot.expect("it compares again");
    assert!(snapshot.digest.is_none() && snapshot.answer, "{snapshot:?}");
}

/// A list of the past with these events.
fn naming(last: u64, events: &[&Event]) -> Message {
    let span = TimeSpan::before(Timestamp::from_millis(last)).unwrap();
    let ids = Ids::Full(events.iter().map(|event| event.id()).collect());
    Message::EventList(EventList::Held(vec![Listed { span, share: Share::WHOLE, ids }]))
}

/// The whole answer to a request.
fn wanted(events: &[&Event]) -> Message {
    let events = events.iter().map(|event| (*event).clone()).collect();
    Message::Events(Events { reply: Reply::Of { more: false, last: true }, events })
}

fn wishes(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::NeedEvents(NeedEvents::Of(_)))).count()
}

/// A neighbour whose disk stood still answers late, and then answers later requests, too.
#[tokio::test]
async fn an_answer_that_comes_late_is_not_taken_for_the_next_one() {
    let mut node = Node::new(5, 60_000).await;
    let (one, two) = (event("one"), event("two"));
    node.pass(0, SECOND * 5).await;
    node.hear(0, differing_in_short(NOW - 1_000)).await;
    assert_eq!(wishes(&messages(node.hear(0, naming(NOW - 1_000, &[&one])).await)), 1);
    node.pass(0, SECOND * 11).await;
    assert_eq!(wishes(&messages(node.hear(0, naming(NOW - 1_000, &[&one, &two])).await)), 1);
    // The first answer, and some time later the second.
    node.hear(0, wanted(&[&one])).await;
    node.tell(0, Input::Stored(Origin::Repaired(id(1)), Ok(1))).await;
    assert_eq!(snapshots(&node.pass(0, SECOND * 9).await), 0, "it waits for the second");
    node.hear(0, wanted(&[&one, &two])).await;
}

/// Agreement about an earlier time is no answer to a skipped snapshot.
#[tokio::test]
async fn what_was_passed_over_is_compared_after_an_agreement_about_less() {
    let mut node = Node::new(5, 60_000).await;
    node.pass(0, SECOND * 5).await;
    node.hear(0, differing_in_short(NOW - 1_000)).await;
    // The neighbour has begun a repair: it has sent a request.
    node.hear(0, naming(NOW - 1_000, &[])).await;
    assert_eq!(messages(node.hear(0, differing(NOW - 500)).await), []);
    let span = TimeSpan::before(Timestamp::from_millis(NOW - 1_000)).unwrap();
    let equal = Snapshot { span, root: Hash::EMPTY, count: 0, digest: None, answer: false };
    node.hear(0, Message::Snapshot(equal)).await;
    assert!(snapshots(&node.pass(0, SECOND).await) > 0, "it compares again");
}

/// A time that only one of the two clocks has passed is not settled, even if both hold the same: the other side may
/// still write in it.
#[tokio::test]
async fn nothing_is_settled_before_both_clocks_have_passed_it() {
    for (ahead, settled) in [(-200_000, NOW - 190_000), (0, NOW), (200_000, NOW)] {
        let mut node = Node::with_clock(5, 60_000, ahead).await;
        node.pass(0, SECOND * 5).await;
        let span = TimeSpan::before(Timestamp::from_millis(NOW)).unwrap();
        let equal = Snapshot { span, root: Hash::EMPTY, count: 0, digest: None, answer: false };
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
        self.0.sketch_key()
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
    let named: Vec<_> = events.iter().collect();
    node.replica.insert(events.clone(), Durability::Immediate).await.unwrap();
    let mut checked = 0;
    for _ in 0..3_600 {
        node.hear(0, differing_in_short(NOW)).await;
        node.hear(0, naming(NOW, &named)).await;
        node.steady += SECOND;
        let counting = Counting(&node.replica, AtomicU64::new(0));
        let now = Now { steady: node.steady, wall: Timestamp::from_millis(NOW).after(node.steady) };
        node.agents[0].handle(Input::Woken, now, LineState::IDLE, &counting).await.unwrap();
        checked += counting.1.load(Ordering::SeqCst);
    }
    // A hundred each ten seconds, for an hour.
    assert!((1_000..=36_100).contains(&checked), "{checked} events were read");
    assert_eq!(node.replica.healed_hashes(), 0);
}

/// A request that is never answered is awaited once more, because the end of the next answer is taken for its own; but
/// not repeatedly.
#[tokio::test]
async fn a_question_that_is_never_answered_does_not_take_the_ends_of_all_later_answers() {
    let mut node = Node::new(5, 60_000).await;
    node.pass(0, SECOND * 5).await;
    node.hear(0, differing_in_short(NOW - 1_000)).await;
    let events: Vec<_> = (0..4).map(|number| event(&number.to_string())).collect();
    assert_eq!(wishes(&messages(node.hear(0, naming(NOW - 1_000, &[&events[0]])).await)), 1);
    node.pass(0, SECOND * 11).await;
    let mut prompt = Vec::new();
    for event in &events[1..] {
        assert_eq!(wishes(&messages(node.hear(0, naming(NOW - 1_000, &[event])).await)), 1);
        node.hear(0, wanted(&[event])).await;
        node.replica.insert(vec![event.clone()], Durability::Immediate).await.unwrap();
        node.tell(0, Input::Stored(Origin::Repaired(id(1)), Ok(1))).await;
        prompt.push(snapshots(&node.pass(0, SECOND).await) > 0);
        node.pass(0, SECOND * 11).await;
    }
    assert_eq!(prompt, [false, true, true], "whether snapshots are compared as soon as all has come");
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
