//! `sync`: synchronisation of a running node with its neighbours.

use std::time::Duration;

use aevrion_core::Timestamp;
use aevrion_core::replication::NeighbourState;

use super::neighbours::{connected, name_of, or_dash, who_and_where};
use crate::backend::Backend;
use crate::cli::{Format, Global, SyncVerb};
use crate::failure::Failure;
use crate::human::{counted, thousands};
use crate::moment;
use crate::output::{print_all, print_document, print_line, print_table};
use crate::progress::at_rate;
use crate::report::{CatchUpReport, NeighbourReport};

/// Runs a verb of `sync`.
pub(super) async fn run(backend: &Backend, global: &Global, verb: SyncVerb) -> Result<(), Failure> {
    match verb {
        SyncVerb::Status => status(backend, global).await,
        SyncVerb::Now => now(backend, global).await,
        SyncVerb::Wait => super::wait::run(backend, global).await,
        SyncVerb::Diff => diff(backend, global).await,
    }
}

async fn status(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let report = backend.sync_status().await?;
    match global.output.unwrap_or_default() {
        Format::Json => print_document(Format::Json, &report),
        Format::Jsonl => print_all(Format::Jsonl, &report.neighbours),
        Format::Table | Format::Raw => {
            let rows: Vec<_> = report.neighbours.iter().map(row).collect();
            print_table(
                &["NODE", "ADDRESS", "STATE", "BEHIND", "AGREED UNTIL", "CLOCK", "RTT", "SENT", "RECEIVED"],
                &rows,
            )
        }
    }
}

async fn now(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let report = backend.sync_now().await?;
    match global.output.unwrap_or_default() {
        Format::Json => print_document(Format::Json, &report),
        Format::Jsonl => print_all(Format::Jsonl, &report.neighbours),
        Format::Table | Format::Raw => {
            let connected = connected(&report.neighbours).count();
            let all = counted(report.neighbours.len() as u64, "neighbour");
            print_line(&format!("comparing with {connected} of {all}"))
        }
    }
}

fn row(neighbour: &NeighbourReport) -> Vec<String> {
    let agreed = neighbour.agreed_until.map(|until| moment::show(Timestamp::from_millis(until)));
    let mut row = who_and_where(neighbour);
    if let Some(catch_up) = &neighbour.catch_up {
        row[2] = format!("{}: {}", neighbour.state, progress_of(catch_up));
    }
    row.extend([
        or_dash(neighbour.behind.map(thousands)),
        or_dash(agreed),
        or_dash(neighbour.clock_offset_ms.map(|offset| format!("{offset:+} ms"))),
        or_dash(neighbour.round_trip_ms.map(|time| format!("{time:.1} ms"))),
        bytes(neighbour.bytes_sent),
        bytes(neighbour.bytes_received),
    ]);
    row
}

/// Progress, rate and remaining time of a catch-up.
fn progress_of(catch_up: &CatchUpReport) -> String {
    let mut parts = vec![format!("{} of {} blocks agree", catch_up.blocks_agreed, catch_up.blocks)];
    // Once the counted difference has been transferred, only the next comparison tells the rest.
    if let Some(left) = catch_up.bytes_to_go.filter(|left| *left > 0) {
        parts.push(format!("{} to go", bytes(left)));
        let time = catch_up.seconds_to_go.and_then(|left| Duration::try_from_secs_f64(left).ok());
        parts.extend(time.map(|time| at_rate(catch_up.events_per_second, time)));
    }
    parts.join(", ")
}

fn bytes(number: u64) -> String {
    indicatif::HumanBytes(number).to_string()
}

/// Shows where neighbours differ. No known difference is no agreement: neighbours not yet compared with are named.
async fn diff(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let neighbours = backend.sync_status().await?.neighbours;
    let differs = |neighbour: &&NeighbourReport| !neighbour.differences.is_empty();
    let differing: Vec<_> = neighbours.iter().filter(differs).collect();
    if let format @ (Format::Json | Format::Jsonl) = global.output.unwrap_or_default() {
        print_all(format, &differing)?;
    } else {
        let show = |ms| moment::show(Timestamp::from_millis(ms));
        let rows = differing.iter().flat_map(|neighbour| {
            let spans = neighbour.differences.iter();
            spans.map(|[first, last]| vec![name_of(neighbour).to_owned(), show(*first), show(*last)])
        });
        print_table(&["NEIGHBOUR", "FROM", "TO"], &rows.collect::<Vec<_>>())?;
    }
    // A neighbour without a common transport is never compared with.
    let expected = neighbours.iter().filter(|one| !one.is(NeighbourState::Unserved));
    let unknown = expected.filter(|one| !one.is(NeighbourState::Agrees) && !differs(one));
    let unknown: Vec<_> = unknown.map(|one| format!("{} ({})", name_of(one), one.state)).collect();
    let mut told = Vec::new();
    if neighbours.is_empty() {
        told.push("there is no neighbour to compare with".to_owned());
    }
    if !differing.is_empty() {
        told.push(format!("{} of {} neighbours differ", differing.len(), neighbours.len()));
    }
    if !unknown.is_empty() {
        told.push(format!("not compared with {}", unknown.join(", ")));
    }
    if told.is_empty() {
        return Ok(());
    }
    Err(Failure::not_converged(format!("{}: `aevrion sync now` compares again", told.join("; "))))
}
