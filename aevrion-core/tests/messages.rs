//! Messages on the wire: the bytes of each kind are fixed, and no other bytes decode to a message.

use std::fmt::Write;

use aevrion_core::bounds::{
    CELL_COUNTS, KEPT_IRREGULAR, LISTENS, MESSAGE_CHILDREN, MESSAGE_IDS, MESSAGE_LISTS, MESSAGE_PARENTS,
    MESSAGE_SPANS, PEER_TEXT,
};
use aevrion_core::message::{
    CellCounts, Differing, Digest, Echo, End, EventList, Events, Hello, Listed, Malformed, Message, Naming,
    NeedEvents, NodeDigest, Nodes, PROTOCOL_VERSION, Parent, Push, Reply, Row, ShortHash, Snapshot, Source,
    Stretch, decode, encode, longest_frame,
};
use aevrion_core::sketch::{Cells, Locator, Mapping, NumberList};
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

fn node(index: u64, count: u64, byte: u8) -> NodeDigest {
    NodeDigest { index, count, hash: ShortHash([byte; 8]) }
}

fn listed(bits: u8, numbers: &[u64]) -> Listed {
    let numbers = NumberList::new(bits, numbers.to_vec()).unwrap();
    Listed { stretch: Stretch::of(span(60_000, 119_999)), naming: Naming::Locators, numbers }
}

