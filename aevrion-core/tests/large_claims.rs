//! Promise: no number of a neighbour is too large. It may claim any count, name any node and any stretch: that is an
//! answer or a fault, never a panic.

use crate::support::node::{NOW, Node, SECOND, differing, event_at, is_question, messages, past};
use aevrion_core::agent::Input;
use aevrion_core::message::{
    CellCounts, Differing, Digest, End, EventList, Listed, Message, Naming, NeedEvents, NodeDigest, Nodes,
    Parent, Row, ShortHash, Snapshot, Stretch,
};
use aevrion_core::sketch::NumberList;
use aevrion_core::store::Durability;
use aevrion_core::transport::Lane;
use aevrion_core::tree::NodePosition;
use aevrion_core::{EventId, EventKey, Hash, TimeSpan, Timestamp};

const MOST: u64 = u64::MAX;

async fn node() -> Node {
    let mut node = Node::new(5, 60_000).await;
    let events = (0..300).map(|n| event_at(&n.to_string(), NOW - 600_000 - n * 100_000)).collect();
    node.replica.insert(events, Durability::Immediate).await.unwrap();
    node.pass(0, SECOND * 3).await;
    node
}

fn digest(index: u64) -> NodeDigest {
    NodeDigest { index, count: MOST, hash: ShortHash([7; 8]) }
}

fn parent(level: u8, index: u64) -> Parent {
    Parent { node: NodePosition { level, index }, children: (0..32).map(digest).collect() }
}

fn future() -> TimeSpan {
    TimeSpan::from(Timestamp::from_millis(NOW * 2))
}

/// Comparisons of all nodes, of which the neighbour claims to hold as many events as can be.
fn comparisons() -> Vec<(String, Message)> {
    let counts = |events| Some(CellCounts { events, counts: vec![255; 1_024] });
    let nodes = |level, from: u64| {
        let nodes = (from..=MOST).take(100).map(digest).collect();
        Some(Digest { rows: vec![Row { level, nodes }] })
    };
    let mut all = Vec::new();
    for span in [past(NOW), TimeSpan::ALL, future()] {
        for digest in [None, nodes(4, 0), nodes(0, 0), nodes(0, MOST - 50), nodes(4, MOST - 50)] {
            for counts in [counts(0), counts(MOST), None] {
                if digest.is_some() || counts.is_some() {
                    let name = format!("a comparison of {span} with {digest:.0?} and {:?}", counts.is_some());
                    let name = name.chars().take(160).collect();
                    all.push((name, Message::Nodes(Nodes::Cover { span, digest: digest.clone(), counts })));
                }
            }
        }
        for (level, index) in [(1, 0), (1, MOST), (4, 0), (4, MOST)] {
            let question =
                Nodes::Children { span, parents: vec![parent(level, index), parent(level, index)] };
            all.push((
                format!("children of {index} in level {level} within {span}"),
                Message::Nodes(question),
            ));
        }
    }
    all
}

/// Lists and requests of stretches that begin and end anywhere.
fn lists() -> Vec<(String, Message)> {
    let key = |ms| EventKey { timestamp: Timestamp::from_millis(ms), id: EventId::from_bytes([0xFF; 32]) };
    let ends = [None, Some(key(0)), Some(key(NOW - 700_000)), Some(key(MOST))];
    let mut all = Vec::new();
    for span in [past(NOW - 1_000_000), TimeSpan::ALL, future()] {
        for from in ends {
            for before in ends {
                let stretch = Stretch { span, from, before };
                for (naming, bits) in [
                    (Naming::Locators, 1),
                    (Naming::Locators, 48),
                    (Naming::Locators, 64),
                    (Naming::Short([1; 8]), 64),
                ] {
                    let most = MOST >> (64 - bits);
                    let numbers = NumberList::new(bits, vec![0, most]).unwrap();
                    let listed = Listed { stretch, naming, numbers };
                    let messages = [
                        Message::EventList(EventList::Held(vec![listed.clone()])),
                        Message::EventList(EventList::Lacked(vec![listed.clone()])),
                        Message::NeedEvents(NeedEvents::Of(vec![listed])),
                    ];
                    all.extend(
                        messages.map(|message| (format!("{message} of {stretch:?}, {naming:?}"), message)),
                    );
                }
            }
        }
        let spans = vec![span, TimeSpan::ALL, span];
        all.push((format!("lacked in {span}"), Message::EventList(EventList::LackedIn(spans))));
    }
    all
}

/// Tells a node each of the messages, a new one of each, and returns those that it panics at.
async fn panics_at(all: Vec<(String, Message)>) -> Vec<String> {
    let mut panics = Vec::new();
    for (name, message) in all {
        let told = tokio::spawn(async move {
            let mut node = node().await;
            let _ = node.try_to_tell(0, Input::Received(Lane::Repair, message)).await;
        });
        if told.await.is_err() {
            panics.push(name);
        }
    }
    panics
}

#[tokio::test]
async fn comparisons_with_large_numbers() {
    let panics = panics_at(comparisons()).await;
    assert!(panics.is_empty(), "{panics:#?}");
}

#[tokio::test]
async fn lists_of_any_stretch() {
    let panics = panics_at(lists()).await;
    assert!(panics.is_empty(), "{panics:#?}");
}

#[tokio::test]
async fn snapshots_with_large_numbers() {
    let mut node = node().await;
    for span in [past(NOW), future()] {
        let (root, cells) = (Hash::from_bytes([3; 32]), None);
        let snapshot = Snapshot { span, root, count: MOST, cells, answer: true };
        node.hear(0, Message::Snapshot(snapshot)).await;
    }
    let agreement = node.agents[0].progress().agreement;
    assert_eq!(agreement.behind(), MOST);
    assert!(agreement.catch_up(node.steady).is_some_and(|catch_up| catch_up.left().is_none()));
}

/// Differing nodes in answer to a question.
#[tokio::test]
async fn answers_with_large_numbers() {
    let in_span = |span| vec![Differing::Count(span, MOST), Differing::Count(span, MOST)];
    let parents = |level, index| vec![Differing::Children(parent(level, index))];
    for differing_there in [in_span(past(NOW)), parents(4, 0), parents(1, NOW / 60_000 / 32 - 1)] {
        let mut node = node().await;
        let mut said = messages(node.hear(0, differing(NOW)).await);
        let mut asked = 0;
        while let Some(question) = said.iter().find(|message| is_question(message)) {
            asked += 1;
            let answer = match question {
                Message::Nodes(_) if asked == 1 => Message::Nodes(Nodes::Differing(differing_there.clone())),
                _ => crate::support::node::answer(End::Complete, Vec::new()),
            };
            said = messages(node.try_to_tell(0, Input::Received(Lane::Repair, answer)).await.unwrap());
        }
        assert!(asked > 1, "it asks on");
        node.pass(0, SECOND).await;
    }
}
