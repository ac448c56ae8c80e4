//! Reports about a node and about long work, as the JSON that scripts read: built on the node, sent unchanged, printed
//! by a verb.

use std::collections::BTreeMap;
use std::time::Duration;

use aevrion_core::store::Table;
use aevrion_core::transport::{Refusal, Removal};
use aevrion_core::{
    Damage, Progress, Rebuilt, ScrubPass, ScrubReport, Status, Timestamp, Verification, replication,
};
use serde::{Deserialize, Serialize};

/// The report of `status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    pub(crate) node_id: String,
    pub(crate) events: u64,
    pub(crate) keys: u64,
    pub(crate) root: String,
    pub(crate) store: String,
    pub(crate) power_safe: bool,
    /// The transport between peers, if there is one.
    pub(crate) transport: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) read_only_reason: Option<String>,
    pub(crate) neighbours: Vec<Neighbour>,
    /// The node's addresses for peers.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    /// Nodes removed from the cluster.
    #[serde(default)]
    pub(crate) removed: Vec<RemovedNode>,
    /// The time before which the node and all its neighbours agree.
    pub(crate) stable_until: Option<u64>,
    /// Conditions that need an operator.
    #[serde(default)]
    pub(crate) alarms: Vec<String>,
    /// Expiry of the node's certificate.
    pub(crate) certificate_ends: Option<u64>,
    pub(crate) first_timestamp: Option<u64>,
    pub(crate) last_timestamp: Option<u64>,
    pub(crate) now: u64,
    pub(crate) clock_ahead_ms: u64,
    pub(crate) granularity_ms: u64,
    pub(crate) branching: u32,
    pub(crate) longest_key: u32,
    pub(crate) largest_data: u32,
    pub(crate) pending_index_rows: u64,
    /// Wrong stored hashes of the tree, computed anew since the start.
    #[serde(default)]
    pub(crate) healed_hashes: u64,
    /// Known damaged events that are not repaired, and damaged events repaired since the start.
    #[serde(default)]
    pub(crate) damaged_events: u64,
    #[serde(default)]
    pub(crate) mended_events: u64,
    /// Progress of the scrub, if there is one.
    #[serde(default)]
    pub(crate) scrub: Option<ScrubStatus>,
}

/// Progress of the scrub.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScrubStatus {
    /// Duration of a full pass.
    pub(crate) every_ms: u64,
    /// The current table.
    pub(crate) table: String,
    /// Progress of the pass, from 0 to 1.
    pub(crate) progress: f64,
    /// The current pass; nothing between two passes.
    pub(crate) pass: Option<ScrubPassReport>,
    /// The last complete pass.
    pub(crate) last: Option<ScrubPassReport>,
    /// All passes since the start.
    pub(crate) total: ScrubPassReport,
}

/// The results of scrub passes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScrubPassReport {
    pub(crate) began: u64,
    /// The end of the pass, or now.
    pub(crate) ended: u64,
    pub(crate) rows: u64,
    /// Faults; among them the mended ones, and damaged events.
    pub(crate) found: u64,
    pub(crate) mended: u64,
    pub(crate) damaged: u64,
}

impl ScrubStatus {
    pub(crate) fn new(every: Duration, report: &ScrubReport) -> Self {
        let done = report.pass.map_or(0, |pass| pass.rows) as f64 / report.expected_rows.max(1) as f64;
        Self {
            every_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            table: report.table.to_owned(),
            progress: (done.min(1.0) * 1e4).round() / 1e4,
            pass: report.pass.map(ScrubPassReport::from),
            last: report.last.map(ScrubPassReport::from),
            total: report.total.into(),
        }
    }
}

impl From<ScrubPass> for ScrubPassReport {
    fn from(pass: ScrubPass) -> Self {
        let ScrubPass { began, ended, rows, found, mended, damaged, .. } = pass;
        Self { began: began.as_millis(), ended: ended.as_millis(), rows, found, mended, damaged }
    }
}

