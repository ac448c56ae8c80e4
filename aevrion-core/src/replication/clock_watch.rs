//! Judges this node's clock by those of its neighbours.
//!
//! A clock further from this one than the allowed drift raises an alarm. A node that far from the median of its
//! neighbours also refuses local writes. If it is ahead, the others would see an acknowledged write only later. If it
//! is behind, the write would lose to much older ones, and could fall into a past that was reported as settled. See
//! [`ClockFault`].

use std::sync::Arc;

use super::Shared;
use crate::clock_fault::judge_by_neighbours;
use crate::fault_injection::{Bug, injected};
use crate::steady;
use crate::{ClockFault, Replica};

/// Judges the clock whenever the status of a neighbour changes.
pub(super) fn begin(shared: &Arc<Shared>) {
    let mut changes = shared.links.changes();
    let weak = Arc::downgrade(shared);
    shared.spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(shared) = weak.upgrade() else { return };
            heed(&shared.replica, &offsets(&shared), shared.options.write_despite_clocks);
        }
    });
}

/// Makes a replica refuse or accept local writes according to its neighbours' clocks. `offsets` are in milliseconds,
/// positive for a clock ahead of this one.
pub(crate) fn heed(replica: &Replica, offsets: &[i64], write_despite_clocks: bool) {
    let verdict = judge_by_neighbours(offsets, replica.max_drift());
    let verdict = verdict.filter(|fault| match fault {
        ClockFault::Behind { .. } | ClockFault::Disputed { .. } => !injected(Bug::SlowClockWrites),
        _ => true,
    });
    replica.heed_neighbours(verdict.filter(|_| !write_despite_clocks));
}

/// The alarm about the clocks, if there is one.
pub(super) fn alarm(shared: &Shared) -> Option<String> {
    let offsets = offsets(shared);
    if let Some(fault) = judge_by_neighbours(&offsets, shared.replica.max_drift()) {
        let writes = if shared.options.write_despite_clocks { "taken all the same" } else { "refused" };
        return Some(format!("{fault}. Local writes are {writes}"));
    }
    let worst = offsets.iter().copied().max_by_key(|offset| offset.unsigned_abs())?;
    let by = worst.unsigned_abs();
    let side = if worst > 0 { "ahead of" } else { "behind" };
    (u128::from(by) > shared.replica.max_drift().as_millis()).then(|| {
        format!("a neighbour's clock is {} s {side} this node's: check the time service there", by / 1_000)
    })
}

fn offsets(shared: &Shared) -> Vec<i64> {
    shared
        .links
        .neighbours(steady::since(shared.began))
        .iter()
        .filter_map(|neighbour| neighbour.clock_offset)
        .collect()
}
