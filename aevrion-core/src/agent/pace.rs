//! How often a neighbour may have this node compare: each time costs a walk over the tree, and the hashing of the
//! events of a leaf that the span cuts through.

use std::time::Duration;

/// Snapshots that may come one after another. Two neighbours in agreement need two in a minute.
const AT_ONCE: u32 = 256;

/// Snapshots in the time of a grace, in the long run.
const IN_A_GRACE: u32 = 16;

/// The allowance of one neighbour (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When everything that came would have come at an even pace.
    even: Duration,
}

impl Pace {
    /// Whether one more may come; it counts if it may.
    pub(super) fn allows(&mut self, now: Duration, grace: Duration) -> bool {
        let apart = grace / IN_A_GRACE;
        let even = self.even.max(now) + apart;
        let allowed = even <= now + apart * AT_ONCE;
        if allowed {
            self.even = even;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_an_even_pace() {
        let grace = Duration::from_secs(2);
        let mut pace = Pace::default();
        let mut now = Duration::from_secs(1);
        for _ in 0..AT_ONCE {
            assert!(pace.allows(now, grace));
        }
        assert!(!pace.allows(now, grace));
        now += grace / IN_A_GRACE;
        assert!(pace.allows(now, grace));
        assert!(!pace.allows(now, grace));
        now += grace;
        let allowed = (0..AT_ONCE).filter(|_| pace.allows(now, grace)).count();
        assert_eq!(u32::try_from(allowed), Ok(IN_A_GRACE));
    }
}
