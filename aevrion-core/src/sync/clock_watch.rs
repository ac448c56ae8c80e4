//! Whether this node's clock can be trusted, as far as its neighbours can tell.
//!
//! Any clock more than the drift allowed away from this one is an alarm. A node that is that far ahead of the median of
//! two or more neighbours also refuses local writes: an acknowledged write must never be one that the others see only
//! later. A node that is behind is harmless, for it follows what it accepts.

use std::sync::Arc;

use super::Shared;
use crate::Replica;

/// Judges the clock whenever something is learned of a neighbour.
pub(super) fn begin(shared: &Arc<Shared>) {
    let mut changes = shared.links.changes();
    let weak = Arc::downgrade(shared);
    shared.spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(shared) = weak.upgrade() else { return };
            let ahead = ahead_of_median(&offsets(&shared));
            let limit = drift(&shared.replica);
            let refused = ahead.filter(|ahead| *ahead > limit && shared.options.refuse_writes_when_ahead);
            shared.replica.refuse_writes_ahead(
                refused.map(|ahead| std::time::Duration::from_millis(ahead.unsigned_abs())),
            );
        }
    });
}

/// What is wrong with the clocks.
pub(super) fn alarm(shared: &Shared) -> Option<String> {
    let offsets = offsets(shared);
    let limit = drift(&shared.replica);
    let worst = offsets.iter().copied().max_by_key(|offset| offset.unsigned_abs())?;
    if worst.unsigned_abs() <= limit.unsigned_abs() {
        return None;
    }
    let side = if worst > 0 { "ahead of" } else { "behind" };
    let worst = worst.unsigned_abs();
    let advice = "check the time service on both";
    Some(match ahead_of_median(&offsets) {
        Some(ahead) if ahead > limit => {
            let writes =
                if shared.options.refuse_writes_when_ahead { "refused" } else { "taken all the same" };
            format!(
                "this node's clock is {ahead} ms ahead of its neighbours': local writes are {writes}; {advice}"
            )
        }
        _ => format!("a neighbour's clock is {worst} ms {side} this node's: {advice}"),
    })
}

fn offsets(shared: &Shared) -> Vec<i64> {
    shared.links.neighbours().iter().filter_map(|neighbour| neighbour.clock_offset).collect()
}

/// How far this node is ahead of the median of its neighbours, if they are two or more.
fn ahead_of_median(offsets: &[i64]) -> Option<i64> {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    // Of an even number the one that is nearer to this node: in doubt the node goes on.
    let median = sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= 2)?;
    Some(median.saturating_neg())
}

fn drift(replica: &Replica) -> i64 {
    i64::try_from(replica.max_drift().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_neighbour_is_no_jury() {
        assert_eq!(ahead_of_median(&[]), None);
        assert_eq!(ahead_of_median(&[-600_000]), None);
    }

    #[test]
    fn the_median_decides() {
        assert_eq!(ahead_of_median(&[-600_000, -600_100]), Some(600_000));
        assert_eq!(ahead_of_median(&[-600_000, 0]), Some(0));
        assert_eq!(ahead_of_median(&[-600_000, 5, -599_000]), Some(599_000));
        assert_eq!(ahead_of_median(&[600_000, 600_000]), Some(-600_000));
    }
}
