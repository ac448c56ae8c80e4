//! Events that lists of the neighbour name and this node lacks. They are requested batch by batch, each after the
//! answer to the last one. So nothing is requested twice, and requested events can be told from unrequested ones.

use std::collections::{BTreeSet, VecDeque};

use super::spans::Spans;
use crate::bounds::{MESSAGE_IDS, MESSAGE_SPANS, REQUESTED_IDS};
use crate::message::{Listed, Share};
use crate::{Event, TimeSpan};

/// Shares of spans told apart: more than an honest neighbour lists before they have arrived.
const SHARES: usize = 64;

/// Wanted ids within scopes.
#[derive(Debug, Default)]
pub(super) struct WantList {
    /// Ids not requested yet.
    waiting: VecDeque<Listed>,
    /// Ids requested, and not received yet.
    asked: Vec<Listed>,
    /// Spans wanted in whole, and shares of spans, since the list was last empty.
    whole: Spans,
    shares: Vec<(TimeSpan, Share)>,
    /// Whether a request is open.
    open: bool,
    /// Whether part of its answer has arrived.
    came: bool,
}

impl WantList {
    /// Adds wanted ids. Beyond the limit the latest are left to the next comparison.
    pub(super) fn add(&mut self, requested: Vec<Listed>) {
        let mut len = self.len();
        if len == 0 {
            self.whole = Spans::default();
            self.shares.clear();
        }
        for list in requested {
            if self.waiting.len() == MESSAGE_SPANS || len + list.ids.len() > MESSAGE_IDS * 2 {
                continue;
            }
            len += list.ids.len();
            if list.is_whole() {
                self.whole.add(list.span);
            } else {
                self.shares.push((list.span, list.share));
            }
            self.waiting.push_back(list);
        }
    }

    /// Whether wanted events may be in the list, too. Different shares of a span hold different events.
    pub(super) fn meets(&self, list: &Listed) -> bool {
        let apart = |share: Share| share.of == list.share.of && share.part != list.share.part;
        let share =
            |(span, share): &(TimeSpan, Share)| span.intersection(list.span).is_some() && !apart(*share);
        let meets =
            || self.whole.meets(list.span) || self.shares.len() >= SHARES || self.shares.iter().any(share);
        // Requests with complete answers hide nothing.
        !(self.waiting.is_empty() && self.asked.is_empty()) && meets()
    }

    /// The next request; `None` while one is open, or without wanted ids.
    pub(super) fn next(&mut self) -> Option<Vec<Listed>> {
        if self.open || self.waiting.is_empty() {
            return None;
        }
        let mut room = REQUESTED_IDS;
        while room > 0
            && let Some(list) = self.waiting.pop_front()
        {
            let some = list.ids.len().min(room);
            if some < list.ids.len() {
                self.waiting.push_front(list.only(some..list.ids.len()));
            }
            self.asked.push(list.only(0..some));
            room -= some;
        }
        (self.open, self.came) = (true, false);
        Some(self.asked.clone())
    }

    /// Removes received events. Returns how many were not requested.
    pub(super) fn take(&mut self, events: &[Event]) -> usize {
        self.came |= !events.is_empty();
        let sorted: Vec<_> = self.asked.iter().map(|list| (list.span, list.ids.sorted())).collect();
        let mut come: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); sorted.len()];
        let mut unasked = 0;
        for event in events {
            let lists =
                sorted.iter().zip(&mut come).filter(|((span, _), _)| span.contains(event.timestamp()));
            let mut named = false;
            for ((_, ids), come) in lists {
                let place = ids.position(event.id());
                named |= place.is_some();
                if place.is_some_and(|place| come.insert(place)) {
                    break;
                }
            }
            // Two events can share a short id: then both arrive for the requested one.
            unasked += usize::from(!named);
        }
        for (list, come) in self.asked.iter_mut().zip(&come) {
            *list = list.only((0..list.ids.len()).filter(|place| !come.contains(place)));
        }
        self.asked.retain(|list| !list.ids.is_empty());
        unasked
    }

    /// The answer is complete. Ids left out for lack of room are wanted again, unless the answer was empty. Other ids
    /// that the neighbour does not deliver are dropped.
    pub(super) fn answered(&mut self, more: bool) {
        let left = std::mem::take(&mut self.asked);
        if more && self.came {
            left.into_iter().rev().for_each(|list| self.waiting.push_front(list));
        }
        self.open = false;
    }

    /// Drops all. Returns the number of ids whose answer may still be under way.
    pub(super) fn clear(&mut self) -> usize {
        let asked = self.asked.iter().map(|list| list.ids.len()).sum();
        *self = Self::default();
        asked
    }

    /// Ids not received yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().chain(&self.asked).map(|list| list.ids.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Ids;
    use crate::{EventId, Timestamp, Value};

    fn events(count: usize) -> Vec<Event> {
        let event = |n: usize| {
            let key = n.to_string().into_bytes().into();
            Event::new(key, Value::Deletion, Timestamp::from_millis(n as u64)).unwrap()
        };
        (0..count).map(event).collect()
    }

    fn listed(events: &[Event]) -> Listed {
        let ids: Vec<EventId> = events.iter().map(Event::id).collect();
        Listed { span: TimeSpan::ALL, share: Share::WHOLE, ids: Ids::Full(ids) }
    }

    fn ids(lists: Option<Vec<Listed>>) -> usize {
        lists.unwrap_or_default().iter().map(|list| list.ids.len()).sum()
    }

    #[test]
    fn what_is_wished_for_is_met_until_it_was_answered() {
        let mut want_list = WantList::default();
        let list = listed(&events(3));
        assert!(!want_list.meets(&list));
        want_list.add(vec![list.clone()]);
        assert!(want_list.meets(&list));
        want_list.next().unwrap();
        assert!(want_list.meets(&list));
        want_list.answered(false);
        assert!(!want_list.meets(&list));
    }

    #[test]
    fn a_lot_is_asked_for_at_a_time_and_nothing_twice() {
        let events = events(REQUESTED_IDS * 2 + 5);
        let mut want_list = WantList::default();
        want_list.add(vec![listed(&events)]);
        for batch in events.chunks(REQUESTED_IDS) {
            assert_eq!(ids(want_list.next()), batch.len());
            assert_eq!(ids(want_list.next()), 0, "one question is open");
            assert_eq!(want_list.take(batch), 0);
            want_list.answered(false);
        }
        assert_eq!((ids(want_list.next()), want_list.len()), (0, 0));
    }

    #[test]
    fn what_had_no_room_is_asked_for_again_and_what_is_not_given_is_not() {
        let events = events(10);
        let mut want_list = WantList::default();
        want_list.add(vec![listed(&events)]);
        assert_eq!(ids(want_list.next()), 10);
        want_list.take(&events[..4]);
        want_list.answered(true);
        assert_eq!(ids(want_list.next()), 6, "more is to come");
        want_list.take(&events[4..5]);
        want_list.answered(false);
        assert_eq!(ids(want_list.next()), 0, "the others are not there");
        want_list.add(vec![listed(&events)]);
        want_list.next();
        want_list.answered(true);
        assert_eq!(ids(want_list.next()), 0, "whoever promises more and sends nothing is not asked again");
    }

    #[test]
    fn what_was_not_asked_for_is_noticed() {
        let events = events(3);
        let mut want_list = WantList::default();
        want_list.add(vec![listed(&events[..2])]);
        want_list.next();
        assert_eq!(want_list.take(&events), 1);
    }
}
