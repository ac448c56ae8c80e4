//! Faults of this node's clock that stop its writes, and the judgement by the clocks of neighbours.

use std::time::Duration;

use crate::Timestamp;

/// Why this node's clock cannot be trusted with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockFault {
    /// The wall clock shows an impossible time.
    #[error("this node's clock shows {shows} ms since 1970, which cannot be right: set it")]
    Impossible {
        /// The time shown.
        shows: Timestamp,
    },
    /// The wall clock shows less than this node has issued, by more than the drift allowed.
    #[error(
        "this node's clock was set back: it is {} s behind the latest write here. Set it right, or have the node go on \
         from its latest write (`aevrion clock resume`)",
        by.as_secs()
    )]
    SetBack {
        /// How far the clock is behind.
        by: Duration,
    },
    /// The clock is ahead of its neighbours': they would see an acknowledged write only later.
    #[error("this node's clock is {} s ahead of its neighbours': set it right", by.as_secs())]
    Ahead {
        /// How far ahead.
        by: Duration,
    },
    /// The clock is behind its neighbours': a write would lose to much earlier writes of theirs.
    #[error("this node's clock is {} s behind its neighbours': set it right", by.as_secs())]
    Behind {
        /// How far behind.
        by: Duration,
    },
    /// The clock and that of the only neighbour are apart. Neither is known to be right, and neither node takes writes.
    #[error("this node's clock and that of its only neighbour are {} s apart: set right the wrong one", by.as_secs())]
    Disputed {
        /// How far they are apart.
        by: Duration,
    },
}

impl ClockFault {
    /// A short name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Impossible { .. } => "impossible",
            Self::SetBack { .. } => "set_back",
            Self::Ahead { .. } => "ahead",
            Self::Behind { .. } => "behind",
            Self::Disputed { .. } => "disputed",
        }
    }
}

/// Judges this node's clock by those of the neighbours: `offsets` are the milliseconds by which each of them is ahead.
/// The median decides. A single neighbour makes a dispute, and a node without neighbours goes on.
pub(crate) fn judge_by_neighbours(offsets: &[i64], max_drift: Duration) -> Option<ClockFault> {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    let offset = median_near_zero(&sorted)?;
    let by = Duration::from_millis(offset.unsigned_abs());
    if by <= max_drift {
        return None;
    }
    Some(match (sorted.len(), offset > 0) {
        (1, _) => ClockFault::Disputed { by },
        (_, true) => ClockFault::Behind { by },
        (_, false) => ClockFault::Ahead { by },
    })
}

/// The median of ascending numbers; of the two middle ones the one nearer to zero: in doubt the node goes on.
fn median_near_zero(sorted: &[i64]) -> Option<i64> {
    let lower = sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let upper = sorted.get(sorted.len() / 2)?;
    Some(if lower.unsigned_abs() < upper.unsigned_abs() { *lower } else { *upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(offsets: &[i64]) -> Option<ClockFault> {
        judge_by_neighbours(offsets, Duration::from_secs(60))
    }

    #[test]
    fn without_neighbours_a_node_goes_on() {
        assert_eq!(judge(&[]), None);
    }

    #[test]
    fn one_neighbour_is_no_jury() {
        let by = Duration::from_secs(600);
        assert_eq!(judge(&[-600_000]), Some(ClockFault::Disputed { by }));
        assert_eq!(judge(&[600_000]), Some(ClockFault::Disputed { by }));
        assert_eq!(judge(&[60_000]), None);
    }

    #[test]
    fn the_median_decides() {
        let by = |ms| Duration::from_millis(ms);
        assert_eq!(judge(&[-600_000, -600_100]), Some(ClockFault::Ahead { by: by(600_000) }));
        assert_eq!(judge(&[600_000, 600_100]), Some(ClockFault::Behind { by: by(600_000) }));
        assert_eq!(judge(&[-600_000, 0]), None);
        assert_eq!(judge(&[0, 600_000]), None);
        assert_eq!(judge(&[-600_000, 600_000]), Some(ClockFault::Behind { by: by(600_000) }));
        assert_eq!(judge(&[-600_000, 5, -599_000]), Some(ClockFault::Ahead { by: by(599_000) }));
    }
}
