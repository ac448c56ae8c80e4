//! What is under way on this connection, so that it is not taken for drift.
//!
//! Snapshots leave out the last seconds, and with them what is usually in flight. But an event may carry an old
//! timestamp: an import, a node whose clock is slow. Where such events went to or fro just now, a difference may be
//! nothing but their delay.

use std::collections::VecDeque;
use std::time::Duration;

use crate::bounds::IN_FLIGHT;
use crate::{Address, TimeSpan, Timestamp};

/// Timestamps of events that travelled lately.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    lately: VecDeque<(Duration, Timestamp)>,
    /// Until when more was under way than is remembered.
    overflowed: Duration,
}

impl InFlight {
    /// Notes that these travel, and may do so until `until`.
    pub(super) fn note(&mut self, addresses: impl IntoIterator<Item = Address>, until: Duration) {
        for address in addresses {
            if self.lately.len() == IN_FLIGHT {
                self.lately.pop_front();
                self.overflowed = until;
            }
            self.lately.push_back((until, address.timestamp));
        }
    }

    /// Whether something of `span` may be under way.
    pub(super) fn touches(&mut self, span: TimeSpan, now: Duration) -> bool {
        while self.lately.front().is_some_and(|(until, _)| *until <= now) {
            self.lately.pop_front();
        }
        self.overflowed > now || self.lately.iter().any(|(_, timestamp)| span.contains(*timestamp))
    }
}
