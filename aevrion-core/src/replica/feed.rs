//! News for the neighbours: the last events that became durable here, each with its origin.
//!
//! One bounded ring serves all neighbours, each with its own place in it, so no queue can grow. A reader that falls
//! behind the ring learns that it missed events; a comparison with the neighbour finds them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bounds::{FEED_BYTES, FEED_EVENTS, FEED_PAGE};
use crate::news::NewEvent;

/// The ring.
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    /// The number of the next event to be shown.
    shown: AtomicU64,
    /// Wakes readers in the order in which they wait, unlike a watch channel: a simulation has to be the same each
    /// time.
    changed: Notify,
    readers: AtomicUsize,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<NewEvent>,
    bytes: usize,
    /// The number of the first event in the ring.
    first: u64,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.event.weight();
            self.first += 1;
        }
    }
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            ring: Mutex::default(),
            shown: AtomicU64::new(0),
            changed: Notify::new(),
            readers: AtomicUsize::new(0),
        }
    }

    /// Whether it has readers.
    pub(super) fn is_read(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// Takes stored events, to be shown once they are durable.
    pub(super) fn offer(&self, news: Vec<NewEvent>) {
        let mut ring = self.ring();
        for news in news {
            ring.bytes += news.event.weight();
            ring.events.push_back(news);
            while ring.events.len() > FEED_EVENTS || ring.bytes > FEED_BYTES && ring.events.len() > 1 {
                ring.drop_oldest();
            }
        }
    }

    /// Shows all events offered so far: they are durable.
    pub(super) fn show(&self) {
        let end = self.ring().end();
        if self.shown.swap(end, Ordering::AcqRel) != end {
            self.changed.notify_waiters();
        }
    }

    /// Forgets the events that were not shown: they may not be stored. The neighbours have to compare.
    pub(super) fn forget_unshown(&self) {
        let mut ring = self.ring();
        while ring.end() > self.shown.load(Ordering::Acquire) && !ring.events.is_empty() {
            if let Some(newest) = ring.events.pop_back() {
                ring.bytes -= newest.event.weight();
            }
        }
        // The numbers of forgotten events are not given again.
        drop(ring);
        self.interrupt();
    }

    /// Lets every reader find that it has missed events.
    fn interrupt(&self) {
        let mut ring = self.ring();
        let end = ring.end();
        ring.events.clear();
        ring.bytes = 0;
        ring.first = end + 1;
        drop(ring);
        self.shown.store(end + 1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// A place behind all events shown so far.
    pub(crate) fn read(self: &Arc<Self>) -> FeedReader {
        self.readers.fetch_add(1, Ordering::AcqRel);
        FeedReader { feed: Arc::clone(self), next: self.shown.load(Ordering::Acquire) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the feed.
pub(crate) struct FeedReader {
    feed: Arc<Feed>,
    next: u64,
}

/// The news that a reader finds.
pub(crate) enum News {
    /// Events, in the order of arrival.
    Events(Vec<NewEvent>),
    /// The ring has moved on beyond this reader's place.
    Missed,
}

impl FeedReader {
    /// Waits for news. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> News {
        let feed = Arc::clone(&self.feed);
        loop {
            let changed = feed.changed.notified();
            if let Some(news) = self.take() {
                return news;
            }
            changed.await;
        }
    }

    /// The news at hand.
    pub(crate) fn take(&mut self) -> Option<News> {
        let end = self.feed.shown.load(Ordering::Acquire);
        if self.next >= end {
            return None;
        }
        let ring = self.feed.ring();
        if self.next < ring.first {
            self.next = end;
            return Some(News::Missed);
        }
        let start = usize::try_from(self.next - ring.first).ok()?;
        let len = usize::try_from(end - self.next).ok()?.min(FEED_PAGE);
        let events: Vec<_> = ring.events.iter().skip(start).take(len).cloned().collect();
        self.next += events.len() as u64;
        Some(News::Events(events))
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.feed.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::news::Origin;
    use crate::{Event, Timestamp, Value};

    fn news(number: u64, bytes: usize) -> NewEvent {
        let value = Value::Data(Bytes::from(vec![0; bytes]));
        let event = Event::new(Bytes::from_static(b"k"), value, Timestamp::from_millis(number)).unwrap();
        NewEvent { event, origin: Origin::Local }
    }

    fn numbers(news: Option<News>) -> Option<Vec<u64>> {
        match news? {
            News::Events(events) => {
                Some(events.iter().map(|news| news.event.timestamp().as_millis()).collect())
            }
            News::Missed => Some(Vec::new()),
        }
    }

    #[test]
    fn shows_what_is_durable_in_order() {
        let feed = Arc::new(Feed::new());
        let mut reader = feed.read();
        feed.offer(vec![news(1, 1), news(2, 1)]);
        assert_eq!(numbers(reader.take()), None);
        feed.show();
        assert_eq!(numbers(reader.take()), Some(vec![1, 2]));
        assert_eq!(numbers(reader.take()), None);
    }

    #[test]
    fn whoever_falls_behind_learns_that_and_goes_on() {
        let feed = Arc::new(Feed::new());
        let mut reader = feed.read();
        feed.offer((0..3).map(|number| news(number, FEED_BYTES / 2)).collect());
        feed.show();
        assert_eq!(numbers(reader.take()), Some(vec![]));
        feed.offer(vec![news(9, 1)]);
        feed.show();
        assert_eq!(numbers(reader.take()), Some(vec![9]));
    }

    #[test]
    fn what_was_not_shown_can_be_taken_back() {
        let feed = Arc::new(Feed::new());
        let mut reader = feed.read();
        feed.offer(vec![news(1, 1)]);
        feed.forget_unshown();
        assert_eq!(numbers(reader.take()), Some(vec![]), "something was missed");
        feed.offer(vec![news(2, 1)]);
        feed.show();
        assert_eq!(numbers(reader.take()), Some(vec![2]));
    }
}
