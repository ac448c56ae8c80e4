//! `sync`: how a running node keeps in step with its neighbours.

use aevrion_core::Timestamp;

use crate::backend::Backend;
use crate::cli::{Format, Global, SyncVerb};
use crate::exit::Failure;
use crate::moment;
use crate::output::{print_json, print_line, print_table, thousands};
use crate::report::Neighbour;

/// Does what `sync` asks for.
pub(super) async fn run(backend: &Backend, global: &Global, verb: SyncVerb) -> Result<(), Failure> {
    match verb {
        SyncVerb::Status => status(backend, global).await,
        SyncVerb::Now => {
            let report = backend.sync_now().await?;
            let connected = connected(&report.neighbours).count();
            print_line(&format!("comparing with {connected} of {} neighbours", report.neighbours.len()))
        }
        SyncVerb::Wait { timeout } => super::wait::run(backend, global, timeout.0).await,
        SyncVerb::Diff => diff(backend, global).await,
    }
}

async fn status(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let report = backend.sync_status().await?;
    match global.output.unwrap_or_default() {
        Format::Json | Format::Jsonl => print_json(&report),
        Format::Table | Format::Raw => print_neighbours(global, &report.neighbours),
    }
}

/// Neighbours, a row each.
pub(super) fn print_neighbours(global: &Global, neighbours: &[Neighbour]) -> Result<(), Failure> {
    if matches!(global.output.unwrap_or_default(), Format::Json | Format::Jsonl) {
        return print_json(&neighbours);
    }
    let rows: Vec<_> = neighbours.iter().map(row).collect();
    print_table(
        &["NODE", "ADDRESS", "STATE", "BEHIND", "AGREED UNTIL", "CLOCK", "RTT", "SENT", "RECEIVED"],
        &rows,
    )
}

fn row(neighbour: &Neighbour) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let agreed = neighbour.agreed_until.map(|until| moment::show(Timestamp::from_millis(until)));
    let state = match &neighbour.problem {
        Some(problem) => format!("{}: {problem}", neighbour.state),
        None => neighbour.state.clone(),
    };
    vec![
        or_dash(neighbour.id.as_ref().map(|id| id.chars().take(8).collect())),
        neighbour.address.clone(),
        state,
        thousands(neighbour.behind),
        or_dash(agreed),
        or_dash(neighbour.clock_offset_ms.map(|offset| format!("{offset:+} ms"))),
        or_dash(neighbour.round_trip_ms.map(|time| format!("{time:.1} ms"))),
        bytes(neighbour.bytes_sent),
        bytes(neighbour.bytes_received),
    ]
}

fn bytes(number: u64) -> String {
    indicatif::HumanBytes(number).to_string()
}

async fn diff(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let neighbours = backend.sync_status().await?.neighbours;
    let differing: Vec<_> = neighbours.iter().filter(|neighbour| !neighbour.differences.is_empty()).collect();
    if matches!(global.output.unwrap_or_default(), Format::Json | Format::Jsonl) {
        print_json(&differing)?;
    } else {
        let show = |ms| moment::show(Timestamp::from_millis(ms));
        let rows = differing.iter().flat_map(|neighbour| {
            let spans = neighbour.differences.iter();
            spans.map(|[first, last]| vec![neighbour.address.clone(), show(*first), show(*last)])
        });
        print_table(&["NEIGHBOUR", "FROM", "TO"], &rows.collect::<Vec<_>>())?;
    }
    if differing.is_empty() {
        return Ok(());
    }
    Err(Failure::not_converged(format!(
        "{} of {} neighbours differ: `aevrion sync now` compares again",
        differing.len(),
        neighbours.len()
    )))
}

/// Those with a connection.
pub(super) fn connected(neighbours: &[Neighbour]) -> impl Iterator<Item = &Neighbour> {
    neighbours.iter().filter(|neighbour| neighbour.state != "unreachable")
}
