//! Metrics of alarms.

use super::page::Page;
use crate::server::alarms::{self, Kind};
use crate::server::node::Node;

/// The current alarms, and the certificate's expiry: for the latter, operators can set a limit of their own.
pub(super) fn write(page: &mut Page, node: &Node) {
    let standing = alarms::of(node);
    let stands = |kind: Kind| u64::from(standing.iter().any(|alarm| alarm.kind == kind));
    let samples = Kind::ALL.map(|kind| (format!("{{kind=\"{}\"}}", kind.name()), stands(kind)));
    page.metric("alarm", "gauge", "Whether something of this kind is to be looked after.", &samples);
    if let Ok(membership) = node.membership() {
        let clock = stands(Kind::Clock);
        page.gauge("clock_alarm", "Whether this clock and a neighbour's are too far apart.", clock);
        let away = membership.away() as u64;
        page.gauge("members_away", "Members away for long, without whom nothing more is settled.", away);
        let ends = membership.certificate_ends().as_millis() / 1_000;
        page.gauge("certificate_ends_seconds", "When the certificate of this node ends, since 1970.", ends);
    }
}
