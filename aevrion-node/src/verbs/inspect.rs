//! `status`, `verify`, `rebuild`: what the store holds, whether it is sound, and mending it.

use aevrion_core::store::Table;
use aevrion_core::{Damage, Replica, Status, Verification};
use serde_json::json;

use crate::cli::{Format, Global};
use crate::exit::Failure;
use crate::moment;
use crate::output::{print_fields, print_json, thousands};
use crate::progress::{Bar, Counts};

pub(super) async fn status(replica: &Replica, global: &Global) -> Result<(), Failure> {
    let status = replica.status().await?;
    match global.output.unwrap_or_default() {
        Format::Json | Format::Jsonl => print_json(&status_json(&status)),
        Format::Table | Format::Raw => print_fields(&status_fields(&status)),
    }
}

fn status_json(status: &Status) -> serde_json::Value {
    json!({
        "node_id": status.node.to_string(),
        "events": status.events,
        "keys": status.keys,
        "root": status.root.hash.to_string(),
        "store": status.store.name,
        "transport": null,
        "read_only": status.read_only.is_some(),
        "read_only_reason": status.read_only.as_ref().map(ToString::to_string),
        "neighbours": [],
        "first_timestamp": status.span.map(|(first, _)| first.as_millis()),
        "last_timestamp": status.span.map(|(_, last)| last.as_millis()),
        "now": status.now.as_millis(),
        "clock_ahead_ms": status.clock_ahead.as_millis(),
        "granularity_ms": status.parameters.granularity,
        "branching": status.parameters.branching,
        "pending_index_rows": status.pending_index_rows,
    })
}

fn status_fields(status: &Status) -> Vec<(&'static str, String)> {
    let safe = if status.store.power_safe { "power-safe" } else { "not power-safe" };
    let mut fields = vec![
        ("node", status.node.to_string()),
        ("store", format!("{}, {safe}", status.store.name)),
        ("events", thousands(status.events)),
        ("keys", thousands(status.keys)),
        ("root", status.root.hash.to_string()),
    ];
    if let Some((first, last)) = status.span {
        fields.push(("from", moment::show(first)));
        fields.push(("to", moment::show(last)));
    }
    if let Some(reason) = &status.read_only {
        fields.push(("read-only", reason.to_string()));
    }
    if !status.clock_ahead.is_zero() {
        fields.push(("clock", format!("{:?} ahead of the wall", status.clock_ahead)));
    }
    fields
}

pub(super) async fn verify(replica: &Replica, global: &Global) -> Result<(), Failure> {
    let mut bar = Bar::new("verify", Counts::Rows);
    let found = replica.verify(|progress| bar.follow(progress)).await?;
    drop(bar);
    match global.output.unwrap_or_default() {
        Format::Json | Format::Jsonl => print_json(&verification_json(&found))?,
        Format::Table | Format::Raw => print_verification(&found)?,
    }
    if found.is_clean() {
        return Ok(());
    }
    let only_arrivals = found.lost.iter().all(|damage| damage.table == Table::Arrivals);
    let advice = match (found.lost.is_empty(), found.mendable.is_empty()) {
        (false, _) if only_arrivals => {
            "the order of arrival is damaged: no event is lost, but a watcher that resumes may miss some"
        }
        (true, _) => "`aevrion rebuild` mends it",
        (false, true) => {
            "restore these events from a backup or an export: import it, nothing is lost by that"
        }
        (false, false) => {
            "`aevrion rebuild` mends what is derived; import a backup or an export for the rest"
        }
    };
    Err(Failure::integrity(format!("{} found: {advice}", findings(found.findings))))
}

fn findings(number: u64) -> String {
    if number == 1 { "1 fault".into() } else { format!("{} faults", thousands(number)) }
}

fn verification_json(found: &Verification) -> serde_json::Value {
    let list = |damages: &[Damage]| -> Vec<String> { damages.iter().map(ToString::to_string).collect() };
    json!({
        "clean": found.is_clean(),
        "events": found.events,
        "keys": found.keys,
        "root": found.root.hash.to_string(),
        "findings": found.findings,
        "mendable": list(&found.mendable),
        "lost": list(&found.lost),
    })
}

fn print_verification(found: &Verification) -> Result<(), Failure> {
    let mut fields = vec![
        ("events", format!("{} match their ids", thousands(found.events))),
        ("keys", thousands(found.keys)),
        ("root", found.root.hash.to_string()),
    ];
    if found.is_clean() {
        fields.push(("verdict", "sound: events, index, tree and counts agree".into()));
    }
    fields.extend(found.lost.iter().map(|damage| ("lost", damage.to_string())));
    fields.extend(found.mendable.iter().map(|damage| ("mendable", damage.to_string())));
    print_fields(&fields)
}

pub(super) async fn rebuild(replica: &Replica) -> Result<(), Failure> {
    let mut bar = Bar::new("rebuild", Counts::Rows);
    let rebuilt = replica.rebuild(|progress| bar.follow(progress)).await?;
    drop(bar);
    print_fields(&[
        (
            "index",
            format!(
                "{} rows added, {} removed",
                thousands(rebuilt.rows_added),
                thousands(rebuilt.rows_removed)
            ),
        ),
        ("events", thousands(rebuilt.root.count)),
        ("root", rebuilt.root.hash.to_string()),
    ])?;
    if rebuilt.damaged_events > 0 {
        let number = thousands(rebuilt.damaged_events);
        return Err(Failure::integrity(format!(
            "{number} events are damaged themselves: `aevrion verify` names them; import a backup or an export"
        )));
    }
    Ok(())
}
