//! When a neighbour last said something, and whether it is in the middle of something long.
//!
//! A transport notices when the network is gone. It does not notice a neighbour that answers its pings and does nothing
//! else: such a one would be counted among those that are kept in step for as long as it likes.

use std::time::Duration;

/// When a neighbour is given up. The default suits every network that is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallTimeouts {
    /// How long a lane on which something waits may stand still (60 s), beside the time that its bytes may take: 30 s
    /// for a network that is away as long as a transport puts up with, and as much for half a megabyte that the other
    /// side may take in at the [least rate](StallTimeouts::rate) before it says so.
    pub stalled: Duration,
    /// Bytes a second that a neighbour takes at least (16 KiB): a tenth of a slow link's, so that a long frame is
    /// given the time it needs, and no more.
    pub rate: u32,
    /// How long a neighbour may say nothing (3 min): it greets every minute, so three greetings are missing. One whose
    /// bytes come at the least rate is busy with a long frame, and is not silent.
    pub silent: Duration,
}

impl Default for StallTimeouts {
    fn default() -> Self {
        Self { stalled: Duration::from_secs(60), rate: 16 << 10, silent: Duration::from_secs(3 * 60) }
    }
}

impl StallTimeouts {
    /// How long sending may take while so many bytes have to go.
    pub(crate) fn time_for(self, bytes: usize) -> Duration {
        let millis = (bytes as u64).saturating_mul(1_000) / u64::from(self.rate.max(1));
        self.stalled + Duration::from_millis(millis)
    }

    /// Whether so many bytes in so much time are less than the least rate.
    fn is_silence(self, bytes: u64, within: Duration) -> bool {
        u128::from(bytes) * 1_000 < u128::from(self.rate) * within.as_millis()
    }
}

/// When something last came, and how many bytes had by then.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastReceived {
    since: Duration,
    bytes: u64,
}

impl LastReceived {
    pub(super) fn at(now: Duration, bytes: u64) -> Self {
        Self { since: now, bytes }
    }

    pub(super) fn since(&self) -> Duration {
        self.since
    }

    /// Whether bytes have come since then at the least rate. That is a sign of life, too: the next look is from here.
    pub(super) fn goes_on(&mut self, now: Duration, bytes: u64, timeouts: StallTimeouts) -> bool {
        let came = bytes.saturating_sub(self.bytes);
        let goes_on = came > 0 && !timeouts.is_silence(came, now.saturating_sub(self.since));
        if goes_on {
            *self = Self::at(now, bytes);
        }
        goes_on
    }
}

/// The next frame of an answer on the repair lane: since a question went out, or the frame before it came.
#[derive(Debug, Default)]
pub(super) struct PendingReply {
    since: Duration,
    heard: LastReceived,
}

impl PendingReply {
    pub(super) fn at(now: Duration, bytes: u64) -> Self {
        Self { since: now, heard: LastReceived::at(now, bytes) }
    }

    /// Whether it is arriving. What comes on the live lane, and what acknowledges this side's own bytes, cannot be told
    /// from it; so it has as much time as the `longest` frame may take, and no more.
    pub(super) fn is_arriving(
        &mut self,
        now: Duration,
        bytes: u64,
        timeouts: StallTimeouts,
        longest: Duration,
    ) -> bool {
        now.saturating_sub(self.since) < longest && self.heard.goes_on(now, bytes, timeouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_frame_is_given_its_time() {
        let timeouts = StallTimeouts::default();
        assert_eq!(timeouts.time_for(0), Duration::from_secs(60));
        assert_eq!(timeouts.time_for(16 << 20), Duration::from_secs(60 + 1_024));
        assert!(timeouts.is_silence(1_000, timeouts.silent), "pings and a byte a second are nothing");
        assert!(!timeouts.is_silence(4 << 20, timeouts.silent));
    }

    #[test]
    fn bytes_at_the_least_rate_are_a_sign_of_life() {
        let (timeouts, second) = (StallTimeouts::default(), Duration::from_secs(1));
        let mut heard = LastReceived::at(second, 100);
        assert!(!heard.goes_on(second * 2, 100, timeouts));
        assert!(!heard.goes_on(second * 2, 16_000, timeouts), "less than 16 KiB in a second");
        assert!(heard.goes_on(second * 2, 20_000, timeouts));
        assert_eq!(heard.since(), second * 2);
        let mut awaited = PendingReply::at(second, 0);
        assert!(awaited.is_arriving(second * 2, 20_000, timeouts, second * 10));
        assert!(!awaited.is_arriving(second * 12, 1 << 30, timeouts, second * 10));
    }
}
