//! Metrics of synchronisation.

use aevrion_core::replication::{Neighbour, NeighbourState, Replication};

use super::page::Page;

/// All counters of synchronisation. Labels are fixed names, and ids of authenticated nodes of the cluster: so their
/// number is bounded, and strangers add none.
pub(super) fn write(page: &mut Page, replication: &Replication) {
    let neighbours = replication.neighbours();
    let connected = || neighbours.iter().filter(|neighbour| neighbour.is_connected());
    page.gauge("neighbours", "Connected neighbours.", connected().count() as u64);
    let awaited = neighbours.iter().filter(|neighbour| neighbour.state == NeighbourState::Unreachable);
    page.gauge(
        "neighbours_unreached",
        "Members that are not connected, and addresses at which nobody was found.",
        awaited.count() as u64,
    );
    let behind: Vec<_> = connected().filter_map(|one| Some((label(one)?, one.behind))).collect();
    page.metric("neighbour_behind_events", "gauge", "Events still to go in either direction.", &behind);
    let bytes =
        |one: &Neighbour| Some((label(one)?, one.catch_up.and_then(|catch_up| catch_up.bytes_to_go)?));
    let bytes: Vec<_> = connected().filter_map(bytes).collect();
    page.metric("neighbour_behind_bytes", "gauge", "Keys and values still to go, by what has moved.", &bytes);
    let blocks: Vec<_> = connected().filter_map(blocks).flatten().collect();
    page.metric("neighbour_blocks", "gauge", "Blocks of time of a catch-up, and those that agree.", &blocks);
    let offsets: Vec<_> = connected().filter_map(|one| Some((label(one)?, one.clock_offset?))).collect();
    page.metric("neighbour_clock_offset_milliseconds", "gauge", "How far its clock is ahead.", &offsets);
    totals(page, replication);
}

fn label(neighbour: &Neighbour) -> Option<String> {
    neighbour.id.map(|id| format!("{{neighbour=\"{id}\"}}"))
}

/// Present only during a catch-up.
fn blocks(neighbour: &Neighbour) -> Option<[(String, u64); 2]> {
    let (id, catch_up) = (neighbour.id?, neighbour.catch_up?);
    let labels = |which| format!("{{neighbour=\"{id}\",blocks=\"{which}\"}}");
    Some([(labels("compared"), catch_up.blocks as u64), (labels("agreed"), catch_up.agreed as u64)])
}

fn totals(page: &mut Page, replication: &Replication) {
    let totals = replication.totals();
    let of_kind = |(kind, flow): (&&str, &aevrion_core::replication::Flow)| {
        let labels = |direction| format!("{{kind=\"{kind}\",direction=\"{direction}\"}}");
        [(labels("in"), flow.received), (labels("out"), flow.sent)]
    };
    let messages: Vec<_> = totals.messages.iter().flat_map(of_kind).collect();
    page.metric("sync_messages_total", "counter", "Messages between nodes.", &messages);
    let faults = totals.faults.iter().map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), *count));
    let faults: Vec<_> = faults.collect();
    page.metric("sync_faults_total", "counter", "Neighbours cut off for what they did.", &faults);
    let refusals = replication.refusals().into_iter().map(|(transport, refusal, count)| {
        (format!("{{transport=\"{transport}\",reason=\"{}\"}}", refusal.name()), count)
    });
    let refusals: Vec<_> = refusals.collect();
    page.metric("sync_refusals_total", "counter", "Connections that were turned away.", &refusals);
    let joins = replication.join_refusals().into_iter().map(|(transport, reason, count)| {
        (format!("{{transport=\"{transport}\",reason=\"{reason}\"}}"), count)
    });
    let joins: Vec<_> = joins.collect();
    page.metric(
        "sync_join_refusals_total",
        "counter",
        "Requests to join or renew that were refused.",
        &joins,
    );
    let mut counter = |name, help, count| page.counter(name, help, count);
    counter("sync_bytes_received_total", "Bytes of messages received.", totals.bytes_received);
    counter("sync_dropped_questions_total", "Questions not answered for want of room.", totals.shed);
    let help = "Questions not answered because they cost more than may be read for a neighbour.";
    counter("sync_declined_questions_total", help, totals.declined);
    counter("sync_overflows_total", "Times that a neighbour could not follow the news.", totals.overflows);
    counter("sync_failed_dials_total", "Attempts to connect that failed.", totals.failed_dials);
}
