//! `status`, `verify`, `rebuild`: the contents of the store, its soundness, and its repair.

use std::time::Duration;

use aevrion_core::Timestamp;
use indicatif::HumanDuration;

use crate::backend::Backend;
use crate::cli::{Format, Global};
use crate::failure::Failure;
use crate::human::thousands;
use crate::moment;
use crate::output::{print_document, print_fields};
use crate::progress::{Bar, Counts};
use crate::report::{NeighbourReport, ScrubStatus, StatusReport, VerifyReport};

pub(super) async fn status(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let status = backend.status().await?;
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_document(format, &status),
        Format::Table | Format::Raw => print_fields(&status_fields(&status)),
    }
}

fn status_fields(status: &StatusReport) -> Vec<(&'static str, String)> {
    let safe = if status.power_safe { "power-safe" } else { "not power-safe" };
    let mut fields = vec![
        ("node", status.node_id.clone()),
        ("store", format!("{}, {safe}", status.store)),
        ("events", thousands(status.events)),
        ("keys", thousands(status.keys)),
        ("root", status.root.clone()),
    ];
    if let (Some(first), Some(last)) = (status.first_timestamp, status.last_timestamp) {
        fields.push(("from", moment::show(Timestamp::from_millis(first))));
        fields.push(("to", moment::show(Timestamp::from_millis(last))));
    }
    if let Some(reason) = &status.read_only_reason {
        fields.push(("read-only", reason.clone()));
    }
    if status.clock_ahead_ms > 0 {
        let ahead = Duration::from_millis(status.clock_ahead_ms);
        fields.push(("clock", format!("{ahead:?} ahead of the wall")));
    }
    fields.extend(status.addresses.iter().map(|address| ("listens", address.clone())));
    if let Some(stable) = status.stable_until {
        fields.push(("stable", format!("until {}", moment::show(Timestamp::from_millis(stable)))));
    }
    fields.extend(status.scrub.as_ref().map(|scrub| ("scrub", scrub_field(scrub))));
    fields.extend(status.alarms.iter().map(|alarm| ("alarm", alarm.clone())));
    fields.extend(status.neighbours.iter().map(|neighbour| ("neighbour", neighbour_field(neighbour))));
    fields
}

/// Accepts writes again although the clock was set back, and shows the node's status.
pub(super) async fn resume_clock(backend: &Backend, global: &Global) -> Result<(), Failure> {
    backend.resume_clock().await?;
    status(backend, global).await
}

fn scrub_field(scrub: &ScrubStatus) -> String {
    let every = HumanDuration(Duration::from_millis(scrub.every_ms));
    let under_way = match scrub.pass {
        Some(_) => format!("{:.0} % of a pass, one in {every}", scrub.progress * 100.0),
        None => format!("one pass in {every}"),
    };
    match &scrub.last {
        None => under_way,
        Some(last) => {
            let ended = moment::show(Timestamp::from_millis(last.ended));
            let found = findings(last.found);
            format!("{under_way}; the last until {ended}: {found}, {} mended", thousands(last.mended))
        }
    }
}

fn neighbour_field(neighbour: &NeighbourReport) -> String {
    let id = neighbour.id.as_ref().map(|id| id.chars().take(8).collect());
    let address = Some(&neighbour.address).filter(|address| !address.is_empty()).cloned();
    let behind = neighbour.behind.map(|events| format!("{} behind", thousands(events)));
    let moment = |what: &str, ms: u64| format!("{what} {}", moment::show(Timestamp::from_millis(ms)));
    let is_away = !neighbour.is_connected();
    let seen = neighbour.last_seen.filter(|_| is_away).map(|seen| moment("last seen", seen));
    let agreed = neighbour.agreed_until.map(|until| moment("agreed until", until));
    let parts = [id, address, Some(neighbour.state.clone()), behind, seen, agreed];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) async fn verify(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let mut bar = Bar::new("verify", Counts::Rows);
    let found = backend.verify(|step| bar.follow(step)).await?;
    drop(bar);
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_document(format, &found)?,
        Format::Table | Format::Raw => print_verification(&found)?,
    }
    if found.clean {
        return Ok(());
    }
    let advice = found.advice.unwrap_or_default();
    Err(Failure::integrity(format!("{} found: {advice}", findings(found.findings))))
}

fn findings(number: u64) -> String {
    if number == 1 { "1 fault".into() } else { format!("{} faults", thousands(number)) }
}

fn print_verification(found: &VerifyReport) -> Result<(), Failure> {
    let mut fields = vec![
        ("events", format!("{} match their ids", thousands(found.events))),
        ("keys", thousands(found.keys)),
        ("root", found.root.clone()),
    ];
    if found.clean {
        fields.push(("verdict", "sound: events, index, tree and counts agree".into()));
    }
    fields.extend(found.lost.iter().map(|damage| ("lost", damage.clone())));
    fields.extend(found.mendable.iter().map(|damage| ("mendable", damage.clone())));
    print_fields(&fields)
}

pub(super) async fn rebuild(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let mut bar = Bar::new("rebuild", Counts::Rows);
    let rebuilt = backend.rebuild(|step| bar.follow(step)).await?;
    drop(bar);
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_document(format, &rebuilt)?,
        Format::Table | Format::Raw => {
            let (added, removed) = (thousands(rebuilt.rows_added), thousands(rebuilt.rows_removed));
            print_fields(&[
                ("index", format!("{added} rows added, {removed} removed")),
                ("events", thousands(rebuilt.events)),
                ("root", rebuilt.root),
            ])?;
        }
    }
    if rebuilt.damaged_events > 0 {
        let number = thousands(rebuilt.damaged_events);
        return Err(Failure::integrity(format!(
            "{number} events are damaged themselves: `aevrion verify` names them; import a backup or an export"
        )));
    }
    Ok(())
}
