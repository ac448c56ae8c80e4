//! What happens now: own writes are pushed, what came from others is announced, and whoever lacks it asks.

use std::time::Duration;

use super::{Agent, Fault, Fresh, Halt, Holdings, Moment, NeedEvents, Origin, Output};
use crate::bounds::{
    ANNOUNCED_AT_ONCE, BATCH_FRAME, MESSAGE_EVENTS, MISTAKEN_WISHES, WANTED_AT_ONCE, WINDOW_BYTES,
};
use crate::message::{EventList, Events, Message, Push, Reply};
use crate::planted::{Bug, planted};
use crate::transport::Lane;
use crate::{Address, Event};

/// How long announcements wait for company.
const GATHER: Duration = Duration::from_millis(3);

/// How long an event that was asked for is awaited.
const AWAIT: Duration = Duration::from_secs(3);

/// How long a burst of news from a repair has to be over before snapshots are compared because of it.
const SETTLE: Duration = Duration::from_millis(200);

impl Agent {
    /// Events that are new on this node and durable, in the order of arrival.
    pub fn written(&mut self, fresh: &[Fresh], now: Moment) -> Vec<Output> {
        if !self.is_settled() {
            // The first comparison will find them.
            return Vec::new();
        }
        let mut own = Vec::new();
        let mut crowded = false;
        for Fresh { event, origin } in fresh {
            match *origin {
                Origin::Local => own.push(event.clone()),
                Origin::Pushed(from) | Origin::Repaired(from)
                    if from == self.neighbour && !planted(Bug::EchoedAnnouncement) => {}
                Origin::Repaired(_) if self.announcements.len() >= ANNOUNCED_AT_ONCE => crowded = true,
                Origin::Pushed(_) | Origin::Repaired(_) => self.announcements.push(event.address()),
            }
        }
        // Under way already, although they wait for company.
        self.note_flight(self.announcements.clone(), now);
        let mut outputs = Vec::new();
        if !own.is_empty() {
            self.note_flight(own.iter().map(Event::address), now);
            outputs
                .extend(batches(own).map(|events| Output::Send(Lane::Live, Message::Push(Push { events }))));
        }
        if crowded {
            // A repair brought so much that telling one by one costs more than comparing when it is over.
            self.compare_at = Some(now.steady + SETTLE);
            self.agreement.behind = self.agreement.behind.max(1);
        }
        if self.announcements.len() >= ANNOUNCED_AT_ONCE {
            outputs.extend(self.announce(now));
        } else if !self.announcements.is_empty() && self.announce_at.is_none() {
            self.announce_at = Some(now.steady + GATHER);
        }
        outputs
    }

    /// Sends the announcements that wait.
    pub(super) fn announce(&mut self, now: Moment) -> Vec<Output> {
        self.announce_at = None;
        let addresses = std::mem::take(&mut self.announcements);
        self.note_flight(addresses.iter().copied(), now);
        let lists = addresses.chunks(ANNOUNCED_AT_ONCE * 4);
        lists.map(|list| send_live(Message::EventList(EventList::Announced(list.to_vec())))).collect()
    }

    pub(super) fn on_push(&mut self, push: Push, now: Moment) -> Vec<Output> {
        self.note_flight(push.events.iter().map(Event::address), now);
        self.keep(push.events, Origin::Pushed(self.neighbour))
    }

    pub(super) async fn on_announced(
        &mut self,
        addresses: Vec<Address>,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        self.note_flight(addresses.iter().copied(), now);
        let known = planted(Bug::AsksForKnown);
        let missing = if known { addresses } else { holdings.missing(&addresses).await? };
        let room = WANTED_AT_ONCE.saturating_sub(self.wanted.len());
        let crowded = missing.len() > room;
        let claimed = self.desk.claim(missing.into_iter().take(room).collect(), now.steady);
        if crowded {
            self.compare_soon(now.steady);
        }
        Ok(self.want(claimed, now))
    }

    /// The neighbour wants the events at these addresses.
    pub(super) async fn on_wanted(
        &mut self,
        addresses: &[Address],
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut more = false;
        let mut unknown = 0;
        for address in addresses {
            if bytes >= WINDOW_BYTES {
                more = true;
                break;
            }
            match holdings.event(*address).await? {
                Some(event) => {
                    bytes += event.weight();
                    events.push(event);
                }
                None => unknown += 1,
            }
        }
        self.note_mistake(unknown)?;
        self.note_flight(addresses.iter().copied(), now);
        Ok(wanted_events(events, more, Lane::Live))
    }