/// Cells of three events.
fn cells(mapping: Mapping, range: std::ops::Range<usize>) -> Cells {
    let mut cells = Cells::part(mapping, range);
    let locators = [7, 1 << 30, 0xFFFF_FFFF_FFFF].map(Locator::from_value);
    locators.into_iter().flatten().for_each(|locator| cells.insert(locator));
    cells
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

const SOURCE: Source = Source([1, 2, 3, 4, 5, 6, 7, 8]);

/// At least one message of each kind and variant.
fn samples() -> Vec<(&'static str, Message)> {
    let (hello, answer) = sample_hellos();
    let mut samples = vec![
        ("Hello, the first", Message::Hello(hello)),
        ("Hello, an answer", Message::Hello(answer)),
        ("Push", Message::Push(Push { source: SOURCE, events: sample_events() })),
    ];
    samples.extend(sample_snapshots());
    samples.extend(sample_nodes());
    samples.extend(sample_lists());
    samples.extend(sample_requests());
    samples.extend(sample_answers());
    samples
}

fn sample_snapshots() -> [(&'static str, Message); 2] {
    let equal = Snapshot {
        span: span(0, 1_710_684_599_999),
        root: Hash::from_bytes([9; 32]),
        count: 70_303,
        cells: None,
        answer: false,
    };
    let cells = Some(cells(Mapping::Regular, 0..5));
    let differs = Snapshot { cells, answer: true, ..equal };
    [
        ("Snapshot, nothing new", Message::Snapshot(equal)),
        ("Snapshot, with cells", Message::Snapshot(differs)),
    ]
}

fn sample_nodes() -> [(&'static str, Message); 4] {
    let past = span(0, 1_710_684_599_999);
    let digest = Digest {
        rows: vec![
            Row { level: 0, nodes: vec![node(28_500_000, 3, 1), node(28_500_001, 300, 2)] },
            Row { level: 4, nodes: vec![node(26, 70_000, 3)] },
        ],
    };
    let counts = CellCounts { events: 70_303, counts: vec![3, 0, 255] };
    let parent = Parent {
        node: NodePosition { level: 1, index: 890_625 },
        children: vec![node(0, 5, 4), node(31, 6, 5)],
    };
    let few = Differing::Count(span(60_000, 119_999), 12);
    let covers = |digest, counts| Message::Nodes(Nodes::Cover { span: past, digest, counts });
    [
        ("Nodes, cover by counts", covers(None, Some(counts.clone()))),
        ("Nodes, cover by nodes or counts", covers(Some(digest), Some(counts))),
        ("Nodes, children", Message::Nodes(Nodes::Children { span: past, parents: vec![parent.clone()] })),
        ("Nodes, differing", Message::Nodes(Nodes::Differing(vec![Differing::Children(parent), few]))),
    ]
}

fn sample_lists() -> [(&'static str, Message); 5] {
    let short = Listed { naming: Naming::Short([1, 2, 3, 4, 5, 6, 7, 8]), ..listed(12, &[5, 6, 4_000]) };
    let stretch =
        Stretch { from: Some(event_key(3)), before: Some(event_key(4)), ..Stretch::of(span(0, 59_999)) };
    let empty = Listed { stretch, ..listed(1, &[]) };
    let lacked = listed(48, &[7, 1 << 30, 0xFFFF_FFFF_FFFF]);
    [
        (
            "EventList, announced",
            EventList::Announced { source: SOURCE, event_keys: vec![event_key(1), event_key(2)] },
        ),
        ("EventList, held", EventList::Held(vec![short, empty])),
        ("EventList, lacked", EventList::Lacked(vec![lacked, listed(30, &[9])])),
        ("EventList, lacked in", EventList::LackedIn(vec![span(60_000, 119_999), span(0, 59_999)])),
        ("EventList, cells", EventList::Cells(cells(Mapping::Irregular, 4..8))),
    ]
    .map(|(name, list)| (name, Message::EventList(list)))
}

fn sample_requests() -> [(&'static str, Message); 3] {
    [
        ("NeedEvents, at", NeedEvents::At(vec![event_key(3)])),
        ("NeedEvents, of", NeedEvents::Of(vec![listed(30, &[9, 1_000_000]), listed(48, &[7])])),
        ("NeedEvents, cells", NeedEvents::Cells { span: span(0, 59_999), from: 200, len: 25 }),
    ]
    .map(|(name, request)| (name, Message::NeedEvents(request)))
}

fn sample_answers() -> [(&'static str, Message); 6] {
    let (some, none) = (sample_events, Vec::new);
    [
        ("Events, announced", Reply::At { more: true }, some()),
        ("Events, a part", Reply::Part, some()),
        ("Events, the last part", Reply::End(End::Complete), some()),
        ("Events, as far as the budget goes", Reply::End(End::Before(event_key(5))), some()),
        ("Events, later", Reply::End(End::Later), none()),
        ("Events, too different", Reply::End(End::TooDifferent), none()),
    ]
    .map(|(name, reply, events)| (name, Message::Events(Events { reply, events })))
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
    let mut other = encode(&Message::Hello(Hello { version: PROTOCOL_VERSION + 1, ..hello })).to_vec();
    assert_eq!(decode(&other, &parameters()), Err(Malformed::OtherVersion(PROTOCOL_VERSION + 1)));
    other.extend([7; 5]);
    assert_eq!(decode(&other, &parameters()), Err(Malformed::OtherVersion(PROTOCOL_VERSION + 1)));
    other.truncate(4);
    assert_eq!(decode(&other, &parameters()), Err(Malformed::OtherVersion(PROTOCOL_VERSION + 1)));
}

#[test]
fn a_list_that_claims_too_much_gets_no_memory() {
    // A Push that claims 2^60 events, but contains none.
    let mut claim = vec![1];
    claim.extend(SOURCE.0);
    claim.extend([0x80; 8]);
    claim.push(0x10);
    assert_eq!(decode(&claim, &parameters()), Err(Malformed::Truncated("Push")));
}

#[test]
fn a_list_longer_than_allowed_is_refused_though_all_of_it_is_there() {
    let push =
        |events| Message::Push(Push { source: SOURCE, events: vec![event("k", Value::Deletion, 1); events] });
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

fn bad(message: &Message) -> Malformed {
    decode(&encode(message), &parameters()).unwrap_err()
}

#[test]
fn what_makes_no_sense_is_refused() {
    let digests = |indexes: &[u64]| indexes.iter().map(|index| node(*index, 1, 1)).collect::<Vec<_>>();
    let nodes = |level, indexes: &[u64]| {
        let parent = Parent { node: NodePosition { level, index: 0 }, children: digests(indexes) };
        [
            Message::Nodes(Nodes::Children { span: TimeSpan::ALL, parents: vec![parent.clone()] }),
            Message::Nodes(Nodes::Differing(vec![Differing::Children(parent)])),
        ]
    };
    for (level, indexes, why) in [
        (0, &[0][..], "leaves have no children"),
        (5, &[0], "there is no such level"),
        (1, &[32], "a child beyond the last"),
        (1, &[3, 3], "a child named twice"),
    ] {
        for message in nodes(level, indexes) {
            assert_eq!(bad(&message), Malformed::BadField("Nodes"), "{why}");
        }
    }
    let cover = |digest| Message::Nodes(Nodes::Cover { span: TimeSpan::ALL, digest, counts: None });
    let row = |level, indexes: &[u64]| Some(Digest { rows: vec![Row { level, nodes: digests(indexes) }] });
    assert_eq!(bad(&cover(row(0, &[2, 1]))), Malformed::BadField("Nodes"), "nodes out of order");
    assert_eq!(bad(&cover(row(5, &[1]))), Malformed::BadField("Nodes"), "there is no such level");
    assert_eq!(bad(&cover(None)), Malformed::BadField("Nodes"), "a question that asks for nothing");
    let empty_key = Message::Push(Push { source: SOURCE, events: vec![event("", Value::Deletion, 1)] });
    assert!(matches!(bad(&empty_key), Malformed::BadEvent(_)));
    let long = Value::Data(vec![0; (16 << 20) + 1].into());
    let too_long = Message::Push(Push { source: SOURCE, events: vec![event("k", long, 1)] });
    assert!(matches!(bad(&too_long), Malformed::BadEvent(_)));
}

fn numbered(numbers: usize) -> Listed {
    listed(64, &(0..numbers as u64).collect::<Vec<_>>())
}

fn held(lists: Vec<Listed>) -> Message {
    Message::EventList(EventList::Held(lists))
}

/// Lists of the greatest length are read, longer ones are refused, be it one list or all of them together.
#[test]
fn the_numbers_of_a_message_are_limited() {
    let lacked = |lists| Message::EventList(EventList::Lacked(lists));
    let of = |lists| Message::NeedEvents(NeedEvents::Of(lists));
    let most = MESSAGE_IDS;
    for (name, fits, longer) in [
        ("NeedEvents", of(vec![numbered(most)]), of(vec![numbered(most + 1)])),
        ("NeedEvents", of(vec![numbered(most - 1), numbered(1)]), of(vec![numbered(most), numbered(1)])),
        ("EventList", held(vec![numbered(most - 1), numbered(1)]), held(vec![numbered(most), numbered(1)])),
        ("EventList", held(vec![numbered(0); MESSAGE_SPANS]), held(vec![numbered(0); MESSAGE_SPANS + 1])),
    ] {
        assert!(encode(&fits).len() <= longest_frame(&parameters()), "it fits a frame");
        assert_eq!(decode(&encode(&fits), &parameters()), Ok(fits));
        assert_eq!(bad(&longer), Malformed::BadField(name));
    }
    let lists = |number| vec![numbered(1); number];
    assert_eq!(decode(&encode(&of(lists(MESSAGE_LISTS))), &parameters()), Ok(of(lists(MESSAGE_LISTS))));
    assert_eq!(bad(&of(lists(MESSAGE_LISTS + 1))), Malformed::BadField("NeedEvents"));
    assert_eq!(bad(&of(vec![numbered(0)])), Malformed::BadField("NeedEvents"), "it names nothing");
    // These have 64 bits, and locators 48.
    assert_eq!(bad(&lacked(vec![numbered(1)])), Malformed::BadField("EventList"));
}

#[test]
fn the_nodes_and_spans_of_a_message_are_limited() {
    let parents = |number: usize, children: u64| {
        let parent = |index| Parent {
            node: NodePosition { level: 1, index },
            children: (0..children).map(|index| node(index, u64::MAX, 1)).collect(),
        };
        (0..number as u64).map(parent).collect::<Vec<_>>()
    };
    let children = |parents| Message::Nodes(Nodes::Children { span: TimeSpan::ALL, parents });
    let differing = |parents: Vec<Parent>| {
        Message::Nodes(Nodes::Differing(parents.into_iter().map(Differing::Children).collect()))
    };
    let counts =
        |number| Message::Nodes(Nodes::Differing(vec![Differing::Count(TimeSpan::ALL, u64::MAX); number]));
    let lacked_in = |number| Message::EventList(EventList::LackedIn(vec![TimeSpan::ALL; number]));
    let (widest, some) = (u64::from(parameters().branching), MESSAGE_CHILDREN / 32);
    for (name, fits, longer) in [
        ("Nodes", children(parents(MESSAGE_PARENTS, 1)), children(parents(MESSAGE_PARENTS + 1, 1))),
        ("Nodes", differing(parents(MESSAGE_PARENTS, 1)), differing(parents(MESSAGE_PARENTS + 1, 1))),
        ("Nodes", children(parents(some, widest)), children(parents(some + 1, widest))),
        ("Nodes", counts(MESSAGE_SPANS), counts(MESSAGE_SPANS + 1)),
        ("EventList", lacked_in(MESSAGE_SPANS), lacked_in(MESSAGE_SPANS + 1)),
    ] {
        assert!(encode(&fits).len() <= longest_frame(&parameters()), "it fits a frame");
        assert_eq!(decode(&encode(&fits), &parameters()), Ok(fits));
        assert_eq!(bad(&longer), Malformed::BadField(name));
    }
}

#[test]
fn the_cells_of_a_message_are_limited() {
    let answer = |len| Message::EventList(EventList::Cells(Cells::new(Mapping::Irregular, len)));
    let cover = |len| {
        let counts = Some(CellCounts { events: u64::MAX, counts: vec![255; len] });
        Message::Nodes(Nodes::Cover { span: TimeSpan::ALL, digest: None, counts })
    };
    let request = |from: usize, len: usize| {
        let (from, len) = (u32::try_from(from).unwrap(), u32::try_from(len).unwrap());
        Message::NeedEvents(NeedEvents::Cells { span: TimeSpan::ALL, from, len })
    };
    for (name, fits, longer) in [
        ("EventList", answer(KEPT_IRREGULAR), answer(KEPT_IRREGULAR + 1)),
        ("Nodes", cover(CELL_COUNTS), cover(CELL_COUNTS + 1)),
        ("NeedEvents", request(16, KEPT_IRREGULAR - 16), request(17, KEPT_IRREGULAR - 16)),
        ("NeedEvents", request(0, 1), request(u32::MAX as usize, u32::MAX as usize)),
    ] {
        assert_eq!(decode(&encode(&fits), &parameters()), Ok(fits));
        assert_eq!(bad(&longer), Malformed::BadField(name));
    }
    // Behind the kinds of message and list: the mapping, the index of the first cell, the bytes of the cells.
    let frame = |mapping: u8, from: &[u8], cells: &[u8]| [&[4, 4, mapping], from, cells].concat();
    let read = |frame: Vec<u8>| decode(&frame, &parameters());
    assert!(read(frame(1, &[0], &[8, 0, 0, 0, 0, 0, 0, 0, 0])).is_ok());
    for strange in [
        frame(2, &[0], &[0]),
        frame(1, &[0], &[7, 0, 0, 0, 0, 0, 0, 0]),
        frame(1, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], &[8, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(read(strange), Err(Malformed::BadField("EventList")));
    }
}

#[test]
fn one_event_of_the_greatest_size_fits_a_frame() {
    let parameters = parameters();
    let key = vec![b'k'; parameters.longest_key as usize];
    let data = vec![0; parameters.largest_data as usize];
    let expires_at = Timestamp::MAX;
    let event =
        Event::new(key.into(), Value::Expiring { data: data.into(), expires_at }, Timestamp::MAX).unwrap();
    let reply = Reply::End(End::Before(event.event_key()));
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
        which in 0..samples().len(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
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
