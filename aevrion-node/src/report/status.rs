//! The report of `status`, and the progress of the scrub in it.

use std::time::Duration;

use aevrion_core::{ScrubPass, ScrubReport, Status};
use serde::{Deserialize, Serialize};

use super::{NeighbourReport, RemovedNode};

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
    pub(crate) neighbours: Vec<NeighbourReport>,
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

impl StatusReport {
    /// The node's neighbours, connected or not, and the removed nodes.
    pub(crate) fn nodes(self) -> Vec<NeighbourReport> {
        let removed = self.removed.iter().map(NeighbourReport::removed);
        self.neighbours.into_iter().chain(removed).collect()
    }
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
