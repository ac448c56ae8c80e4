//! `sync`: how a running node keeps in step with its neighbours.

use std::time::{Duration, Instant};

use aevrion_core::Timestamp;

use crate::backend::Backend;
use crate::cli::{Format, Global, SyncVerb, WAIT_AT_ONCE};
use crate::exit::Failure;
use crate::moment;
use crate::output::{print_fields, print_json, print_line, print_table, thousands};
use crate::report::{Neighbour, WaitReport};

/// Does what `sync` asks for.
pub(super) async fn run(backend: &Backend, global: &Global, verb: SyncVerb) -> Result<(), Failure> {
    match verb {
        SyncVerb::Status => status(backend, global).await,
        SyncVerb::Now => {
            let report = backend.sync_now().await?;
            let connected = report.neighbours.iter().filter(|neighbour| is_connected(neighbour)).count();
            print_line(&format!("comparing with {connected} of {} neighbours", report.neighbours.len()))
        }
        SyncVerb::Wait { timeout } => wait(backend, global, timeout.0).await,
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

async fn wait(backend: &Backend, global: &Global, timeout: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let report = backend.sync_wait(left.min(WAIT_AT_ONCE)).await?;
        if report.agrees {
            return agreed(global, &report);
        }
        if began.elapsed() >= timeout {
            return Err(Failure::not_converged(why_not(&report, timeout)));
        }
    }
}

fn agreed(global: &Global, report: &WaitReport) -> Result<(), Failure> {
    if matches!(global.output.unwrap_or_default(), Format::Json | Format::Jsonl) {
        return print_json(report);
    }
    let connected = report.neighbours.iter().filter(|neighbour| is_connected(neighbour)).count();
    print_fields(&[
        ("agrees", format!("this node and {connected} neighbours")),
        ("events", thousands(report.events)),
        ("root", report.root.clone()),
    ])
}

fn why_not(report: &WaitReport, timeout: Duration) -> String {
    let connected: Vec<_> = report.neighbours.iter().filter(|neighbour| is_connected(neighbour)).collect();
    if connected.is_empty() {
        return format!("no neighbour was connected within {timeout:?}: see `aevrion sync status`");
    }
    let open = connected.iter().filter(|neighbour| neighbour.state != "agrees");
    let open: Vec<_> =
        open.map(|one| format!("{} {}, {} behind", one.address, one.state, thousands(one.behind))).collect();
    format!("no agreement within {timeout:?}: {}", open.join("; "))
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
        "{} neighbours differ: `aevrion sync now` compares again",
        differing.len()
    )))
}

fn is_connected(neighbour: &Neighbour) -> bool {
    neighbour.state != "unreachable"
}
