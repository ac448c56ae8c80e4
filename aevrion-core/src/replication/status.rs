//! The state of the neighbours.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Member, Peer};
use crate::agent::{Activity, CatchUp, Progress};
use crate::transport::Traffic;
use crate::{NodeId, TimeSpan, Timestamp};

/// The state of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
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
#[non_exhaustive]
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
    /// A connected neighbour, at `now` on the steady clock of its agent.
    pub(super) fn connected(
        id: NodeId,
        address: String,
        traffic: Traffic,
        progress: Progress,
        now: Duration,
    ) -> Self {
        let Progress { activity, clock_offset, round_trip, agreement, differences, .. } = progress;
        let state = match activity {
            Activity::Settling => NeighbourState::Settling,
            _ if agreement.is_reached() => NeighbourState::Agrees,
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
            catch_up: agreement.catch_up(now),
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
