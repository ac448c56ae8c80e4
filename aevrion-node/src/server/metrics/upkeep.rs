//! Metrics of damage, repair and the scrub.

use super::page::Page;
use crate::report::{ScrubPassReport, StatusReport};
use crate::server::node::Node;

/// Damaged events of every node, and the scrub's progress where there is one.
pub(super) fn write(page: &mut Page, node: &Node, status: Option<&StatusReport>) {
    let damaged = node.replica.damaged_events();
    let standing = damaged.standing.len() as u64;
    page.gauge("damaged_events", "Damaged events that are not mended.", standing);
    page.counter("mended_events_total", "Damaged events mended from a sound copy.", damaged.mended);
    let Some(scrub) = status.and_then(|status| status.scrub.as_ref()) else { return };
    let progress = [(String::new(), scrub.progress)];
    page.metric("scrub_progress_ratio", "gauge", "How much of the scrub's pass is done.", &progress);
    let last = scrub.last.as_ref().map_or(0, |last| last.ended / 1_000);
    let help = "When the scrub last came to the end of a pass, since 1970; 0 if never.";
    page.gauge("scrub_last_complete_seconds", help, last);
    let ScrubPassReport { rows, found, mended, .. } = scrub.total;
    page.counter("scrub_rows_total", "Rows that the scrub has checked.", rows);
    page.counter("scrub_faults_total", "Faults that the scrub has found.", found);
    page.counter("scrub_mended_total", "Faults that the scrub has mended.", mended);
}
