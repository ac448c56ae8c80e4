//! The conformance suite for neighbours that stay connected but stop reading. Every transport considers them healthy,
//! as they answer its pings. Every transport runs it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use super::{Neighbour, Replication, ReplicationOptions, StallTimeouts};
use crate::conformance::PATIENCE;
use crate::message::{
    Echo, EventList, Hello, Listed, Message, Naming, PROTOCOL_VERSION, Snapshot, Stretch, decode, encode,
    longest_frame,
};
use crate::sketch::NumberList;
use crate::store::MemoryStore;
use crate::transport::{Connection, Lane, Transport, TransportError};
use crate::{Hash, Incarnation, NodeId, Options, Replica, SystemWall, TimeSpan, Timestamp, WallClock};

const READS: &str = "a neighbour that does not read a lane is cut off";
const SPEAKS: &str = "a neighbour that says nothing any more is cut off";

/// Far more than any transport buffers for a receiver that does not read.
const EVENTS: usize = 48;
const EVENT_BYTES: usize = 256 << 10;

/// Runs the suite. It takes some seconds.
///
/// # Panics
/// If a promise is broken. The text begins with the promise.
pub async fn run<T, E, F, Opening>(open: F)
where
    T: Transport,
    E: Display,
    F: Fn() -> Opening,
    Opening: Future<Output = Result<T, E>>,
{
    let bind = async || {
        let opened = open().await;
        opened.unwrap_or_else(|error| panic!("the transport must bind: {error}"))
    };
    let pair = async |timeouts| Pair::new(bind().await, bind().await, timeouts).await;
    let hasty = StallTimeouts::default().stalled(Duration::from_millis(500)).rate(8 << 20);
    one_that_does_not_read_is_cut_off(&pair(hasty).await).await;
    let hasty = StallTimeouts::default().silent(Duration::from_millis(500));
    one_that_says_nothing_is_cut_off(&pair(hasty).await).await;
}

/// A synchronising replica, and a neighbour played by the suite.
struct Pair {
    replica: Replica,
    replication: Replication,
    lazy: NodeId,
    connection: Arc<dyn Connection>,
    /// Keeps the other end of the network alive.
    _transport: Arc<dyn Transport>,
}

impl Pair {
    async fn new(honest: impl Transport, lazy: impl Transport, timeouts: StallTimeouts) -> Self {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await;
        let replica = replica.unwrap_or_else(|error| panic!("the suite's own replica opens: {error}"));
        let address = honest.address();
        let replication = replica.replicate(ReplicationOptions::default().timeouts(timeouts));
        replication.over(honest);
        let connection = lazy.dial(&address).await;
        let connection = connection.unwrap_or_else(|error| panic!("nodes of a cluster connect: {error}"));
        let (lazy, transport) = (lazy.node(), Arc::new(lazy));
        let pair = Self { replica, replication, lazy, connection, _transport: transport };
        pair.handshake().await;
        pair
    }

    /// Answers Hellos until another message comes.
    async fn handshake(&self) {
        let mut number = 0;
        while let Message::Hello(theirs) = self.receive().await {
            number += 1;
            let hello = Hello {
                version: PROTOCOL_VERSION,
                features: 0,
                space: "default".into(),
                parameters: self.replica.parameters(),
                node: self.lazy,
                incarnation: Incarnation::from_bytes([0; 8]),
                listens: Vec::new(),
                conflict: None,
                wall: SystemWall.now(),
                number,
                echo: Some(Echo { number: theirs.number, held_us: 0 }),
                samples: 3,
            };
            self.send(Lane::Live, &Message::Hello(hello)).await;
        }
    }

    async fn send(&self, lane: Lane, message: &Message) {
        // The connection may be closed already, which the suite waits for.
        let _ = self.connection.send(lane, encode(message)).await;
    }

    async fn receive(&self) -> Message {
        let parameters = self.replica.parameters();
        let received = self.connection.receive(Lane::Live, longest_frame(&parameters)).await;
        let frame = received.ok().flatten().unwrap_or_else(|| panic!("it is spoken to at first"));
        decode(&frame, &parameters).unwrap_or_else(|error| panic!("it is spoken to sensibly: {error}"))
    }

    /// Reads the live lane until the connection ends with the reason `what`, counted as `name`.
    async fn is_cut_off(&self, promise: &str, name: &str, what: &str) {
        let longest = longest_frame(&self.replica.parameters());
        let end = async {
            loop {
                match self.connection.receive(Lane::Live, longest).await {
                    Ok(Some(_)) => {}
                    Ok(None) => return String::new(),
                    Err(TransportError::Closed { reason, .. }) => return reason,
                    Err(error) => return error.to_string(),
                }
            }
        };
        let reason = tokio::time::timeout(PATIENCE, end).await;
        let reason =
            reason.unwrap_or_else(|_| panic!("{promise}: it is not: {:?}", self.replication.totals()));
        assert!(reason.contains(what), "{promise}: it is told `{reason}`");
        let faults = self.replication.totals().faults;
        assert_eq!(faults.get(name), Some(&1), "{promise}: and counted: {faults:?}");
        let is_here = |one: &Neighbour| one.id == Some(self.lazy) && one.is_connected();
        assert!(!self.replication.neighbours().iter().any(is_here), "{promise}: and gone");
    }
}

/// The neighbour asks for more than the lane holds and does not read it, but reads the other lane.
async fn one_that_does_not_read_is_cut_off(pair: &Pair) {
    for number in 0..EVENTS {
        let written = pair.replica.put(format!("key {number}"), vec![b'v'; EVENT_BYTES]).await;
        written.unwrap_or_else(|error| panic!("the suite's own replica takes writes: {error}"));
    }
    // Up to the year 2109.
    let span = TimeSpan::before(Timestamp::from_millis(1 << 42)).unwrap_or(TimeSpan::ALL);
    let snapshot = Snapshot { span, root: Hash::EMPTY, count: 0, cells: None, answer: true };
    pair.send(Lane::Live, &Message::Snapshot(snapshot)).await;
    while !matches!(pair.receive().await, Message::Snapshot(answer) if answer.span == span) {}
    #[expect(clippy::expect_used, reason = "no numbers ascend")]
    let numbers = NumberList::new(1, Vec::new()).expect("a list may be empty");
    let nothing = Listed { stretch: Stretch::of(span), naming: Naming::Short([0; 8]), numbers };
    for _ in 0..8 {
        pair.send(Lane::Repair, &Message::EventList(EventList::Held(vec![nothing.clone()]))).await;
    }
    pair.is_cut_off(READS, "does_not_read", "does not read").await;
}

async fn one_that_says_nothing_is_cut_off(pair: &Pair) {
    pair.is_cut_off(SPEAKS, "silent", "says nothing").await;
}
