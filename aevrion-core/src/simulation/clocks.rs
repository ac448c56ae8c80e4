//! The time until the clocks reach the events in which the replicas differ.
//!
//! Two neighbours compare the past that both agree on, and the future that both agree on. The time between is left to
//! announcements; if those are lost, it is compared once it is past or future for both, and no sooner. So agreement can
//! be demanded only from then on. With right clocks and no writes ahead of them that is at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::World;
use crate::{EventKey, ReadError, Timestamp, WallClock};

/// How long until every event that some replica lacks is in the past for all its neighbours.
///
/// # Errors
/// The error of an unreadable replica.
pub(super) async fn clocks_reach(world: &World) -> Result<Duration, ReadError> {
    let mut holders: BTreeMap<EventKey, usize> = BTreeMap::new();
    for process in world.nodes.iter().filter_map(|node| node.process()) {
        let mut export = process.replica.export()?;
        while let Some(events) = export.next().await? {
            for event in events {
                *holders.entry(event.event_key()).or_default() += 1;
            }
        }
    }
    let lacked = holders.iter().filter(|(_, count)| **count < world.nodes.len());
    let late = lacked.map(|(event_key, _)| link_reaches(world, event_key.timestamp)).max();
    Ok(late.unwrap_or_default())
}

/// How long until all links compare `moment` as past, if none compares it as future.
fn link_reaches(world: &World, moment: Timestamp) -> Duration {
    let drift = world.plan.max_drift;
    let leaf = Duration::from_millis(world.plan.parameters.granularity);
    let reaches = world.links.iter().map(|link| {
        let [a, b] = link.ends.map(|end| world.nodes[end].wall.now());
        let (behind, ahead) = (a.min(b), a.max(b));
        // The wait ignores a clock beyond the drift.
        let present = if ahead.ahead_of(behind) > drift { ahead } else { behind };
        // The future begins later by the time that passes before it is compared.
        let future = ahead.after(drift + leaf * 2 + world.plan.settling());
        if moment <= future { moment.ahead_of(present) } else { Duration::ZERO }
    });
    reaches.max().unwrap_or_default()
}
