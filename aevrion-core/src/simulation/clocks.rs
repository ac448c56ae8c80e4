//! How long the clocks take to come to what the replicas differ in.
//!
//! Two neighbours compare what both take for the past, and what both take for the future. What lies between is left to
//! announcements, and once those are lost it is compared when its time has come for both; nothing makes that sooner.
//! So an agreement can be demanded only from then on. Where clocks are right and nothing was written ahead of them
//! that is at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::World;
use crate::{Address, ReadError, Timestamp, WallClock};

/// How long it takes until every event that some replica lacks is in the past for all who compare it.
///
/// # Errors
/// A replica that cannot be read.
pub(super) async fn clocks_reach(world: &World) -> Result<Duration, ReadError> {
    let mut holders: BTreeMap<Address, usize> = BTreeMap::new();
    for process in world.nodes.iter().filter_map(|node| node.process()) {
        let mut export = process.replica.export()?;
        while let Some(events) = export.next().await? {
            for event in events {
                *holders.entry(event.address()).or_default() += 1;
            }
        }
    }
    let lacked = holders.iter().filter(|(_, count)| **count < world.nodes.len());
    let late = lacked.map(|(address, _)| link_reaches(world, address.timestamp)).max();
    Ok(late.unwrap_or_default())
}

/// How long until all links compare what happens at `moment` as something past, if none compares it as future.
fn link_reaches(world: &World, moment: Timestamp) -> Duration {
    let drift = world.plan.max_drift;
    let leaf = Duration::from_millis(world.plan.parameters.granularity);
    let reaches = world.links.iter().map(|link| {
        let [a, b] = link.ends.map(|end| world.nodes[end].wall.now());
        let (behind, ahead) = (a.min(b), a.max(b));
        // A clock that is too far off is not waited for.
        let present = if ahead.ahead_of(behind) > drift { ahead } else { behind };
        // The future begins later by the time that passes before it is compared.
        let future = ahead.after(drift + leaf * 2 + world.plan.settling());
        if moment <= future { moment.ahead_of(present) } else { Duration::ZERO }
    });
    reaches.max().unwrap_or_default()
}
