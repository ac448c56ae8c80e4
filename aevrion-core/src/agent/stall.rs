//! Detects a neighbour that is silent or stalled.
//!
//! A transport notices when the network is gone. It does not notice a neighbour that answers its pings and does
//! nothing else: without these timeouts, such a neighbour would count as in step for ever.

use std::time::Duration;

/// The silence after which a neighbour that repairs loses its turn to others.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeouts after which a neighbour is given up. The defaults suit every usable network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StallTimeouts {
    /// How long a lane with waiting bytes may stand still (60 s), beside the time to transfer the bytes: 30 s for the
    /// longest network outage that a transport tolerates, and 30 s for half a megabyte that the other side may receive
    /// at the [least rate](StallTimeouts::rate) before it acknowledges.
    pub stalled: Duration,
    /// The least rate of a neighbour, in bytes a second (16 KiB): a tenth of a slow link's, so that a long frame has
    /// time enough, and no more.
    pub rate: u32,
    /// How long a neighbour may be silent (3 min): it sends a Hello each minute, so three are missing. A neighbour
    /// whose bytes arrive at the least rate is sending a long frame, and is not silent.
    pub silent: Duration,
}

impl Default for StallTimeouts {
    fn default() -> Self {
        Self { stalled: Duration::from_secs(60), rate: 16 << 10, silent: Duration::from_secs(3 * 60) }
    }
}

impl StallTimeouts {
    /// Sets [`stalled`](Self::stalled).
    #[must_use]
    pub fn stalled(mut self, stalled: Duration) -> Self {
        self.stalled = stalled;
        self
    }

    /// Sets [`rate`](Self::rate).
    #[must_use]
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// Sets [`silent`](Self::silent).
    #[must_use]
    pub fn silent(mut self, silent: Duration) -> Self {
        self.silent = silent;
        self
    }

    /// How long sending `bytes` may take.
    pub(crate) fn time_for(self, bytes: usize) -> Duration {
        let millis = (bytes as u64).saturating_mul(1_000) / u64::from(self.rate.max(1));
        self.stalled + Duration::from_millis(millis)
    }

    /// Whether `bytes` in the time `within` are below the least rate.
    fn is_silence(self, bytes: u64, within: Duration) -> bool {
        u128::from(bytes) * 1_000 < u128::from(self.rate) * within.as_millis()
    }
}

/// When the neighbour last gave a sign of life, and the bytes received until then.
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

    /// Whether bytes have arrived at the least rate since then. If so, that is a sign of life, and the next check
    /// starts here.
    pub(super) fn goes_on(&mut self, now: Duration, bytes: u64, timeouts: StallTimeouts) -> bool {
        let came = bytes.saturating_sub(self.bytes);
        let goes_on = came > 0 && !timeouts.is_silence(came, now.saturating_sub(self.since));
        if goes_on {
            *self = Self::at(now, bytes);
        }
        goes_on
    }
}

/// The wait for the next frame of an answer on the repair lane, since the question or the last frame.
#[derive(Debug, Default)]
pub(super) struct PendingReply {
    since: Duration,
    last_received: LastReceived,
}

impl PendingReply {
    pub(super) fn at(now: Duration, bytes: u64) -> Self {
        Self { since: now, last_received: LastReceived::at(now, bytes) }
    }

    /// When the answer is overdue, unless bytes arrive.
    pub(super) fn due_at(&self, timeouts: StallTimeouts) -> Duration {
        self.last_received.since + timeouts.stalled
    }

    /// Whether the frame is arriving. Its bytes cannot be told from those of the live lane and from acknowledgements,
    /// so it has as much time as the `longest` frame may take, and no more.
    pub(super) fn is_arriving(
        &mut self,
        now: Duration,
        bytes: u64,
        timeouts: StallTimeouts,
        longest: Duration,
    ) -> bool {
        now.saturating_sub(self.since) < longest && self.last_received.goes_on(now, bytes, timeouts)
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
        let mut last_received = LastReceived::at(second, 100);
        assert!(!last_received.goes_on(second * 2, 100, timeouts));
        assert!(!last_received.goes_on(second * 2, 16_000, timeouts), "less than 16 KiB in a second");
        assert!(last_received.goes_on(second * 2, 20_000, timeouts));
        assert_eq!(last_received.since(), second * 2);
        let mut pending_reply = PendingReply::at(second, 0);
        assert!(pending_reply.is_arriving(second * 2, 20_000, timeouts, second * 10));
        assert!(!pending_reply.is_arriving(second * 12, 1 << 30, timeouts, second * 10));
    }
}
