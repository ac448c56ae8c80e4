//! What happens now: own writes are pushed, large ones and what came from others announced, and a neighbour that
//! lacks it asks.

use std::time::Duration;

use super::mending::FORGIVEN_EACH;
use super::pace::Rate;
use super::window::{Readable, readable};
use super::{Agent, Fault, Halt, Holdings, Moment, NeedEvents, NewEvent as Fresh, Origin, Output};
use crate::bounds::{
    ANNOUNCED_AT_ONCE, BATCH_FRAME, MESSAGE_ADDRESSES, MESSAGE_EVENTS, MISTAKEN_WISHES, WINDOW_BYTES,
};
use crate::message::{EventList, Events, Message, Push, Reply};
use crate::planted::{Bug, planted};
use crate::transport::Lane;
use crate::{Address, Event};

/// How long announcements wait for company.
const GATHER: Duration = Duration::from_millis(3);

/// How long a burst of news from a repair has to be over before snapshots are compared because of it.
const SETTLE: Duration = Duration::from_millis(200);

impl Agent {
    /// Events that are new on this node and durable, in the order of arrival.
    pub(super) fn written(&mut self, fresh: &[Fresh], now: Moment) -> Vec<Output> {
        if !self.is_settled() {
            // The first comparison will find them.
            return Vec::new();
        }
        let mut own = Vec::new();
        let mut crowded = false;
        for Fresh { event, origin } in fresh {
            let large = event.weight() > self.terms.pushed;
            if large {
                self.desk.offer(event);
            }
            match *origin {
                Origin::Local if large => self.announcements.push(event.address()),
                Origin::Local => own.push(event.clone()),
                Origin::Pushed(from) | Origin::Repaired(from)
                    if from == self.neighbour && !planted(Bug::EchoedAnnouncement) =>
                {
                    continue;
                }
                Origin::Repaired(_) if self.announcements.len() >= ANNOUNCED_AT_ONCE => {
                    crowded = true;
                    continue;
                }
                Origin::Pushed(_) | Origin::Repaired(_) => self.announcements.push(event.address()),
            }
            // Announcements are under way already, although they wait for company.
            self.note_flight([event.address()], now);
        }
        let mut outputs = Vec::new();
        if !own.is_empty() {
            outputs
                .extend(batches(own).map(|events| Output::Send(Lane::Live, Message::Push(Push { events }))));
        }
        if crowded {
            // A repair brought so much that telling one by one costs more than comparing when it is over.
            self.schedule.compare(now.steady + SETTLE);
            self.agreement.miss();
        }
        if self.announcements.len() >= ANNOUNCED_AT_ONCE {
            outputs.extend(self.announce());
        } else if !self.announcements.is_empty() && self.announce_at.is_none() {
            self.announce_at = Some(now.steady + GATHER);
        }
        outputs
    }

    /// Sends the announcements that wait.
    pub(super) fn announce(&mut self) -> Vec<Output> {
        self.announce_at = None;
        let addresses = std::mem::take(&mut self.announcements);
        let lists = addresses.chunks(ANNOUNCED_AT_ONCE * 4);
        lists.map(|list| send_live(Message::EventList(EventList::Announced(list.to_vec())))).collect()
    }

    pub(super) fn on_push(&mut self, push: Push, now: Moment) -> Vec<Output> {
        self.note_flight(push.events.iter().map(Event::address), now);
        // While it is being stored others need not be asked for it.
        self.desk.claim(self.neighbour, push.events.iter().map(Event::address), now.steady);
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
        Ok(self.want(missing, now))
    }

    /// Asks for announced events, but for those that another neighbour is being asked for. What there is no room for is
    /// left to the next comparison.
    fn want(&mut self, mut missing: Vec<Address>, now: Moment) -> Vec<Output> {
        if missing.len() > self.wanted.room() {
            missing.truncate(self.wanted.room());
            self.compare_soon(now.steady);
        }
        let (free, taken) = self.desk.claim(self.neighbour, missing, now.steady);
        self.wanted.leave(taken, now.steady);
        if !free.is_empty() {
            self.wanted.ask(&free, now.steady);
        }
        let questions = free.chunks(MESSAGE_ADDRESSES);
        questions.map(|some| send_live(Message::NeedEvents(NeedEvents::At(some.to_vec())))).collect()
    }

    /// Asks this neighbour for what it has announced, too, and the one that was asked has not brought.
    pub(super) async fn want_instead(
        &mut self,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let left = self.wanted.left_until(now.steady);
        let missing = holdings.missing(&left).await?;
        Ok(self.want(missing, now))
    }

    /// Asks again for what was announced and left out of an answer. It is awaited as before: no longer for being asked
    /// for twice. The answers to some of it may be under way already.
    pub(super) fn want_again(&mut self) -> Option<Output> {
        let addresses = self.wanted.first(ANNOUNCED_AT_ONCE * 4);
        self.forgotten += addresses.len();
        (!addresses.is_empty()).then(|| send_live(Message::NeedEvents(NeedEvents::At(addresses))))
    }

