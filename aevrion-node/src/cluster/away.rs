//! The alarm about members that are away for long: without them `stable_until` does not advance.

use std::time::Duration;

use aevrion_core::replication::{Neighbour, NeighbourState, Replication};

use crate::moment;

/// The number of members that the alarm names; further ones are counted.
const NAMED: usize = 3;

/// The members that have been away for longer than `limit`, and so hold `stable_until` back.
pub(super) fn missing(replication: &Replication, limit: Duration) -> Vec<Neighbour> {
    let is_missing =
        |one: &Neighbour| one.state != NeighbourState::Unserved && one.away.is_some_and(|away| away >= limit);
    replication.neighbours().into_iter().filter(is_missing).collect()
}

/// The alarm, which names the members and the remedy.
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

/// A member's id, address and last connection, for people.
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

/// The first digits of an id, for people.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
