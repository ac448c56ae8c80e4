//! Announced events: those to request from this neighbour, and those that another one is to deliver.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::bounds::WANTED_AT_ONCE;
use crate::{Event, EventId, EventKey, TimeSpan};

/// How long a requested event is awaited: a little longer than other neighbours are kept from being asked
/// ([`ASKED_FOR`](crate::agent::coordinator::ASKED_FOR)), so that a late event is not requested twice.
const AWAIT: Duration = Duration::from_secs(3);

/// Interval of the checks whether a large event is still arriving: shorter than
/// [`ASKED_FOR`](crate::agent::coordinator::ASKED_FOR).
const LOOK: Duration = Duration::from_secs(1);

/// Events that this neighbour has announced and this node lacks.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    asked: BTreeSet<EventKey>,
    /// Deadlines of the requests, earliest first.
    awaited: VecDeque<(Duration, Vec<EventKey>)>,
    /// Events that other neighbours are to deliver, by the time of the check whether they have arrived.
    elsewhere: BTreeMap<Duration, Vec<EventKey>>,
    left: usize,
    /// Large events that the neighbour has promised, and when to check whether they are still arriving.
    promised: usize,
    look_at: Option<Duration>,
    /// Large events that have arrived and may not be stored yet.
    came: Vec<EventKey>,
    /// Batches of pushed events in the commit queue.
    stores: usize,
}

impl Fetches {
    /// The number of further events that may be requested.
    pub(super) fn room(&self) -> usize {
        WANTED_AT_ONCE.saturating_sub(self.asked.len())
    }

    /// Notes a request to this neighbour.
    pub(super) fn ask(&mut self, event_keys: &[EventKey], now: Duration) {
        self.asked.extend(event_keys);
        self.awaited.push_back((now + AWAIT, event_keys.to_vec()));
    }

    /// Notes events that another neighbour is to deliver by `until`. Beyond the limit those of the earliest checks are
    /// dropped. Returns whether some were.
    pub(super) fn leave(&mut self, event_keys: Vec<EventKey>, until: Duration) -> bool {
        if event_keys.is_empty() {
            return false;
        }
        self.left += event_keys.len();
        self.elsewhere.entry(until).or_default().extend(event_keys);
        let overflows = self.left > WANTED_AT_ONCE;
        while self.left > WANTED_AT_ONCE {
            self.left -= self.elsewhere.pop_first().map_or(self.left, |(_, earliest)| earliest.len());
        }
        overflows
    }

    /// Takes the events that another neighbour should have delivered by `now`.
    pub(super) fn left_until(&mut self, now: Duration) -> Vec<EventKey> {
        let mut event_keys = Vec::new();
        while let Some(due) = self.elsewhere.first_entry().filter(|due| *due.key() <= now) {
            event_keys.extend(due.remove());
        }
        self.left -= event_keys.len();
        event_keys
    }

    /// Notes the promise of a large event.
    pub(super) fn promise(&mut self, now: Duration) {
        if !self.asked.is_empty() {
            self.promised += 1;
            self.look_at = Some(now + LOOK);
            self.prolong(now);
        }
    }

    /// Bytes are arriving. They cannot be told apart, so a promised large event extends the deadlines of all requests.
    pub(super) fn arriving(&mut self, now: Duration) -> bool {
        let promised = self.look_at.is_some();
        if promised {
            self.look_at = Some(now + LOOK);
            self.prolong(now);
        }
        promised
    }

    fn prolong(&mut self, now: Duration) {
        self.awaited.iter_mut().for_each(|(until, _)| *until = (*until).max(now + AWAIT));
    }

    /// Ends `promises`: their events have arrived, or will not.
    fn fulfil(&mut self, promises: usize) {
        self.promised = self.promised.saturating_sub(promises);
        if self.promised == 0 || self.asked.is_empty() {
            (self.promised, self.look_at) = (0, None);
        }
    }

    /// Ends all promises if no byte has arrived since the last check.
    pub(super) fn looked(&mut self, now: Duration) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.fulfil(self.promised);
        }
    }

    /// The next deadline or check.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        [self.overdue_at(), self.left_at(), self.look_at].into_iter().flatten().min()
    }

    /// Whether a large event of `span` may be arriving or waiting for its commit.
    pub(super) fn is_coming(&self, span: TimeSpan) -> bool {
        let first = EventKey { timestamp: span.first(), id: EventId::from_bytes([0; 32]) };
        let next = self.asked.range(first..).next();
        let promised = self.promised > 0 && next.is_some_and(|next| next.timestamp <= span.last());
        promised || self.came.iter().any(|event_key| span.contains(event_key.timestamp))
    }

    /// The large events that may be arriving or waiting for their commit.
    pub(super) fn coming(&self) -> impl Iterator<Item = EventKey> {
        let promised = self.asked.iter().filter(|_| self.promised > 0);
        promised.chain(&self.came).copied()
    }

    /// All awaited events.
    pub(super) fn asked(&self) -> &BTreeSet<EventKey> {
        &self.asked
    }

    /// Takes received events; those larger than `pushed` bytes fulfil promises. Returns the requested ones.
    pub(super) fn take(&mut self, events: &[Event], pushed: usize) -> Vec<EventKey> {
        let asked =
            events.iter().map(Event::event_key).filter(|event_key| self.asked.remove(event_key)).collect();
        let known = self.came.len();
        let large = events.iter().filter(|event| event.weight() > pushed);
        self.came.extend(large.map(Event::event_key));
        self.fulfil(self.came.len() - known);
        asked
    }

    /// A batch of pushed events enters the commit queue.
    pub(super) fn store(&mut self) {
        self.stores += 1;
    }

    /// A batch is committed, or its commit failed; a comparison then finds its events missing.
    pub(super) fn stored(&mut self) {
        self.stores = self.stores.saturating_sub(1);
        if self.stores == 0 {
            self.came.clear();
        }
    }

    /// The first `most` awaited events.
    pub(super) fn first(&self, most: usize) -> Vec<EventKey> {
        self.asked.iter().copied().take(most).collect()
    }

    /// Gives up the overdue events and returns them.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<EventKey> {
        let due = self.awaited.iter().take_while(|(until, _)| *until <= now).count();
        let event_keys = self.awaited.drain(..due).flat_map(|(_, event_keys)| event_keys);
        event_keys.filter(|event_key| self.asked.remove(event_key)).collect()
    }

    /// Gives up all events and returns them.
    pub(super) fn give_up(&mut self) -> BTreeSet<EventKey> {
        std::mem::take(self).asked
    }

    /// The earliest deadline of a request.
    pub(super) fn overdue_at(&self) -> Option<Duration> {
        self.awaited.front().map(|(until, _)| *until)
    }

    /// The next check of events that other neighbours are to deliver.
    pub(super) fn left_at(&self) -> Option<Duration> {
        self.elsewhere.first_key_value().map(|(until, _)| *until)
    }

    /// The number of awaited events and requests.
    #[cfg(feature = "testkit")]
    pub(super) fn len(&self) -> usize {
        self.asked.len() + self.awaited.len()
    }
}
