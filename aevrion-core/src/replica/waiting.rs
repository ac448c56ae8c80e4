//! Local writes that wait for the clock.
//!
//! They wait here, not in the queue: events of neighbours, and writes of other keys, go on. Writes of one key keep
//! their order. The room is bounded, and so is the time: a write that is not stamped within a second is refused with
//! the reason. A write whose caller has gone is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::queue::{Content, Submission};
use crate::bounds::{WAITING_BYTES, WAITING_WRITES};
use crate::fault_injection::{Bug, injected};
use crate::{Blocked, ClockFault, WriteError};

/// How long a write waits at most.
const WAIT_AT_MOST: Duration = Duration::from_secs(1);

/// How often the wall clock is read again: it may have been set right.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The waiting writes, in the order of arrival.
#[derive(Default)]
pub(super) struct WaitingWrites {
    writes: VecDeque<Submission>,
    bytes: usize,
    /// The number of writes of each key.
    keys: BTreeMap<Bytes, usize>,
    retry_at: Option<Instant>,
    /// The reason of the last write that does not wait behind another one.
    blocked: Option<Blocked>,
}

impl WaitingWrites {
    /// Whether a write has to wait behind another one of the same key.
    pub(super) fn hold_back(&self, content: &Content) -> bool {
        !self.keys.is_empty() && content.keys().any(|key| self.keys.contains_key(key))
    }

    /// Lets a write wait until `blocked` is over; `None` lets it wait behind another write of its key. Refuses a write
    /// past its deadline, or without room.
    pub(super) fn add(&mut self, mut submission: Submission, blocked: Option<Blocked>, now: Instant) {
        self.blocked = blocked.or(self.blocked);
        let deadline = *submission.deadline.get_or_insert(now + WAIT_AT_MOST);
        let (_, bytes) = submission.content.size();
        let full = self.writes.len() >= WAITING_WRITES || self.bytes + bytes > WAITING_BYTES;
        if (now >= deadline || full) && !injected(Bug::WaitingStarves) {
            return submission.content.refuse(match self.blocked {
                Some(Blocked::SetBack { by, .. }) => WriteError::Clock(ClockFault::SetBack { by }),
                Some(Blocked::BusyKey { .. }) | None => WriteError::BusyKey,
            });
        }
        // From here on its space in the queue is free.
        submission.space = None;
        let retry_at = now + blocked.map_or(LOOK_AGAIN, Blocked::wait).min(LOOK_AGAIN);
        self.retry_at = Some(self.retry_at.map_or(retry_at, |planned| planned.min(retry_at)));
        self.bytes += bytes;
        for key in submission.content.keys() {
            *self.keys.entry(key.clone()).or_default() += 1;
        }
        self.writes.push_back(submission);
    }

    /// Takes all writes, to try them again.
    pub(super) fn take(&mut self) -> Vec<Submission> {
        std::mem::take(self).writes.into()
    }

    /// When to try again.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let deadline = self.writes.front().and_then(|first| first.deadline);
        let starves = injected(Bug::WaitingStarves);
        [self.retry_at, deadline].into_iter().flatten().min().filter(|_| !starves)
    }
}
