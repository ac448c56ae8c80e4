//! Whether this node's clock can be trusted, as far as its neighbours can tell.
//!
//! Any clock more than the drift allowed away from this one is an alarm. A node that is that far from the median of its
//! neighbours also refuses local writes. Ahead, an acknowledged write would be one that the others see only later.
//! Behind, it would lose to what they wrote long before, and land in a past that was said to be settled. See
//! [`ClockFault`].

use std::sync::Arc;

use super::Shared;
use crate::clock_fault::judge_by_neighbours;
use crate::planted::{Bug, planted};
use crate::{ClockFault, Replica};

/// Judges the clock whenever something is learned of a neighbour.
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

/// Has a replica refuse or take local writes by what the clocks of its neighbours say: `offsets` are milliseconds that
/// each of them is ahead.
pub(crate) fn heed(replica: &Replica, offsets: &[i64], write_despite_clocks: bool) {
    let verdict = judge_by_neighbours(offsets, replica.max_drift());
    let verdict = verdict.filter(|fault| match fault {
        ClockFault::Behind { .. } | ClockFault::Disputed { .. } => !planted(Bug::SlowClockWrites),
        _ => true,
    });
    replica.heed_neighbours(verdict.filter(|_| !write_despite_clocks));
}

/// What is wrong with the clocks.
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
    shared.links.neighbours().iter().filter_map(|neighbour| neighbour.clock_offset).collect()
}
