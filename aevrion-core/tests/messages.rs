//! Messages on the wire: the bytes of each kind are fixed, and no other bytes decode to a message.

use std::fmt::Write;

use aevrion_core::bounds::{LISTENS, PEER_TEXT};
use aevrion_core::message::{
    Digest, Echo, EventList, Events, Hello, Ids, Listed, Malformed, Message, NeedEvents, NodeDigest, Nodes,
    PROTOCOL_VERSION, Parent, Push, Reply, Row, Share, ShortId, Snapshot, decode, encode, longest_frame,
};
use aevrion_core::tree::NodePosition;
use aevrion_core::{
    Event, EventId, EventKey, Hash, Incarnation, NodeId, Parameters, TimeSpan, Timestamp, Value,
};
use proptest::prelude::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/messages.txt");

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn span(first: u64, last: u64) -> TimeSpan {
    TimeSpan::new(at(first), at(last)).unwrap()
}

fn event(key: &'static str, value: Value, ms: u64) -> Event {
    Event::new(key.into(), value, at(ms)).unwrap()
}

fn event_key(byte: u8) -> EventKey {
    EventKey { timestamp: at(1_700_000_000_000), id: EventId::from_bytes([byte; 32]) }
}

fn listed(ids: Ids) -> Listed {
    Listed { span: span(60_000, 119_999), share: Share::WHOLE, ids }
}

/// One event for each kind of value.
fn sample_events() -> Vec<Event> {
    let expiring = Value::Expiring { data: "soon gone".into(), expires_at: at(1_700_000_060_000) };
    vec![
        event("user:1", Value::Data("23".into()), 1_710_684_600_042),
        event("user:1", Value::Deletion, 1_710_684_600_043),
        event("user:2", expiring, 1_710_684_600_044),
    ]
}

/// A minimal Hello, and one with every field set.
fn sample_hellos() -> (Hello, Hello) {
    let hello = Hello {
        version: PROTOCOL_VERSION,
        features: 0,
        space: "default".into(),
        parameters: Parameters::default(),
        node: NodeId::from_bytes([7; 32]),
        incarnation: Incarnation::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
        listens: Vec::new(),
        conflict: None,
        wall: at(1_710_684_600_000),
        number: 1,
        echo: None,
        samples: 0,
    };
    let answer = Hello {
        number: 4,
        listens: vec!["quic://0.0.0.0:7388".into(), "tcp://[::1]:7388".into()],
        conflict: Some("quic://192.0.2.1:7388".into()),
        echo: Some(Echo { number: 3, held_us: 250 }),
        samples: 3,
        ..hello.clone()
    };
    (hello, answer)
}

/// At least one message of each kind and variant.
fn samples() -> Vec<(&'static str, Message)> {
    let node = |index, count, byte| NodeDigest { index, count, hash: Hash::from_bytes([byte; 32]) };
    let events = sample_events();
    let (hello, answer) = sample_hellos();
    let digest = Digest {
        rows: vec![
            Row { level: 0, nodes: vec![node(28_500_000, 3, 1), node(28_500_001, 300, 2)] },
            Row { level: 4, nodes: vec![node(26, 70_000, 3)] },
        ],
    };
    let equal = Snapshot {
        span: span(0, 1_710_684_599_999),
        root: Hash::from_bytes([9; 32]),
        count: 70_303,
        digest: None,
        answer: false,
    };
    let differs = Snapshot {
        digest: Some(digest),
        answer: true,
        span: equal.span,
        root: equal.root,
        count: equal.count,
    };
    let parents = vec![Parent {
        node: NodePosition { level: 1, index: 890_625 },
        children: vec![node(0, 5, 4), node(31, 6, 5)],
    }];
    let short = Ids::Short { salt: 42, ids: vec![ShortId([1, 2, 3, 4, 5]), ShortId([6, 7, 8, 9, 10])] };
    let shares =
        Listed { share: Share { part: 1, of: 3 }, ..listed(Ids::Short { salt: 43, ids: Vec::new() }) };
    let block = Reply::Block { span: span(60_000, 119_999), rest: Some(span(60_000, 90_000)), last: true };
    vec![
        ("Hello, the first", Message::Hello(hello)),
        ("Hello, an answer", Message::Hello(answer)),
        ("Push", Message::Push(Push { events: events.clone() })),
        ("Snapshot, nothing new", Message::Snapshot(equal)),
        ("Snapshot, with digest", Message::Snapshot(differs)),
        ("Nodes", Message::Nodes(Nodes { span: span(0, 1_710_684_599_999), parents })),
        ("EventList, announced", Message::EventList(EventList::Announced(vec![event_key(1), event_key(2)]))),
        ("EventList, held", Message::EventList(EventList::Held(vec![listed(short), shares]))),
        ("NeedEvents, at", Message::NeedEvents(NeedEvents::At(vec![event_key(3)]))),
        (
            "NeedEvents, of",
            Message::NeedEvents(NeedEvents::Of(vec![listed(Ids::Full(vec![EventId::from_bytes([4; 32])]))])),
        ),
        (
            "Events, announced",
            Message::Events(Events { reply: Reply::At { more: true }, events: events.clone() }),
        ),
        (
            "Events, wanted",
            Message::Events(Events { reply: Reply::Of { more: false, last: true }, events: events.clone() }),
        ),
        ("Events, a block", Message::Events(Events { reply: block, events })),
    ]
}

