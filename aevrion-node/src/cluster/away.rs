//! Members that are away for long: without them nothing more is settled, which is an alarm.

use std::time::Duration;

use aevrion_core::replication::{Neighbour, NeighbourState, Replication};

use crate::moment;

/// Members that are away which an alarm names one by one.
const NAMED: usize = 3;

/// Those who keep the past from being settled by being away for longer than `limit`.
pub(super) fn missing(replication: &Replication, limit: Duration) -> Vec<Neighbour> {
    let is_missing =
        |one: &Neighbour| one.state != NeighbourState::Unserved && one.away.is_some_and(|away| away >= limit);
    replication.neighbours().into_iter().filter(is_missing).collect()
}

/// Who they are, and how to do without them.
pub(super) fn alarm(replication: &Replication, limit: Duration) -> Option<String> {
    let missing = missing(replication, limit);
    let first = missing.first()?;
    let names: Vec<_> = missing.iter().take(NAMED).map(name_of).collect();
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let until = match replication.stable_until() {
        Some(until) => format!("nothing after {}", moment::show(until)),
        None => "nothing".to_owned(),
    };
    let whom = first.id.map_or_else(|| first.address.clone(), |id| short(&id.to_string()));
    Some(format!(
        "{until} is settled (stable_until) without {}{more}: see that it comes back, or do without it by `aevrion \
         cluster forget {whom}`",
        names.join(", ")
    ))
}

/// Who a member is, where, and since when it is away.
fn name_of(member: &Neighbour) -> String {
    let seen = match member.last_seen {
        Some(seen) => format!("last seen {}", moment::show(seen)),
        None => "never seen".to_owned(),
    };
    match (member.id, &*member.address) {
        (None, address) => format!("whoever is expected at {address}, {seen}"),
        (Some(id), "") => format!("node {}, {seen}", short(&id.to_string())),
        (Some(id), address) => format!("node {} at {address}, {seen}", short(&id.to_string())),
    }
}

/// The beginning of an identity, by which a person tells it from others.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
