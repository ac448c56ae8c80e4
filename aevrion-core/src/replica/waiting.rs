//! What the writer waits for: local writes that the clock does not let through yet, and the next expiry.
//!
//! The writes wait here, not in the queue: what comes from neighbours, and writes of other keys, go on. Writes of one key keep
//! their order. The room is bounded, and so is the time: a write that is not stamped within a second is refused with
//! the reason. A write whose caller has gone is not made.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::queue::{Content, Submission};
use crate::bounds::{WAITING_BYTES, WAITING_WRITES};
use crate::fault_injection::{Bug, injected};
use crate::{Blocked, ClockFault, Timestamp, WriteError, steady};

/// How long a write waits at most.
const WAIT_AT_MOST: Duration = Duration::from_secs(1);

/// How often the wall is looked at anew: somebody may set it right.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The writes that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct WaitingWrites {
    writes: VecDeque<Submission>,
    bytes: usize,
    /// How many of them write each key.
    keys: BTreeMap<Bytes, usize>,
    retry_at: Option<Instant>,
    /// What the last one waits for that does not wait for another one.
    blocked: Option<Blocked>,
}

impl WaitingWrites {
    /// Whether this must wait behind a write of one of its keys.
    pub(super) fn hold_back(&self, content: &Content) -> bool {
        !self.keys.is_empty() && content.keys().any(|key| self.keys.contains_key(key))
    }

    /// Lets a write wait for what `blocked` names; behind another write of its key if it names nothing. Refuses it if
    /// it has waited long enough, or there is no room.
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
        // The queue is for others from here on.
        submission.space = None;
        let retry_at = now + blocked.map_or(LOOK_AGAIN, Blocked::wait).min(LOOK_AGAIN);
        self.retry_at = Some(self.retry_at.map_or(retry_at, |planned| planned.min(retry_at)));
        self.bytes += bytes;
        for key in submission.content.keys() {
            *self.keys.entry(key.clone()).or_default() += 1;
        }
        self.writes.push_back(submission);
    }

    /// All that wait, to be tried again.
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

/// How long the writer sleeps at most without a look at the wall clock, which may be set.
const WALL_CHECKED: Duration = Duration::from_secs(1);

/// When the writer has to look into the timetable.
pub(super) struct ExpiryAlarm {
    /// No row of the timetable is earlier; `None` if there is none.
    pub(super) next: Option<Timestamp>,
    /// Not before this.
    pub(super) after: Instant,
}

impl Default for ExpiryAlarm {
    fn default() -> Self {
        Self { next: Some(Timestamp::MIN), after: steady::now() }
    }
}

impl ExpiryAlarm {
    /// A value that expires at this moment was stored.
    pub(super) fn note(&mut self, expiry: Option<Timestamp>) {
        self.next = self.next.into_iter().chain(expiry).min();
    }

    /// The timetable may have changed.
    pub(super) fn look(&mut self) {
        self.next = Some(Timestamp::MIN);
    }

    /// When to look, if the wall shows `now` and goes on as it should.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Instant> {
        let wait = self.next?.ahead_of(now).min(WALL_CHECKED);
        Some(self.after.max(steady::now() + wait))
    }
}
