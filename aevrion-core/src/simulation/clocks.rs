//! The clocks of the nodes: wall clocks with an offset that jump, and the wait until they reach the events in which the
//! replicas differ.
//!
//! Two neighbours compare the past that both agree on, and the future that both agree on. The time between is left to
//! announcements; if those are lost, it is compared once it is past or future for both, and no sooner. So agreement can
//! be demanded only from then on. With right clocks and no writes ahead of them that is at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::world::World;
use crate::{EventKey, ReadError, Timestamp, WallClock};

/// The beginning of the time axis in every simulation: a round moment in 2024.
pub(super) const START: Timestamp = Timestamp::from_millis(1_710_684_600_000);

/// A wall clock that is `offset` milliseconds off the true time.
#[derive(Debug)]
pub(super) struct SkewedWall {
    began: Instant,
    offset: AtomicI64,
}

impl SkewedWall {
    pub(super) fn new(began: Instant, offset: i64) -> Self {
        Self { began, offset: AtomicI64::new(offset) }
    }

    /// Jumps by `by` milliseconds, forward or back.
    pub(super) fn jump(&self, by: i64) {
        self.offset.fetch_add(by, Ordering::SeqCst);
    }

    /// The offset from the true time, in milliseconds.
    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }
}

impl WallClock for SkewedWall {
    fn now(&self) -> Timestamp {
        let truth = START.after(self.began.elapsed());
        Timestamp::from_millis(truth.as_millis().saturating_add_signed(self.offset()))
    }
}

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