    /// Gives up what is overdue: others may be asked for it, and comparing finds it at the latest.
    pub(super) fn forget_overdue(&mut self, now: Duration) {
        let overdue = self.wanted.overdue(now);
        if !overdue.is_empty() {
            self.forgotten += overdue.len();
            self.compare_soon(now);
        }
    }

    /// The neighbour wants the events at these addresses.
    pub(super) async fn on_wanted(
        &mut self,
        addresses: &[Address],
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut more = false;
        let mut unknown = 0;
        for address in addresses {
            if bytes >= WINDOW_BYTES {
                more = true;
                break;
            }
            let event = match self.desk.offered(*address) {
                Some(event) => Readable::Event(event),
                None => readable(holdings.event(*address).await)?,
            };
            match event {
                // The next comparison finds what there is no room for.
                Readable::Event(event) if event.weight() > self.terms.pushed && !self.room_for_large => {}
                Readable::Event(event) => {
                    bytes += event.weight();
                    if event.weight() > self.terms.pushed { large.push(event) } else { small.push(event) }
                }
                Readable::Unknown => unknown += 1,
                Readable::Damaged => {}
            }
        }
        self.note_mistake(unknown, now)?;
        self.note_flight(addresses.iter().copied(), now);
        Ok(in_two_lanes(small, large, more))
    }

    /// Events that were asked for after an announcement, or because they are damaged here. Others may be told that they
    /// are here only when they are stored: the desk goes on keeping them from asking until then.
    pub(super) fn on_wanted_events(
        &mut self,
        events: Vec<Event>,
        more: bool,
        now: Moment,
    ) -> Result<Vec<Output>, Halt> {
        if more && events.is_empty() {
            self.wanted.promise(now.steady);
            self.desk.prolong(self.neighbour, self.wanted.asked(), now.steady);
        }
        let asked = self.wanted.take(&events, self.terms.pushed).len();
        let damaged = events.iter().filter(|event| self.mending.take(event, now.steady)).count();
        self.expect_asked(events.len() - asked - damaged)?;
        let mut outputs = Vec::new();
        // Whoever promises more and sends nothing is not asked again.
        if more && !events.is_empty() {
            outputs.extend(self.want_again());
            outputs.extend(self.mend_again());
        }
        outputs.extend(self.keep(events, Origin::Pushed(self.neighbour)));
        Ok(outputs)
    }

    /// Events that were not asked for, or not lately, are allowed as many as were given up and may come after all.
    pub(super) fn expect_asked(&mut self, unasked: usize) -> Result<(), Halt> {
        if unasked > self.forgotten {
            return Err(Fault::Unasked(unasked).into());
        }
        self.forgotten -= unasked;
        Ok(())
    }

    /// Wishes for what does not exist are forgiven now and then: nothing is ever removed here, so they are mistakes.
    pub(super) fn note_mistake(&mut self, unknown: usize, now: Moment) -> Result<(), Halt> {
        if unknown == 0 {
            return Ok(());
        }
        self.mistaken += 1;
        let forgiven = Rate::apart(u64::from(MISTAKEN_WISHES), FORGIVEN_EACH);
        if self.mistakes.allows(now.steady, forgiven) {
            return Ok(());
        }
        Err(Fault::NoSuchEvents(self.mistaken).into())
    }

    /// Hands events over to be stored.
    pub(super) fn keep(&mut self, events: Vec<Event>, origin: Origin) -> Vec<Output> {
        if events.is_empty() {
            return Vec::new();
        }
        if matches!(origin, Origin::Repaired(_)) {
            // What is pushed meanwhile does not hold a repair up.
            self.intake.store(&events);
            self.agreement.carried(&events);
        } else {
            self.wanted.store();
        }
        vec![Output::Store(events, origin)]
    }

    /// Notes what travels right now.
    pub(super) fn note_flight(&mut self, addresses: impl IntoIterator<Item = Address>, now: Moment) {
        let until = now.steady + self.grace();
        self.flight.note(addresses, self.shape, now.steady, until);
    }
}

/// The answer to who wants announced events. The large ones go over the other lane, so that news pass them; that they come
/// is said first, for they may take their time. Whether there is more is said by what comes last.
fn in_two_lanes(small: Vec<Event>, large: Vec<Event>, more: bool) -> Vec<Output> {
    let reply = |more| Reply::At { more };
    let promise = || send_live(Message::Events(Events { reply: reply(true), events: Vec::new() }));
    let mut outputs = send_in_frames(Lane::Live, reply(false), reply(more && large.is_empty()), small);
    outputs.extend(large.iter().map(|_| promise()));
    outputs.extend(send_in_frames(Lane::Repair, reply(false), reply(more), large));
    outputs
}

pub(super) fn send_live(message: Message) -> Output {
    Output::Send(Lane::Live, message)
}

/// Events in frames: all but the last with one reply, the last with another.
pub(super) fn send_in_frames(lane: Lane, reply: Reply, last: Reply, events: Vec<Event>) -> Vec<Output> {
    let send = |events| Output::Send(lane, Message::Events(Events { reply, events }));
    let mut outputs: Vec<_> = batches(events).map(send).collect();
    if let Some(Output::Send(_, Message::Events(events))) = outputs.last_mut() {
        events.reply = last;
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
