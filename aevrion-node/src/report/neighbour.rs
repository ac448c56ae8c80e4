//! Neighbours and removed nodes, as every report shows them.

use aevrion_core::Timestamp;
use aevrion_core::replication::{self, NeighbourState};
use aevrion_core::transport::Removal;
use serde::{Deserialize, Serialize};

/// A neighbour of this node, connected or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NeighbourReport {
    /// Nothing until a node was reached at the address.
    pub(crate) id: Option<String>,
    /// Empty if unknown.
    pub(crate) address: String,
    /// Addresses to dial, the most reliable first.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    pub(crate) state: String,
    /// When it was last connected; nothing if it never was, as far as is known.
    #[serde(default)]
    pub(crate) last_seen: Option<u64>,
    pub(crate) clock_offset_ms: Option<i64>,
    /// The time before which both agreed in their last comparison; it is kept across disconnections and restarts.
    pub(crate) agreed_until: Option<u64>,
    /// Events still to transfer in either direction, 0 in agreement; nothing if unknown.
    pub(crate) behind: Option<u64>,
    /// Progress of the current catch-up, if there is one.
    #[serde(default)]
    pub(crate) catch_up: Option<CatchUpReport>,
    /// Why there is no connection.
    pub(crate) problem: Option<String>,
    pub(crate) round_trip_ms: Option<f64>,
    /// Events received and sent by repairs since the connection began.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Time ranges that differed in the last comparison, the latest first: [first, last] in milliseconds.
    pub(crate) differences: Vec<[u64; 2]>,
}

impl From<&replication::Neighbour> for NeighbourReport {
    fn from(neighbour: &replication::Neighbour) -> Self {
        let span = |span: &aevrion_core::TimeSpan| [span.first().as_millis(), span.last().as_millis()];
        let agrees = neighbour.state == NeighbourState::Agrees;
        Self {
            id: neighbour.id.map(|id| id.to_string()),
            address: neighbour.address.clone(),
            addresses: neighbour.addresses.iter().map(ToString::to_string).collect(),
            last_seen: neighbour.last_seen.map(Timestamp::as_millis),
            state: neighbour.state.to_string(),
            clock_offset_ms: neighbour.clock_offset,
            agreed_until: neighbour.agreed_until.map(Timestamp::as_millis),
            // 0 means agreement: before the first comparison the number is unknown.
            behind: Some(neighbour.behind).filter(|behind| *behind > 0 || agrees),
            catch_up: neighbour.catch_up.as_ref().map(CatchUpReport::from),
            problem: neighbour.problem.clone(),
            round_trip_ms: neighbour.round_trip.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3),
            received: neighbour.received,
            sent: neighbour.sent,
            bytes_received: neighbour.traffic.received,
            bytes_sent: neighbour.traffic.sent,
            differences: neighbour.differences.iter().map(span).collect(),
        }
    }
}

impl NeighbourReport {
    /// A neighbour that a directory remembers. Only a running node knows its state.
    pub(crate) fn remembered(member: &replication::Member) -> Self {
        let addresses: Vec<_> = member.addresses().map(ToString::to_string).collect();
        Self {
            address: addresses.first().cloned().unwrap_or_default(),
            addresses,
            last_seen: member.last_seen.map(Timestamp::as_millis),
            agreed_until: member.agreed_until.map(Timestamp::as_millis),
            ..Self::listed(member.id.map(|id| id.to_string()), "remembered")
        }
    }

    /// A removed node, with or without an address.
    pub(crate) fn removed(node: &RemovedNode) -> Self {
        let at = Timestamp::from_millis(node.removed_at);
        let problem = Some(format!("by the cluster's authority on {}", at.to_utc()));
        Self { problem, ..Self::listed(Some(node.id.clone()), "removed") }
    }

    /// Whether the neighbour is in this state.
    pub(crate) fn is(&self, state: NeighbourState) -> bool {
        self.state == state.name()
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.is(NeighbourState::Unserved) && !self.is(NeighbourState::Unreachable)
    }

    /// A node of which nothing else is known.
    pub(crate) fn listed(id: Option<String>, state: &str) -> Self {
        Self {
            id,
            address: String::new(),
            addresses: Vec::new(),
            last_seen: None,
            state: state.to_owned(),
            clock_offset_ms: None,
            agreed_until: None,
            behind: None,
            catch_up: None,
            problem: None,
            round_trip_ms: None,
            received: 0,
            sent: 0,
            bytes_received: 0,
            bytes_sent: 0,
            differences: Vec::new(),
        }
    }
}

/// Progress of a catch-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CatchUpReport {
    /// Blocks of time in the last comparison, and blocks that agreed then or that repair has passed since.
    pub(crate) blocks: usize,
    pub(crate) blocks_agreed: usize,
    /// Events transferred in either direction since the catch-up began.
    pub(crate) moved: u64,
    /// Bytes of keys and values still to transfer, estimated from those transferred; nothing before the first.
    pub(crate) bytes_to_go: Option<u64>,
    pub(crate) events_per_second: f64,
    /// At that rate; nothing before the first transfer.
    pub(crate) seconds_to_go: Option<f64>,
}

impl From<&replication::CatchUp> for CatchUpReport {
    fn from(catch_up: &replication::CatchUp) -> Self {
        Self {
            blocks: catch_up.blocks,
            blocks_agreed: catch_up.agreed,
            moved: catch_up.moved,
            bytes_to_go: catch_up.bytes_to_go,
            events_per_second: catch_up.rate(),
            seconds_to_go: catch_up.left().map(|left| left.as_secs_f64()),
        }
    }
}

/// A node removed by the authority.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RemovedNode {
    pub(crate) id: String,
    pub(crate) removed_at: u64,
}

impl From<&Removal> for RemovedNode {
    fn from(removal: &Removal) -> Self {
        Self { id: removal.node.to_string(), removed_at: removal.at.as_millis() }
    }
}
