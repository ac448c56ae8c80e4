//! Metrics of the traffic with each neighbour.

use aevrion_core::replication::Neighbour;

use super::page::Page;

/// Bytes by neighbour and direction. They restart with each connection, as counters may. Labels are ids of
/// authenticated nodes of the cluster: so their number is bounded, and strangers add none.
pub(super) fn write(page: &mut Page, neighbours: &[Neighbour]) {
    let connected = neighbours.iter().filter(|neighbour| neighbour.is_connected());
    let traffic = connected.filter_map(|neighbour| Some((neighbour.id?, neighbour.traffic)));
    let bytes: Vec<_> = traffic
        .flat_map(|(id, traffic)| {
            let labels = |direction| format!("{{neighbour=\"{id}\",direction=\"{direction}\"}}");
            [(labels("in"), traffic.received), (labels("out"), traffic.sent)]
        })
        .collect();
    page.metric("neighbour_bytes_total", "counter", "Bytes of the connection that stands.", &bytes);
}
