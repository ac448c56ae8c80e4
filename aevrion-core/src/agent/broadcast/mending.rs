//! Events whose copy on this node is damaged: requests for a sound copy, by event key.
//!
//! A comparison does not find them, because the tree is over ids, and the ids are whole. Where both sides have agreed,
//! the neighbour holds the event, and is asked at once. Elsewhere it may lack the event, and it counts a request for
//! an unknown event as a mistake. Such a request therefore waits, is repeated ever more rarely, and stops long before
//! it could cost the connection. One neighbour is asked at a time; the next one if the event did not arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::agent::pace::{Bucket, Rate};
use crate::agent::tolerance::FORGIVEN_EACH;
use crate::bounds::{MENDED_AT_ONCE, MISTAKEN_REQUESTS};
use crate::{Event, EventKey, Timestamp};

/// How long an answer is awaited, from its last frame on.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The pause before a neighbour is asked for an event that it may lack, and before a fruitless request is repeated.
/// Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How long another neighbour has for its answer before this one may be asked.
const ELSEWHERE: Duration = Duration::from_secs(3);

/// Requests that are not answered in full. A neighbour forgives twice as many at once, which leaves room for this
/// node's other mistakes.
const IN_VAIN: Rate = Rate::apart(MISTAKEN_REQUESTS as u64 / 2, FORGIVEN_EACH);

/// The damaged events of this node, and their requests to this neighbour.
#[derive(Debug, Default)]
pub(super) struct Mending {
    plans: BTreeMap<EventKey, Plan>,
    /// The events of the open request.
    asked: BTreeSet<EventKey>,
    /// When the request counts as answered.
    until: Duration,
    in_vain: Bucket,
}

/// When to ask for an event.
#[derive(Debug, Clone, Copy)]
struct Plan {
    at: Duration,
    /// Whether the neighbour is known to hold it: both have agreed about its time.
    held: bool,
    /// Fruitless requests.
    tries: u32,
}

impl Mending {
    /// Takes the list of damaged events. Both sides have agreed about all events before `agreed`.
    pub(super) fn plan(&mut self, damaged: &[EventKey], agreed: Option<Timestamp>, now: Duration) {
        let standing: BTreeSet<_> = damaged.iter().copied().collect();
        self.plans.retain(|event_key, _| standing.contains(event_key));
        for event_key in standing {
            let plan = Plan { at: now + FIRST_PAUSE, held: false, tries: 0 };
            self.plans.entry(event_key).or_insert(plan);
        }
        self.agreed(agreed, now);
    }

    /// Both sides have agreed about all events before `until`: requests for these need not wait any longer.
    pub(super) fn agreed(&mut self, until: Option<Timestamp>, now: Duration) {
        let Some(until) = until else { return };
        for (_, plan) in self.plans.iter_mut().filter(|(event_key, plan)| plan.waits_for(until, event_key)) {
            (plan.held, plan.at) = (true, now);
        }
    }

    /// The next time at which a request is due or ends.
    pub(super) fn wake_at(&self, agreed: Option<Timestamp>) -> Option<Duration> {
        if !self.asked.is_empty() {
            return Some(self.until);
        }
        let due = |(event_key, plan): (&EventKey, &Plan)| match agreed {
            Some(until) if plan.waits_for(until, event_key) => Duration::ZERO,
            _ => plan.at,
        };
        let first = self.plans.iter().map(due).min()?;
        Some(first.max(self.in_vain.holds_at(1, IN_VAIN)))
    }

    /// The events to request now; empty while a request is open or the rate is used up.
    pub(super) fn due(&self, now: Duration) -> Vec<EventKey> {
        if !self.asked.is_empty() || self.in_vain.holds_at(1, IN_VAIN) > now {
            return Vec::new();
        }
        let due = self.plans.iter().filter(|(_, plan)| plan.at <= now);
        due.map(|(event_key, _)| *event_key).take(MENDED_AT_ONCE).collect()
    }

    /// Notes a request to the neighbour.
    pub(super) fn ask(&mut self, event_keys: &[EventKey], now: Duration) {
        self.asked.extend(event_keys);
        self.until = now + ANSWER_WITHIN;
    }

    /// The events of the open request.
    pub(super) fn asked(&self) -> Vec<EventKey> {
        self.asked.iter().copied().collect()
    }

    /// Whether the last request counts as answered.
    pub(super) fn is_answered(&self, now: Duration) -> bool {
        self.until <= now
    }

    /// Another neighbour is being asked for these: waits for it.
    pub(super) fn leave(&mut self, event_keys: &[EventKey], now: Duration) {
        self.put_off(event_keys, |plan| plan.at = now + ELSEWHERE);
    }

