//! The status of a node: the replica, the scrub, the alarms and the cluster, in one report.
//!
//! It stands above the alarms, which look at the node, so that the node knows neither.

use aevrion_core::Timestamp;

use super::alarms::{self, Alarm};
use super::node::Node;
use crate::problem::Problem;
use crate::report::{RemovedNode, ScrubStatus, StatusReport};

impl Node {
    /// The report of the node about itself.
    pub(super) async fn status(&self) -> Result<StatusReport, Problem> {
        let mut report = StatusReport::from(&self.replica.status().await?);
        let damaged = self.replica.damaged_events();
        report.damaged_events = damaged.standing.len() as u64;
        report.mended_events = damaged.mended;
        let scrub = self.scrub.as_ref().and_then(|scrub| scrub.report());
        report.scrub = scrub.map(|(every, report)| ScrubStatus::new(every, &report));
        report.alarms = alarms::of(self).into_iter().map(|Alarm { what, .. }| what).collect();
        if let Some(membership) = &self.membership {
            let replication = membership.replication();
            report.transport = Some(replication.transports().join(","));
            report.addresses = replication.addresses().iter().map(ToString::to_string).collect();
            report.neighbours = self.neighbours();
            report.removed = replication.removed().iter().map(RemovedNode::from).collect();
            report.stable_until = self.stable_until().map(Timestamp::as_millis);
            report.certificate_ends = Some(membership.certificate_ends().as_millis());
        }
        Ok(report)
    }
}