impl StatusReport {
    /// The node's neighbours, connected or not, and the removed nodes.
    pub(crate) fn nodes(self) -> Vec<Neighbour> {
        let removed = self.removed.iter().map(Neighbour::removed);
        self.neighbours.into_iter().chain(removed).collect()
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

/// A neighbour of this node, connected or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Neighbour {
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
    pub(crate) catch_up: Option<CatchUp>,
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

/// Progress of a catch-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CatchUp {
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

impl From<&replication::CatchUp> for CatchUp {
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

impl From<&replication::Neighbour> for Neighbour {
    fn from(neighbour: &replication::Neighbour) -> Self {
        let span = |span: &aevrion_core::TimeSpan| [span.first().as_millis(), span.last().as_millis()];
        let agrees = neighbour.state == replication::NeighbourState::Agrees;
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
            catch_up: neighbour.catch_up.as_ref().map(CatchUp::from),
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

impl Neighbour {
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

    /// A removed node, whatever its address.
    pub(crate) fn removed(node: &RemovedNode) -> Self {
        let at = Timestamp::from_millis(node.removed_at);
        let problem = Some(format!("by the cluster's authority on {}", at.to_utc()));
        Self { problem, ..Self::listed(Some(node.id.clone()), "removed") }
    }

    /// A node of which nothing else is known.
    fn listed(id: Option<String>, state: &str) -> Self {
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

/// The report of `sync status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    pub(crate) neighbours: Vec<Neighbour>,
    /// Messages sent and received, by name.
    pub(crate) messages: BTreeMap<String, [u64; 2]>,
    /// Neighbours disconnected for a fault, by the kind of fault.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Refused connections, by transport and reason.
    pub(crate) refusals: BTreeMap<String, BTreeMap<String, u64>>,
    pub(crate) questions_dropped: u64,
    #[serde(default)]
    pub(crate) questions_declined: u64,
    pub(crate) overflows: u64,
    pub(crate) failed_dials: u64,
}

impl SyncReport {
    pub(crate) fn new(
        neighbours: &[replication::Neighbour],
        totals: &replication::Totals,
        refusals: &[(&'static str, Refusal, u64)],
    ) -> Self {
        let mut by_transport: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (transport, refusal, count) in refusals.iter().filter(|(.., count)| *count > 0) {
            by_transport
                .entry((*transport).to_owned())
                .or_default()
                .insert(refusal.name().to_owned(), *count);
        }
        let messages = totals.messages.iter();
        Self {
            neighbours: neighbours.iter().map(Neighbour::from).collect(),
            messages: messages.map(|(name, flow)| ((*name).to_owned(), [flow.sent, flow.received])).collect(),
            faults: totals.faults.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            refusals: by_transport,
            questions_dropped: totals.shed,
            questions_declined: totals.declined,
            overflows: totals.overflows,
            failed_dials: totals.failed_dials,
        }
    }
}

/// The report of `sync wait`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WaitReport {
    pub(crate) agrees: bool,
    pub(crate) root: String,
    pub(crate) events: u64,
    pub(crate) neighbours: Vec<Neighbour>,
}

/// The report of `cluster forget`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForgetReport {
    /// Addresses that are not dialled any more.
    pub(crate) forgotten: Vec<String>,
    /// The nodes at these addresses, and forgotten nodes without an address.
    #[serde(default)]
    pub(crate) nodes: Vec<String>,
}

impl From<&[replication::Member]> for ForgetReport {
    fn from(forgotten: &[replication::Member]) -> Self {
        let mut addresses = Vec::new();
        for address in forgotten.iter().flat_map(replication::Member::addresses).map(ToString::to_string) {
            // The address may also be a dialled one of which no node is known yet.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Self {
            forgotten: addresses,
            nodes: forgotten.iter().filter_map(|member| member.id).map(|id| id.to_string()).collect(),
        }
    }
}

/// Success, with nothing to report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) done: bool,
}

impl From<&Status> for StatusReport {
    fn from(status: &Status) -> Self {
        Self {
            node_id: status.node.to_string(),
            events: status.events,
            keys: status.keys,
            root: status.root.hash.to_string(),
            store: status.store.name.to_owned(),
            power_safe: status.store.power_safe,
            transport: None,
            read_only: status.read_only.is_some(),
            read_only_reason: status.read_only.as_ref().map(ToString::to_string),
            neighbours: Vec::new(),
            addresses: Vec::new(),
            removed: Vec::new(),
            stable_until: None,
            alarms: status.clock_fault.iter().map(ToString::to_string).collect(),
            certificate_ends: None,
            first_timestamp: status.span.map(|(first, _)| first.as_millis()),
            last_timestamp: status.span.map(|(_, last)| last.as_millis()),
            now: status.now.as_millis(),
            clock_ahead_ms: u64::try_from(status.clock_ahead.as_millis()).unwrap_or(u64::MAX),
            granularity_ms: status.parameters.granularity,
            branching: status.parameters.branching,
            longest_key: status.parameters.longest_key,
            largest_data: status.parameters.largest_data,
            pending_index_rows: status.pending_index_rows,
            healed_hashes: status.healed_hashes,
            damaged_events: 0,
            mended_events: 0,
            scrub: None,
        }
    }
}

/// The report of `verify`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VerifyReport {
    pub(crate) clean: bool,
    pub(crate) events: u64,
    pub(crate) keys: u64,
    pub(crate) root: String,
    pub(crate) findings: u64,
    pub(crate) mendable: Vec<String>,
    pub(crate) lost: Vec<String>,
    /// The next step for the operator, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) advice: Option<String>,
}

impl From<&Verification> for VerifyReport {
    fn from(found: &Verification) -> Self {
        let list = |damages: &[Damage]| damages.iter().map(ToString::to_string).collect();
        Self {
            clean: found.is_clean(),
            events: found.events,
            keys: found.keys,
            root: found.root.hash.to_string(),
            findings: found.findings,
            mendable: list(&found.mendable),
            lost: list(&found.lost),
            advice: (!found.is_clean()).then(|| advice(found).to_owned()),
        }
    }
}

fn advice(found: &Verification) -> &'static str {
    let only_arrivals = found.lost.iter().all(|damage| damage.table == Table::Arrivals);
    match (found.lost.is_empty(), found.mendable.is_empty()) {
        (false, _) if only_arrivals => {
            "the order of arrival is damaged: no event is lost, but a watcher that resumes may miss some"
        }
        (true, _) => "`aevrion rebuild` mends it",
        (false, true) => {
            "restore these events from a backup or an export: import it, nothing is lost by that"
        }
        (false, false) => {
            "`aevrion rebuild` mends what is derived; import a backup or an export for the rest"
        }
    }
}

/// The report of `rebuild`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RebuildReport {
    pub(crate) rows_added: u64,
    pub(crate) rows_removed: u64,
    pub(crate) events: u64,
    pub(crate) damaged_events: u64,
    pub(crate) root: String,
}

impl From<&Rebuilt> for RebuildReport {
    fn from(rebuilt: &Rebuilt) -> Self {
        Self {
            rows_added: rebuilt.rows_added,
            rows_removed: rebuilt.rows_removed,
            events: rebuilt.root.count,
            damaged_events: rebuilt.damaged_events,
            root: rebuilt.root.hash.to_string(),
        }
    }
}

/// Progress of long work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) phase: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl From<Progress> for Step {
    fn from(progress: Progress) -> Self {
        Self { phase: progress.phase.to_owned(), done: progress.done, total: progress.total }
    }
}

/// A line of the answer to long work: steps, then the result or an error.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line<T> {
    Progress(Step),
    Result(T),
    Problem(crate::problem::Problem),
}

/// The result of an import.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ImportReport {
    pub(crate) new: u64,
    pub(crate) known: u64,
    pub(crate) skipped: u64,
    /// The first bad lines, each with its number, the field and the fault.
    pub(crate) errors: Vec<String>,
}

/// The key of a new event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) timestamp: u64,
    pub(crate) id: String,
}

impl From<aevrion_core::EventKey> for Placed {
    fn from(event_key: aevrion_core::EventKey) -> Self {
        Self { timestamp: event_key.timestamp.as_millis(), id: event_key.id.to_string() }
    }
}
