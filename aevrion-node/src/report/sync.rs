//! The reports of `sync` and `cluster`.

use std::collections::BTreeMap;

use aevrion_core::replication;
use aevrion_core::transport::Refusal;
use serde::{Deserialize, Serialize};

use super::NeighbourReport;

/// The report of `sync status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    pub(crate) neighbours: Vec<NeighbourReport>,
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
            neighbours: neighbours.iter().map(NeighbourReport::from).collect(),
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
    pub(crate) neighbours: Vec<NeighbourReport>,
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
