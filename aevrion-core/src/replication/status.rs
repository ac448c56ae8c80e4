//! The state of the neighbours.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Member, Peer};
use crate::agent::{self, Agreement};
use crate::transport::Traffic;
use crate::{Incarnation, NodeId, TimeSpan, Timestamp, steady};

/// The activity of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Activity {
    #[default]
    Settling,
    Repairing,
    Idle,
}

/// The progress that a link reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    pub(super) activity: Activity,
    /// `None` before the neighbour's first Hello.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) clock_offset: Option<i64>,
    pub(super) round_trip: Duration,
    pub(super) agreement: Agreement,
    /// The start of the current catch-up.
    pub(super) differs_since: Option<Instant>,
    pub(super) differences: Arc<[TimeSpan]>,
}

/// The progress of a catch-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// Blocks of time in the last comparison.
    pub blocks: usize,
    /// Blocks that were equal, or that the repair has passed since.
    pub agreed: usize,
    /// Events moved in either direction since the start.
    pub moved: u64,
    /// Events still to move in either direction, estimated from counts.
    pub to_go: u64,
    /// Bytes of the keys and values still to move, extrapolated from the moved events; `None` before the first one.
    pub bytes_to_go: Option<u64>,
    /// Time since the difference was found.
    pub elapsed: Duration,
}

impl CatchUp {
    fn new(catch_up: agent::CatchUp, to_go: u64, elapsed: Duration) -> Self {
        Self {
            blocks: catch_up.blocks(),
            agreed: catch_up.agreed(),
            moved: catch_up.events,
            to_go,
            bytes_to_go: catch_up.bytes_of(to_go),
            elapsed,
        }
    }

    /// Events per second since the start.
    pub fn rate(&self) -> f64 {
        self.moved as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// Estimated remaining time at that rate; `None` until an event has moved.
    pub fn left(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.to_go as f64 / self.rate()).ok()
    }
}

/// The state of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeighbourState {
    /// Its only addresses belong to a transport that this node lacks. It is not dialled and does not count as missing.
    Unserved,
    /// Not connected. Its known addresses are dialled; without any, it has to connect by itself.
    Unreachable,
    /// Connected, and measuring the clock offset.
    Settling,
    /// The two hold different events, and a repair is running.
    Repairing,
    /// The two hold different events, as far as known.
    Differs,
    /// The two held the same events at the last comparison.
    Agrees,
}

impl NeighbourState {
    /// The name shown by `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unserved => "unserved",
            Self::Unreachable => "unreachable",
            Self::Settling => "settling",
            Self::Repairing => "repairing",
            Self::Differs => "differs",
            Self::Agrees => "agrees",
        }
    }
}

impl fmt::Display for NeighbourState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A neighbour, or an address whose node is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The node's identity, once known.
    pub id: Option<NodeId>,
    /// The address with its transport, `quic://host:port`. Empty if unknown.
    pub address: String,
    /// The addresses to dial, the most reliable first.
    pub addresses: Vec<Peer>,
    /// The time of its last connection; `None` if no connection is known.
    pub last_seen: Option<Timestamp>,
    /// For how long this process has missed it; `None` while it is connected.
    pub away: Option<Duration>,
    /// The state.
    pub state: NeighbourState,
    /// Why there is no connection, or why the last one ended.
    pub problem: Option<String>,
    /// Offset of its clock from this node's in milliseconds; negative if its clock is behind.
    pub clock_offset: Option<i64>,
    /// The round-trip time.
    pub round_trip: Option<Duration>,
    /// Both sides held the same events before this time at the last comparison, which may belong to an earlier
    /// connection or an earlier process.
    pub agreed_until: Option<Timestamp>,
    /// Whether the future was equal, too.
    pub future_agrees: bool,
    /// Events still to move in either direction, as far as known; 0 in agreement.
    pub behind: u64,
    /// The progress of the current catch-up, if there is one.
    pub catch_up: Option<CatchUp>,
    /// Events received by repair since the connection began.
    pub received: u64,
    /// Events sent by repair since the connection began.
    pub sent: u64,
    /// Bytes since the connection began.
    pub traffic: Traffic,
    /// The first few spans that differed at the last comparison, the latest first.
    pub differences: Arc<[TimeSpan]>,
}

impl Neighbour {
    pub(super) fn connected(id: NodeId, address: String, traffic: Traffic, progress: Progress) -> Self {
        let Progress { activity, clock_offset, round_trip, agreement, differs_since, differences, .. } =
            progress;
        // Moving as many events as the counts differed by does not prove agreement.
        let settled = agreement.behind() == 0 && agreement.catch_up.is_none();
        let agrees = settled && agreement.until.is_some() && agreement.future != Some(false);
        let elapsed = differs_since.map(steady::since);
        let catch_up = agreement.catch_up.zip(elapsed);
        let state = match activity {
            Activity::Settling => NeighbourState::Settling,
            _ if agrees => NeighbourState::Agrees,
            Activity::Repairing => NeighbourState::Repairing,
            Activity::Idle => NeighbourState::Differs,
        };
        Self {
            id: Some(id),
            address,
            addresses: Vec::new(),
            last_seen: None,
            away: None,
            state,
            problem: None,
            clock_offset,
            round_trip: clock_offset.map(|_| round_trip),
            agreed_until: agreement.until,
            future_agrees: agreement.future == Some(true),
            behind: agreement.behind(),
            catch_up: catch_up.map(|(catch_up, elapsed)| CatchUp::new(catch_up, agreement.behind(), elapsed)),
            received: agreement.received,
            sent: agreement.sent,
            traffic,
            differences,
        }
    }

    /// Adds the member's record to the state of the connection at `now`.
    pub(super) fn known_as(mut self, member: Option<Member>, now: Timestamp) -> Self {
        self.last_seen = Some(now);
        let Some(member) = member else { return self };
        self.agreed_until = self.agreed_until.max(member.agreed_until);
        // The source port of a neighbour that dialled over TCP cannot be dialled.
        let transport = self.address.split_once("://").map(|(name, _)| name);
        if let Some(peer) = member.addresses().find(|peer| peer.transport() == transport) {
            self.address = peer.to_string();
        }
        self.addresses = member.addresses().cloned().collect();
        self
    }

    pub(super) fn expected(
        address: String,
        member: &Member,
        state: NeighbourState,
        problem: Option<String>,
        away: Duration,
    ) -> Self {
        Self {
            id: member.id,
            address,
            addresses: member.addresses().cloned().collect(),
            last_seen: member.last_seen,
            away: Some(away),
            state,
            problem,
            clock_offset: None,
            round_trip: None,
            agreed_until: member.agreed_until,
            future_agrees: false,
            behind: 0,
            catch_up: None,
            received: 0,
            sent: 0,
            traffic: Traffic::default(),
            differences: Arc::default(),
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        !matches!(self.state, NeighbourState::Unserved | NeighbourState::Unreachable)
    }
}