    /// Ends the open request. Returns its missing events.
    pub(super) fn give_up(&mut self, now: Duration) -> BTreeSet<EventKey> {
        let missing = std::mem::take(&mut self.asked);
        if !missing.is_empty() {
            self.in_vain.take(1, IN_VAIN, now);
        }
        self.put_off(&missing, |plan| {
            let pause = FIRST_PAUSE.saturating_mul(1 << plan.tries.min(16));
            plan.at = now + pause.min(LONGEST_PAUSE);
            plan.tries += 1;
        });
        missing
    }

    /// Takes a received event; whether it was requested. If its commit fails, it is requested again later.
    pub(super) fn take(&mut self, event: &Event, now: Duration) -> bool {
        let event_key = event.event_key();
        let asked = self.asked.remove(&event_key);
        if asked {
            self.until = now + ANSWER_WITHIN;
            self.put_off(&[event_key], |plan| plan.at = now + FIRST_PAUSE);
        }
        asked
    }

    fn put_off<'a>(
        &mut self,
        event_keys: impl IntoIterator<Item = &'a EventKey>,
        put_off: impl Fn(&mut Plan),
    ) {
        for event_key in event_keys {
            self.plans.get_mut(event_key).into_iter().for_each(&put_off);
        }
    }
}

impl Plan {
    /// Whether the request only waits for an agreement about the event's time, and `agreed` is later.
    fn waits_for(&self, agreed: Timestamp, event_key: &EventKey) -> bool {
        !self.held && self.tries == 0 && event_key.timestamp < agreed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, Value};

    fn event(ms: u64) -> Event {
        Event::new("key".into(), Value::Deletion, Timestamp::from_millis(ms)).unwrap()
    }

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn where_both_agree_it_is_asked_for_at_once_and_elsewhere_later() {
        let mut mending = Mending::default();
        let agreed = Some(Timestamp::from_millis(50));
        let (older, newer) = (event(10).event_key(), event(60).event_key());
        mending.plan(&[older, newer], agreed, NOW);
        assert_eq!(mending.due(NOW), [older]);
        assert_eq!(mending.due(NOW + FIRST_PAUSE), [older, newer]);
        let later = Some(Timestamp::from_millis(61));
        assert_eq!(mending.wake_at(later), Some(Duration::ZERO), "it is not known yet that they agree");
        mending.agreed(later, NOW);
        assert_eq!(mending.due(NOW), [older, newer]);
        mending.plan(&[newer], agreed, NOW);
        assert_eq!(mending.due(NOW), [newer], "what is mended is not asked for");
    }

    #[test]
    fn what_is_not_brought_is_asked_for_ever_more_rarely() {
        let mut mending = Mending::default();
        let damaged = event(10).event_key();
        mending.plan(&[damaged], Some(Timestamp::MAX), NOW);
        let (mut now, mut pauses) = (NOW, Vec::new());
        for _ in 0..9 {
            mending.ask(&mending.due(now), now);
            assert_eq!(mending.wake_at(None), Some(now + ANSWER_WITHIN));
            assert_eq!(mending.due(now + LONGEST_PAUSE), [], "one question at a time");
            now += ANSWER_WITHIN;
            assert_eq!(mending.give_up(now).len(), 1);
            let next = mending.wake_at(None).unwrap();
            pauses.push((next - now).as_secs() / 60);
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn questions_in_vain_are_few_whatever_is_found() {
        let mut mending = Mending::default();
        let event_key = |n: u8| EventKey { timestamp: Timestamp::MIN, id: EventId::from_bytes([n; 32]) };
        let in_vain = |now: Duration, from: u8, mending: &mut Mending| {
            let mut questions = 0;
            for number in from..from + 50 {
                mending.plan(&[event_key(number)], Some(Timestamp::MAX), now);
                let due = mending.due(now);
                questions += u32::from(!due.is_empty());
                mending.ask(&due, now);
                mending.give_up(now);
            }
            questions
        };
        assert_eq!(in_vain(NOW, 0, &mut mending), MISTAKEN_REQUESTS / 2);
        assert_eq!(in_vain(NOW + FORGIVEN_EACH, 50, &mut mending), 1);
    }

    #[test]
    fn what_comes_was_asked_for_once() {
        let mut mending = Mending::default();
        let event = event(10);
        assert!(!mending.take(&event, NOW));
        mending.plan(&[event.event_key()], Some(Timestamp::MAX), NOW);
        mending.ask(&[event.event_key()], NOW);
        assert!(mending.take(&event, NOW));
        assert!(!mending.take(&event, NOW), "once");
        assert_eq!(mending.due(NOW), [], "it is being stored");
        assert_eq!(mending.due(NOW + FIRST_PAUSE), [event.event_key()], "it was not");
    }
}