    /// Takes note of events that come at addresses that were asked for; says how many were not.
    pub(super) fn take_wanted(&mut self, events: &[Event]) -> usize {
        let come: Vec<_> =
            events.iter().map(Event::address).filter(|address| self.wanted.remove(address)).collect();
        self.desk.release(&come);
        events.len() - come.len()
    }

    /// Asks again for what was announced and left out of an answer.
    pub(super) fn want_again(&mut self) -> Vec<Output> {
        let addresses: Vec<_> = self.wanted.iter().copied().take(ANNOUNCED_AT_ONCE * 4).collect();
        // The answers to some of these may be under way already.
        self.forgotten += addresses.len();
        // They are awaited as before: no longer for being asked for twice.
        if addresses.is_empty() {
            return Vec::new();
        }
        vec![send_live(Message::NeedEvents(NeedEvents::At(addresses)))]
    }

    fn want(&mut self, addresses: Vec<Address>, now: Moment) -> Vec<Output> {
        if addresses.is_empty() {
            return Vec::new();
        }
        self.wanted.extend(&addresses);
        self.awaited.push_back((now.steady + AWAIT, addresses.clone()));
        vec![send_live(Message::NeedEvents(NeedEvents::At(addresses)))]
    }

    /// Wishes for what does not exist are forgiven a few times: nothing is ever removed here, so they are mistakes.
    pub(super) fn note_mistake(&mut self, unknown: usize) -> Result<(), Halt> {
        if unknown > 0 {
            self.mistaken += 1;
        }
        if self.mistaken > MISTAKEN_WISHES {
            return Err(Fault::NoSuchEvents(self.mistaken).into());
        }
        Ok(())
    }

    /// When events that were asked for are overdue, if they have not come.
    pub(super) fn first_overdue(&self) -> Option<Duration> {
        self.awaited.front().map(|(until, _)| *until)
    }

    /// Gives up what is overdue: others may be asked for it, and comparing finds it at the latest. Says whether there
    /// was any.
    pub(super) fn forget_overdue(&mut self, now: Duration) -> bool {
        let before = self.forgotten;
        while self.first_overdue().is_some_and(|until| until <= now) {
            let addresses = self.awaited.pop_front().map(|(_, addresses)| addresses).unwrap_or_default();
            let overdue: Vec<_> =
                addresses.into_iter().filter(|address| self.wanted.remove(address)).collect();
            self.desk.release(&overdue);
            self.forgotten += overdue.len();
        }
        self.forgotten > before
    }

    /// Hands events over to be stored.
    pub(super) fn keep(&mut self, events: Vec<Event>, origin: Origin) -> Vec<Output> {
        if events.is_empty() {
            return Vec::new();
        }
        // What is pushed meanwhile does not hold a repair up.
        self.storing += u32::from(matches!(origin, Origin::Repaired(_)));
        vec![Output::Store(events, origin)]
    }

    /// Notes what travels right now.
    pub(super) fn note_flight(&mut self, addresses: impl IntoIterator<Item = Address>, now: Moment) {
        self.flight.note(addresses, now.steady + self.grace());
    }
}

pub(super) fn send_live(message: Message) -> Output {
    Output::Send(Lane::Live, message)
}

/// The answer to a wish, in frames.
pub(super) fn wanted_events(events: Vec<Event>, more: bool, lane: Lane) -> Vec<Output> {
    let mut outputs: Vec<_> = batches(events)
        .map(|events| Events { reply: Reply::Wanted { more: false }, events })
        .map(|events| Output::Send(lane, Message::Events(events)))
        .collect();
    if let (true, Some(Output::Send(_, Message::Events(last)))) = (more, outputs.last_mut()) {
        last.reply = Reply::Wanted { more };
    }
    outputs
}

/// Events in batches that fit a frame each.
pub(super) fn batches(events: Vec<Event>) -> impl Iterator<Item = Vec<Event>> {
    /// Beside key and value: their lengths, the timestamp, the tag, an expiry.
    const FIELDS: usize = 32;
    let mut events = events.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![events.next()?];
        let mut bytes = batch[0].weight() + FIELDS;
        while batch.len() < MESSAGE_EVENTS
            && let Some(event) = events.next_if(|event| bytes + event.weight() + FIELDS <= BATCH_FRAME)
        {
            bytes += event.weight() + FIELDS;
            batch.push(event);
        }
        Some(batch)
    })
}
