//! How much patience there is with a neighbour that takes little, or says nothing.
//!
//! A transport notices when the network is gone. It does not notice a neighbour that answers its pings and does nothing
//! else: such a one would be counted among those that are kept in step for as long as it likes.

use std::time::Duration;

/// When a neighbour is given up. The default suits every network that is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long a lane on which something waits may stand still (60 s), beside the time that its bytes may take: 30 s
    /// for a network that is away as long as a transport puts up with, and as much for half a megabyte that the other
    /// side may take in at the [least rate](Patience::rate) before it says so.
    pub stalled: Duration,
    /// Bytes a second that a neighbour takes at least (16 KiB): a tenth of a slow link's, so that a long frame is
    /// given the time it needs, and no more.
    pub rate: u32,
    /// How long a neighbour may say nothing (3 min): it greets every minute, so three greetings are missing. One whose
    /// bytes come at the least rate is busy with a long frame, and is not silent.
    pub silent: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stalled: Duration::from_secs(60), rate: 16 << 10, silent: Duration::from_secs(3 * 60) }
    }
}

impl Patience {
    /// How long sending may take while so many bytes have to go.
    pub(super) fn time_for(self, bytes: usize) -> Duration {
        let millis = (bytes as u64).saturating_mul(1_000) / u64::from(self.rate.max(1));
        self.stalled + Duration::from_millis(millis)
    }

    /// Whether so many bytes in so much time are less than the least rate.
    pub(super) fn is_silence(self, bytes: u64, within: Duration) -> bool {
        u128::from(bytes) * 1_000 < u128::from(self.rate) * within.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_frame_is_given_its_time() {
        let patience = Patience::default();
        assert_eq!(patience.time_for(0), Duration::from_secs(60));
        assert_eq!(patience.time_for(16 << 20), Duration::from_secs(60 + 1_024));
        assert!(patience.is_silence(1_000, patience.silent), "pings and a byte a second are nothing");
        assert!(!patience.is_silence(4 << 20, patience.silent));
    }
}