fn parameters() -> Parameters {
    Parameters::default()
}

#[test]
fn the_bytes_of_each_message_are_fixed() {
    let mut text = String::from("# What each message is on the wire, in hexadecimal. It may never change.\n");
    for (name, message) in samples() {
        let _ = writeln!(text, "{name}\n    {}", hex::encode(encode(&message)));
    }
    if std::env::var_os("AEVRION_WRITE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file can be read");
    assert_eq!(text, golden);
}

#[test]
fn what_was_encoded_is_decoded() {
    for (name, message) in samples() {
        assert_eq!(decode(&encode(&message), &parameters()), Ok(message), "{name}");
    }
}

#[test]
fn a_message_cut_anywhere_is_none() {
    for (name, message) in samples() {
        let frame = encode(&message);
        for len in 0..frame.len() {
            assert!(decode(&frame[..len], &parameters()).is_err(), "{name} cut to {len} bytes");
        }
        let mut longer = frame.to_vec();
        longer.push(0);
        assert!(matches!(decode(&longer, &parameters()), Err(Malformed::Trailing(_, 1))), "{name}");
    }
}

#[test]
fn unknown_kinds_are_named() {
    assert_eq!(decode(&[7], &parameters()), Err(Malformed::UnknownKind(7)));
    assert_eq!(decode(&[255, 1], &parameters()), Err(Malformed::UnknownKind(255)));
    assert_eq!(decode(&[], &parameters()), Err(Malformed::Empty));
}

#[test]
fn a_hello_of_another_version_is_told_as_such_whatever_its_fields_are() {
    let Some((_, Message::Hello(hello))) = samples().into_iter().next() else { panic!("it is the first") };
    let mut other = encode(&Message::Hello(Hello { version: 3, ..hello })).to_vec();
    assert_eq!(decode(&other, &parameters()), Err(Malformed::OtherVersion(3)));
    other.extend([7; 5]);
    assert_eq!(decode(&other, &parameters()), Err(Malformed::OtherVersion(3)));
    other.truncate(4);
    assert_eq!(decode(&other, &parameters()), Err(Malformed::OtherVersion(3)));
}

#[test]
fn a_list_that_claims_too_much_gets_no_memory() {
    // A Push that claims 2^60 events, but contains none.
    let mut claim = vec![1];
    claim.extend([0x80; 8]);
    claim.push(0x10);
    assert_eq!(decode(&claim, &parameters()), Err(Malformed::Truncated("Push")));
}

#[test]
fn a_list_longer_than_allowed_is_refused_though_all_of_it_is_there() {
    let push = |events| Message::Push(Push { events: vec![event("k", Value::Deletion, 1); events] });
    assert!(decode(&encode(&push(16_384)), &parameters()).is_ok());
    assert_eq!(decode(&encode(&push(16_385)), &parameters()), Err(Malformed::BadField("Push")));
}

