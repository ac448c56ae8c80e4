//! What is known of the neighbours.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Member, Peer};
use crate::agent::{self, Agreement};
use crate::transport::Traffic;
use crate::{Incarnation, NodeId, TimeSpan, Timestamp};

/// What a link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Activity {
    #[default]
    Settling,
    Repairing,
    Idle,
}

/// What a link says of itself, as it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    pub(super) activity: Activity,
    /// Nothing before the neighbour's first Hello.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) clock_offset: Option<i64>,
    pub(super) round_trip: Duration,
    pub(super) agreement: Agreement,
    /// When the catch-up that is under way began.
    pub(super) differs_since: Option<Instant>,
    pub(super) differences: Arc<[TimeSpan]>,
}

/// How a catch-up goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// Blocks of time that the two compared last.
    pub blocks: usize,
    /// Those of them that were the same, or through which repair has passed since.
    pub agreed: usize,
    /// Events that have moved in either direction since it began.
    pub moved: u64,
    /// Events still to go in either direction, as far as counts can tell.
    pub to_go: u64,
    /// Bytes of keys and values of these, if they are like those that have moved; `None` before the first.
    pub bytes_to_go: Option<u64>,
    /// Since the two were found to differ.
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

    /// Events a second since it began.
    pub fn rate(&self) -> f64 {
        self.moved as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// How long it takes from here on at that rate; `None` as long as nothing has moved.
    pub fn left(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.to_go as f64 / self.rate()).ok()
    }
}

/// How things stand with a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeighbourState {
    /// It is known at an address of a transport that this node does not have: it is not dialled, and nobody that is
    /// missing.
    Unserved,
    /// There is no connection. Where it may be is tried; if that is not known it has to come by itself.
    Unreachable,
    /// Connected; the clocks are being measured.
    Settling,
    /// The two hold different events, and are at it.
    Repairing,
    /// The two hold different events as far as is known.
    Differs,
    /// Both hold the same, as of the last comparison.
    Agrees,
}

impl NeighbourState {
    /// As `status` prints it.
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

/// A neighbour, or an address at which one is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Who it is, once known.
    pub id: Option<NodeId>,
    /// Where it is, with its transport: `quic://host:port`. Empty if that is not known.
    pub address: String,
    /// Where it may be dialled, the surest address first.
    pub addresses: Vec<Peer>,
    /// When it was last connected; `None` if it never was, as far as is known.
    pub last_seen: Option<Timestamp>,
    /// How long this process misses it; `None` while it is connected.
    pub away: Option<Duration>,
    /// How things stand.
    pub state: NeighbourState,
    /// Why there is no connection, or why the last one ended.
    pub problem: Option<String>,
    /// Milliseconds that its clock is ahead of this node's; negative if it is behind.
    pub clock_offset: Option<i64>,
    /// The time there and back.
    pub round_trip: Option<Duration>,
    /// Every event before this moment is the same on both sides, as of the last comparison. It may be one of an earlier
    /// connection, or of before this process began.
    pub agreed_until: Option<Timestamp>,
    /// Whether the future was found equal, too.
    pub future_agrees: bool,
    /// Events still to go in either direction, as far as is known; 0 in agreement.
    pub behind: u64,
    /// How the catch-up goes that is under way, if something is known to differ.
    pub catch_up: Option<CatchUp>,
    /// Events that repairs have brought here since the connection began.
    pub received: u64,
    /// Events that repairs have sent.
    pub sent: u64,
    /// Bytes since the connection began.
    pub traffic: Traffic,
    /// Where the two differed when they were last compared, the latest first: the first few spans.
    pub differences: Arc<[TimeSpan]>,
}

impl Neighbour {
    pub(super) fn connected(id: NodeId, address: String, traffic: Traffic, progress: Progress) -> Self {
        let Progress { activity, clock_offset, round_trip, agreement, differs_since, differences, .. } =
            progress;
        // That as much has moved as the counts differed by is no agreement yet.
        let settled = agreement.behind() == 0 && agreement.catch_up.is_none();
        let agrees = settled && agreement.until.is_some() && agreement.future != Some(false);
        let elapsed = differs_since.map(|since| since.elapsed());
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

    /// The same, with what is known of the member beside its connection, which stands `now`.
    pub(super) fn known_as(mut self, member: Option<Member>, now: Timestamp) -> Self {
        self.last_seen = Some(now);
        let Some(member) = member else { return self };
        self.agreed_until = self.agreed_until.max(member.agreed_until);
        // A neighbour that dialled over TCP comes from a port that leads nowhere.
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
