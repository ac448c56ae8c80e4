//! Announcements that wait a moment for more of them, by the source of their events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::EventKey;
use crate::agent::Output;
use crate::agent::outgoing::send_live;
use crate::bounds::ANNOUNCED_AT_ONCE;
use crate::message::{EventList, Message, Source};

/// How long announcements wait for more of them.
const GATHER: Duration = Duration::from_millis(3);

/// Event keys in one announcement, and in one repeated request.
pub(super) const LISTED_AT_ONCE: usize = ANNOUNCED_AT_ONCE * 4;

/// The waiting announcements.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    waiting: BTreeMap<Source, Vec<EventKey>>,
    len: usize,
    due_at: Option<Duration>,
}

impl Announcements {
    /// Adds an event.
    pub(super) fn add(&mut self, source: Source, event_key: EventKey, now: Duration) {
        self.waiting.entry(source).or_default().push(event_key);
        self.len += 1;
        self.due_at.get_or_insert(now + GATHER);
    }

    /// Whether so many events wait that they are sent at once.
    pub(super) fn are_many(&self) -> bool {
        self.len >= ANNOUNCED_AT_ONCE
    }

    /// When they are sent; `None` if there are none.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.due_at
    }

    /// Sends them all.
    pub(super) fn send(&mut self) -> Vec<Output> {
        let Self { waiting, .. } = std::mem::take(self);
        let lists = waiting.iter().flat_map(|(source, event_keys)| {
            event_keys.chunks(LISTED_AT_ONCE).map(|list| (*source, list.to_vec()))
        });
        let announce =
            |(source, event_keys)| send_live(Message::EventList(EventList::Announced { source, event_keys }));
        lists.map(announce).collect()
    }

    /// The number of events.
    #[cfg(feature = "testkit")]
    pub(super) fn len(&self) -> usize {
        self.len
    }
}