#[test]
fn a_hello_tells_few_and_short_addresses() {
    let Some((_, Message::Hello(hello))) = samples().into_iter().next() else { panic!("it is the first") };
    let of = |listens: Vec<String>, conflict| Message::Hello(Hello { listens, conflict, ..hello.clone() });
    let long = "a".repeat(PEER_TEXT);
    let most = of(vec![long.clone(); LISTENS], Some(long.clone()));
    assert_eq!(decode(&encode(&most), &parameters()), Ok(most));
    let longer = format!("{long}a");
    for bad in [of(vec![long; LISTENS + 1], None), of(vec![longer.clone()], None), of(vec![], Some(longer))] {
        assert_eq!(decode(&encode(&bad), &parameters()), Err(Malformed::BadField("Hello")));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bad = |message: Message| decode(&encode(&message), &parameters()).unwrap_err();
    let digests = |indexes: &[u64]| {
        indexes
            .iter()
            .map(|index| NodeDigest { index: *index, count: 1, hash: Hash::from_bytes([1; 32]) })
            .collect::<Vec<_>>()
    };
    let nodes = |level, indexes: &[u64]| {
        let parent = Parent { node: NodePosition { level, index: 0 }, children: digests(indexes) };
        Message::Nodes(Nodes { span: TimeSpan::ALL, parents: vec![parent] })
    };
    assert_eq!(bad(nodes(0, &[0])), Malformed::BadField("Nodes"), "leaves have no children");
    assert_eq!(bad(nodes(5, &[0])), Malformed::BadField("Nodes"), "there is no such level");
    assert_eq!(bad(nodes(1, &[32])), Malformed::BadField("Nodes"), "a child beyond the last");
    assert_eq!(bad(nodes(1, &[3, 3])), Malformed::BadField("Nodes"), "a child named twice");
    let digest = Some(Digest { rows: vec![Row { level: 0, nodes: digests(&[2, 1]) }] });
    let snapshot = Snapshot { span: TimeSpan::ALL, root: Hash::EMPTY, count: 0, digest, answer: false };
    assert_eq!(bad(Message::Snapshot(snapshot)), Malformed::BadField("Snapshot"), "nodes out of order");
    let share = Listed { share: Share { part: 1, of: 1 }, ..listed(Ids::Full(Vec::new())) };
    assert_eq!(bad(Message::EventList(EventList::Held(vec![share]))), Malformed::BadField("EventList"));
    let empty_key = Message::Push(Push { events: vec![event("", Value::Deletion, 1)] });
    assert!(matches!(bad(empty_key), Malformed::BadEvent(_)));
    let long = Value::Data(vec![0; (16 << 20) + 1].into());
    let too_long = Message::Push(Push { events: vec![event("k", long, 1)] });
    assert!(matches!(bad(too_long), Malformed::BadEvent(_)));
}

#[test]
fn one_event_of_the_greatest_size_fits_a_frame() {
    let parameters = parameters();
    let key = vec![b'k'; parameters.longest_key as usize];
    let data = vec![0; parameters.largest_data as usize];
    let expires_at = Timestamp::MAX;
    let event =
        Event::new(key.into(), Value::Expiring { data: data.into(), expires_at }, Timestamp::MAX).unwrap();
    let reply = Reply::Block { span: TimeSpan::ALL, rest: Some(TimeSpan::ALL), last: true };
    let frame = encode(&Message::Events(Events { reply, events: vec![event] }));
    assert!(frame.len() <= longest_frame(&parameters), "{} bytes", frame.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_survived(kind in 0_u8..8, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut frame = vec![kind];
        frame.extend(noise);
        if let Ok(message) = decode(&frame, &parameters()) {
            prop_assert!(!message.name().is_empty());
        }
    }

    #[test]
    fn a_message_with_one_byte_changed_is_survived(
        which in 0..13_usize, place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (_, message) = samples().swap_remove(which);
        let mut frame = encode(&message).to_vec();
        let place = place.index(frame.len());
        frame[place] = byte;
        if let Ok(read) = decode(&frame, &parameters()) {
            // Every decoded message is valid: its encoding decodes to the same message.
            prop_assert_eq!(decode(&encode(&read), &parameters()), Ok(read));
        }
    }
}
