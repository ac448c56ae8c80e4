//! Events that were announced: which of them this neighbour is asked for, and which another one was asked for first.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::agent::coordinator::ASKED_FOR;
use crate::bounds::WANTED_AT_ONCE;
use crate::{Event, EventId, EventKey, TimeSpan};

/// How long an event that was asked for is awaited: a little longer than others keep from asking for it, so that
/// what is merely late is not asked for twice.
const AWAIT: Duration = Duration::from_secs(3);

/// How often it is looked whether a large event is still arriving: before others ask for it.
const LOOK: Duration = Duration::from_secs(1);

/// What this neighbour has announced and this node did not hold.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    asked: BTreeSet<EventKey>,
    /// Until when they are awaited.
    awaited: VecDeque<(Duration, Vec<EventKey>)>,
    /// Asked of others: when to see whether they have come.
    elsewhere: VecDeque<(Duration, Vec<EventKey>)>,
    left: usize,
    /// Large events that are said to be on their way, and when to see whether they still arrive.
    promised: usize,
    look_at: Option<Duration>,
    /// Large events that have come, and may not be stored yet.
    came: Vec<EventKey>,
    /// Batches of pushed events in the commit queue.
    stores: usize,
}

impl Fetches {
    /// For how many more there is room.
    pub(super) fn room(&self) -> usize {
        WANTED_AT_ONCE.saturating_sub(self.asked.len())
    }

    /// The neighbour is asked for these.
    pub(super) fn ask(&mut self, event_keys: &[EventKey], now: Duration) {
        self.asked.extend(event_keys);
        self.awaited.push_back((now + AWAIT, event_keys.to_vec()));
    }

    /// Another neighbour is being asked for these. If they are too many to remember, the oldest are left to the next
    /// comparison.
    pub(super) fn leave(&mut self, event_keys: Vec<EventKey>, now: Duration) {
        if event_keys.is_empty() {
            return;
        }
        self.left += event_keys.len();
        self.elsewhere.push_back((now + ASKED_FOR, event_keys));
        while self.left > WANTED_AT_ONCE {
            self.left -= self.elsewhere.pop_front().map_or(self.left, |(_, oldest)| oldest.len());
        }
    }

    /// Those that others had time to bring, or will have had by then.
    pub(super) fn left_until(&mut self, now: Duration) -> Vec<EventKey> {
        let due = self.elsewhere.iter().take_while(|(until, _)| *until <= now).count();
        let event_keys: Vec<_> = self.elsewhere.drain(..due).flat_map(|(_, event_keys)| event_keys).collect();
        self.left -= event_keys.len();
        event_keys
    }

    /// A large event is on its way.
    pub(super) fn promise(&mut self, now: Duration) {
        if !self.asked.is_empty() {
            self.promised += 1;
            self.look_at = Some(now + LOOK);
            self.prolong(now);
        }
    }

    /// Bytes are arriving. If something large is promised all that was asked for is awaited anew: what it is cannot be
    /// told.
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

    /// A large event has come, or if nothing arrives does not come.
    fn fulfil(&mut self, promises: usize) {
        self.promised = self.promised.saturating_sub(promises);
        if self.promised == 0 || self.asked.is_empty() {
            (self.promised, self.look_at) = (0, None);
        }
    }

    /// Nothing arrived since it was looked last.
    pub(super) fn looked(&mut self, now: Duration) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.fulfil(self.promised);
        }
    }

    /// When something is to be done, if nothing comes.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        [self.overdue_at(), self.left_at(), self.look_at].into_iter().flatten().min()
    }

    /// Whether something of `span` may be large and on its way, or is being stored.
    pub(super) fn is_coming(&self, span: TimeSpan) -> bool {
        let first = EventKey { timestamp: span.first(), id: EventId::from_bytes([0; 32]) };
        let next = self.asked.range(first..).next();
        let promised = self.promised > 0 && next.is_some_and(|next| next.timestamp <= span.last());
        promised || self.came.iter().any(|event_key| span.contains(event_key.timestamp))
    }

    /// All that is awaited.
    pub(super) fn asked(&self) -> &BTreeSet<EventKey> {
        &self.asked
    }

    /// These have come; what is larger than what is `pushed` was promised. Returns those that were asked for.
    pub(super) fn take(&mut self, events: &[Event], pushed: usize) -> Vec<EventKey> {
        let asked =
            events.iter().map(Event::event_key).filter(|event_key| self.asked.remove(event_key)).collect();
        let known = self.came.len();
        let large = events.iter().filter(|event| event.weight() > pushed);
        self.came.extend(large.map(Event::event_key));
        self.fulfil(self.came.len() - known);
        asked
    }

    /// A batch of pushed events is being stored.
    pub(super) fn store(&mut self) {
        self.stores += 1;
    }

    /// A batch of them was, or could not be: then a comparison finds it missing.
    pub(super) fn stored(&mut self) {
        self.stores = self.stores.saturating_sub(1);
        if self.stores == 0 {
            self.came.clear();
        }
    }

    /// Some that are still to come.
    pub(super) fn first(&self, most: usize) -> Vec<EventKey> {
        self.asked.iter().copied().take(most).collect()
    }

    /// Gives up what is overdue.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<EventKey> {
        let due = self.awaited.iter().take_while(|(until, _)| *until <= now).count();
        let event_keys = self.awaited.drain(..due).flat_map(|(_, event_keys)| event_keys);
        event_keys.filter(|event_key| self.asked.remove(event_key)).collect()
    }

    /// Gives up everything.
    pub(super) fn give_up(&mut self) -> BTreeSet<EventKey> {
        std::mem::take(self).asked
    }

    /// When something is overdue, if nothing comes.
    pub(super) fn overdue_at(&self) -> Option<Duration> {
        self.awaited.front().map(|(until, _)| *until)
    }

    /// When others have had time to bring what they were asked for.
    pub(super) fn left_at(&self) -> Option<Duration> {
        self.elsewhere.front().map(|(until, _)| *until)
    }

    /// How much is waited for.
    #[cfg(feature = "testkit")]
    pub(super) fn len(&self) -> usize {
        self.asked.len() + self.awaited.len()
    }
}
