//! Tolerance for late events that were given up, and for requests for unknown events.

use std::time::Duration;

use super::Fault;
use super::pace::{Bucket, Rate};
use crate::bounds::MISTAKEN_REQUESTS;

/// How often a neighbour forgives a request for an event that does not exist.
pub(super) const FORGIVEN_EACH: Duration = Duration::from_secs(60);

/// The number of events that were given up and may still arrive.
#[derive(Debug, Default)]
pub(super) struct Latecomers(usize);

impl Latecomers {
    /// Adds `events` that were given up. The allowance ends at `most`, so that it does not add up over a lifetime.
    pub(super) fn give_up(&mut self, events: usize, most: usize) {
        self.0 = self.0.saturating_add(events).min(most);
    }

    /// Takes late events: the number of received events without a request.
    ///
    /// # Errors
    /// [`Fault::Unasked`] if fewer were given up.
    pub(super) fn take(&mut self, unasked: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(unasked).ok_or(Fault::Unasked(unasked))?;
        Ok(())
    }
}

/// Requests of the neighbour for events that do not exist. Nothing is ever removed here, so each is a mistake; now and
/// then one is forgiven.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    count: u32,
    bucket: Bucket,
}

impl Mistakes {
    /// Notes a request with a number of unknown events.
    ///
    /// # Errors
    /// [`Fault::NoSuchEvents`] if that happens too often.
    pub(super) fn note(&mut self, unknown: usize, now: Duration) -> Result<(), Fault> {
        if unknown == 0 {
            return Ok(());
        }
        self.count += 1;
        let forgiven = Rate::apart(u64::from(MISTAKEN_REQUESTS), FORGIVEN_EACH);
        if self.bucket.allows(now, forgiven) { Ok(()) } else { Err(Fault::NoSuchEvents(self.count)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_may_come_late_as_were_given_up() {
        let mut latecomers = Latecomers::default();
        latecomers.give_up(5, 4);
        assert!(latecomers.take(3).is_ok());
        assert!(matches!(latecomers.take(2), Err(Fault::Unasked(2))));
        assert!(latecomers.take(1).is_ok(), "a refusal takes nothing");
    }

    #[test]
    fn mistakes_are_forgiven_now_and_then() {
        let mut mistakes = Mistakes::default();
        let now = Duration::from_secs(1_000);
        assert!((0..MISTAKEN_REQUESTS).all(|_| mistakes.note(1, now).is_ok()));
        assert!(mistakes.note(0, now).is_ok(), "this one is none");
        assert!(matches!(mistakes.note(1, now), Err(Fault::NoSuchEvents(_))));
        assert!(mistakes.note(1, now + FORGIVEN_EACH * 2).is_ok());
    }
}
