//! The broadcast: new events reach the neighbour, and announced ones are fetched from it.
//!
//! Own writes are pushed. Large ones, and events of other nodes, are announced in batches; a neighbour that lacks an
//! announced event asks for it, and is pushed the next small ones of the same source at once: the trees of
//! [`sources`](super::sources). So an event crosses each link about once, also in a full mesh. The same requests fetch
//! a sound copy of an event that is damaged here. Losses are left to the reconciliation: [`Missed`].

mod announcements;
mod fetches;
mod in_transit;
mod mending;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use announcements::{Announcements, LISTED_AT_ONCE};
use fetches::Fetches;
pub(super) use in_transit::InTransit;
use in_transit::Travelling;
use mending::Mending;

use super::common::{ClockReading, Common, Missed};
use super::coordinator::ASKED_FOR;
use super::outgoing::{Readable, batches, readable, send_in_frames, send_live};
use super::tolerance::{Latecomers, Mistakes};
use super::{HandleError, NewEvent, Now, Origin, Output, ReplicaView};
use crate::bounds::{MESSAGE_EVENT_KEYS, MESSAGE_IDS, WINDOW_BYTES};
use crate::fault_injection::{Bug, injected};
use crate::message::{Events, Message, NeedEvents, Push, Reply, Source};
use crate::transport::Lane;
use crate::{Event, EventKey, Timestamp};

/// An input of the broadcast.
#[derive(Debug)]
pub(super) enum Input {
    /// Events are new on this node and durable, in the order of arrival.
    News(Vec<NewEvent>),
    /// The neighbour pushes events.
    Push(Push),
    /// The neighbour announces events.
    Announced { source: Source, event_keys: Vec<EventKey> },
    /// The neighbour requests events. Whether the repair lane has room for large ones.
    Requested { event_keys: Vec<EventKey>, room_for_large: bool },
    /// Requested events have arrived. `more`: the answer goes on.
    Delivered { events: Vec<Event>, more: bool },
    /// Pushed or requested events are stored.
    Stored,
    /// The complete current list of this node's damaged events.
    Damaged(Vec<EventKey>),
    /// The time of [`Broadcast::wake_at`] is reached.
    Woken,
}

/// The effects of an input.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) outputs: Vec<Output>,
    pub(super) missed: Option<Missed>,
}

impl From<Vec<Output>> for Effects {
    fn from(outputs: Vec<Output>) -> Self {
        Self { outputs, missed: None }
    }
}

/// How the neighbour learns of a new event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// At once, as a whole.
    Push,
    /// By its event key: the neighbour asks for it if it lacks it.
    Announce,
    /// By the next comparison.
    Compare,
}

/// The state of the broadcast with one neighbour.
#[derive(Debug)]
pub(super) struct Broadcast {
    common: Arc<Common>,
    clock: ClockReading,
    /// Both sides hold the same events before this time.
    agreed_until: Option<Timestamp>,
    announcements: Announcements,
    /// Requests for announced events.
    fetches: Fetches,
    /// Requests for events that are damaged here.
    mending: Mending,
    latecomers: Latecomers,
    mistakes: Mistakes,
    travelling: Travelling,
}

impl Broadcast {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self {
            common,
            clock: ClockReading::UNKNOWN,
            agreed_until: None,
            announcements: Announcements::default(),
            fetches: Fetches::default(),
            mending: Mending::default(),
            latecomers: Latecomers::default(),
            mistakes: Mistakes::default(),
            travelling: Travelling::default(),
        }
    }

    /// Handles an input, after the handshake.
    ///
    /// # Errors
    /// [`HandleError`].
    pub(super) async fn handle(
        &mut self,
        input: Input,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Effects, HandleError> {
        match input {
            Input::News(news) => Ok(self.on_news(&news, now)),
            Input::Push(push) => Ok(self.on_push(push, now).into()),
            Input::Announced { source, event_keys } => self.on_announced(source, event_keys, now, view).await,
            Input::Requested { event_keys, room_for_large } => {
                Ok(self.on_request(&event_keys, room_for_large, now, view).await?.into())
            }
            Input::Delivered { events, more } => Ok(self.on_delivery(events, more, now)?.into()),
            Input::Stored => {
                self.fetches.stored();
                Ok(Effects::default())
            }
            Input::Damaged(event_keys) => {
                self.mending.plan(&event_keys, self.agreed_until, now.steady);
                Ok(Effects::default())
            }
            Input::Woken => self.wake(now, view).await,
        }
    }

    /// The neighbour's clock was measured again.
    pub(super) fn measured(&mut self, clock: ClockReading) {
        self.clock = clock;
    }

    /// Both sides hold the same events before `until`, as far as the reconciliation knows.
    pub(super) fn agreed(&mut self, until: Option<Timestamp>) {
        self.agreed_until = until;
    }

    /// When [`Input::Woken`] is due, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let mend_at = self.mending.wake_at(self.agreed_until);
        [self.announcements.due_at(), self.fetches.wake_at(), mend_at].into_iter().flatten().min()
    }

    /// Bytes of a long answer arrive, but no whole frame yet. A repeated request would bring the same events twice.
    pub(super) fn arriving(&mut self, now: Duration) {
        if self.fetches.arriving(now) {
            self.common.coordinator.prolong(self.common.neighbour, self.fetches.asked(), now);
        }
    }

    /// Sends the waiting announcements: a snapshot follows the new events that it covers.
    pub(super) fn announce(&mut self) -> Vec<Output> {
        self.announcements.send()
    }

    /// Drops the waiting announcements.
    pub(super) fn drop_announcements(&mut self) {
        self.announcements = Announcements::default();
    }

    /// Events on their way, which a comparison must not take for a difference.
    pub(super) fn in_transit(&self) -> InTransit<'_> {
        InTransit::new(&self.fetches, &self.travelling, self.common.shape)
    }

    /// The connection is over. Returns the events whose requests were not answered.
    pub(super) fn end(&mut self) -> BTreeSet<EventKey> {
        self.give_up_mending(Duration::ZERO);
        self.fetches.give_up()
    }

    /// The number of open announcements and requests.
    #[cfg(feature = "testkit")]
    pub(super) fn open_ends(&self) -> usize {
        self.announcements.len() + self.fetches.len()
    }

    async fn wake(&mut self, now: Now, view: &impl ReplicaView) -> Result<Effects, HandleError> {
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now.steady);
        let mut effects = Effects::default();
        if due(self.announcements.due_at()) {
            effects.outputs.extend(self.announce());
        }
        self.fetches.looked(now.steady);
        if due(self.fetches.overdue_at()) {
            effects.missed = self.forget_overdue(now.steady);
        }
        if due(self.fetches.left_at()) {
            let Effects { outputs, missed } = self.fetch_instead(now, view).await?;
            effects.outputs.extend(outputs);
            effects.missed = effects.missed.or(missed);
        }
        if due(self.mending.wake_at(self.agreed_until)) {
            effects.outputs.extend(self.mend(now.steady));
        }
        Ok(effects)
    }

    fn on_news(&mut self, news: &[NewEvent], now: Now) -> Effects {
        let common = Arc::clone(&self.common);
        let mut pushes: BTreeMap<Source, Vec<Event>> = BTreeMap::new();
        let mut missed = None;
        for NewEvent { event, origin } in news {
            let large = event.weight() > common.config.pushed;
            if large {
                common.coordinator.offer(event);
            }
            let Some((source, telling)) = self.telling(event.event_key(), *origin, large) else { continue };
            match telling {
                Telling::Push => pushes.entry(source).or_default().push(event.clone()),
                Telling::Announce => self.announcements.add(source, event.event_key(), now.steady),
                Telling::Compare => {
                    missed = Some(Missed::Burst);
                    continue;
                }
            }
            // Announcements count as under way, although they wait for more of them.
            self.note_travelling([event.event_key()], now);
        }
        let push = |(source, events)| {
            batches(events).map(move |events| send_live(Message::Push(Push { source, events })))
        };
        let mut outputs: Vec<_> = pushes.into_iter().flat_map(push).collect();
        if self.announcements.are_many() {
            outputs.extend(self.announce());
        }
        Effects { outputs, missed }
    }

    /// How the neighbour learns of a new event, and the source that it is told; `None` if it has sent the event.
    fn telling(&self, event_key: EventKey, origin: Origin, large: bool) -> Option<(Source, Telling)> {
        let Common { config, coordinator, neighbour, .. } = &*self.common;
        let mut sources = coordinator.sources();
        let source = sources.of(event_key);
        let small = |telling| if large { Telling::Announce } else { telling };
        match origin {
            Origin::Local => Some((config.node.into(), small(Telling::Push))),
            Origin::Pushed(from) | Origin::Repaired(from)
                if from == *neighbour && !injected(Bug::EchoedAnnouncement) =>
            {
                if matches!(origin, Origin::Pushed(_)) {
                    sources.came(source, *neighbour, self.clock.round_trip);
                }
                None
            }
            Origin::Pushed(_) if sources.is_child(source, *neighbour) => {
                (!injected(Bug::PushOmitted)).then(|| (source, small(Telling::Push)))
            }
            Origin::Pushed(_) => Some((source, Telling::Announce)),
            Origin::Repaired(_) if self.announcements.are_many() => Some((source, Telling::Compare)),
            Origin::Repaired(_) => Some((Source::UNKNOWN, Telling::Announce)),
        }
    }

    fn on_push(&mut self, push: Push, now: Now) -> Vec<Output> {
        let Push { source, events } = push;
        let event_keys = || events.iter().map(Event::event_key);
        self.note_travelling(event_keys(), now);
        // While the events are being stored, no other neighbour need be asked for them.
        let Common { coordinator, neighbour, .. } = &*self.common;
        let (_, asked_elsewhere) = coordinator.claim(*neighbour, event_keys(), now.steady);
        let mut sources = coordinator.sources();
        sources.prune(source, *neighbour);
        if !asked_elsewhere.is_empty() {
            sources.was_late(source, *neighbour);
        }
        sources.note(event_keys(), source);
        drop(sources);
        self.store(events)
    }

    async fn on_announced(
        &mut self,
        source: Source,
        event_keys: Vec<EventKey>,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Effects, HandleError> {
        self.note_travelling(event_keys.iter().copied(), now);
        let known = injected(Bug::AsksForKnown);
        let missing = if known { event_keys } else { view.missing(&event_keys).await? };
        let patience = {
            let mut sources = self.common.coordinator.sources();
            sources.prune(source, self.common.neighbour);
            sources.note(missing.iter().copied(), source);
            sources.patience(source, self.common.neighbour)
        };
        let Some(patience) = patience else { return Ok(self.fetch(missing, now.steady)) };
        let overflows = self.fetches.leave(missing, now.steady + patience);
        Ok(Effects { outputs: Vec::new(), missed: overflows.then_some(Missed::Announced) })
    }

    /// Requests announced events, but not those already requested from another neighbour. The next comparison finds
    /// the events beyond the limit.
    fn fetch(&mut self, mut missing: Vec<EventKey>, now: Duration) -> Effects {
        let room = self.fetches.room();
        let mut overflows = missing.len() > room;
        missing.truncate(room);
        let (free, taken) = self.common.coordinator.claim(self.common.neighbour, missing, now);
        overflows |= self.fetches.leave(taken, now + ASKED_FOR);
        let missed = overflows.then_some(Missed::Announced);
        if !free.is_empty() {
            self.fetches.ask(&free, now);
        }
        Effects { outputs: free.chunks(MESSAGE_EVENT_KEYS).map(request).collect(), missed }
    }

    /// Requests events that this neighbour has announced, too, and another one has not delivered.
    async fn fetch_instead(&mut self, now: Now, view: &impl ReplicaView) -> Result<Effects, HandleError> {
        let left = self.fetches.left_until(now.steady);
        let missing = view.missing(&left).await?;
        Ok(self.fetch(missing, now.steady))
    }

    /// Gives up overdue events: others may be asked for them, and a comparison finds the rest.
    fn forget_overdue(&mut self, now: Duration) -> Option<Missed> {
        let overdue = self.fetches.overdue(now).len();
        self.latecomers.give_up(overdue, MESSAGE_IDS);
        (overdue > 0).then_some(Missed::Announced)
    }

    /// Answers a request for events.
    async fn on_request(
        &mut self,
        event_keys: &[EventKey],
        room_for_large: bool,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let Common { config, coordinator, .. } = &*self.common;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut more = false;
        let mut unknown = 0;
        for event_key in event_keys {
            if bytes >= WINDOW_BYTES {
                more = true;
                break;
            }
            let event = match coordinator.offered(*event_key) {
                Some(event) => Readable::Event(event),
                None => readable(view.event(*event_key).await)?,
            };
            match event {
                // No room: the next comparison finds it.
                Readable::Event(event) if event.weight() > config.pushed && !room_for_large => {}
                Readable::Event(event) => {
                    bytes += event.weight();
                    if event.weight() > config.pushed { large.push(event) } else { small.push(event) }
                }
                Readable::Unknown => unknown += 1,
                Readable::Damaged => {}
            }
        }
        self.mistakes.note(unknown, now.steady)?;
        coordinator.sources().graft(event_keys, self.common.neighbour);
        self.note_travelling(event_keys.iter().copied(), now);
        Ok(in_two_lanes(small, large, more))
    }

    /// Announced or damaged events that were requested. Others may hear of them only after the commit: until then the
    /// coordinator keeps its claims.
    fn on_delivery(&mut self, events: Vec<Event>, more: bool, now: Now) -> Result<Vec<Output>, HandleError> {
        if more && events.is_empty() {
            self.fetches.promise(now.steady);
            self.common.coordinator.prolong(self.common.neighbour, self.fetches.asked(), now.steady);
        }
        let asked = self.fetches.take(&events, self.common.config.pushed).len();
        let damaged = events.iter().filter(|event| self.mending.take(event, now.steady)).count();
        self.latecomers.take(events.len() - asked - damaged)?;
        let mut outputs = Vec::new();
        // A neighbour that promises more and sends nothing is not asked again.
        if more && !events.is_empty() {
            outputs.extend(self.request_again(&self.fetches.first(LISTED_AT_ONCE)));
            outputs.extend(self.request_again(&self.mending.asked()));
        }
        outputs.extend(self.store(events));
        Ok(outputs)
    }

    /// Repeats a request for the events that had no room in an answer. The deadlines stay. Answers to some of it may
    /// be under way already.
    fn request_again(&mut self, event_keys: &[EventKey]) -> Option<Output> {
        self.latecomers.give_up(event_keys.len(), MESSAGE_IDS);
        (!event_keys.is_empty()).then(|| request(event_keys))
    }

    fn store(&mut self, events: Vec<Event>) -> Vec<Output> {
        if events.is_empty() {
            return Vec::new();
        }
        self.fetches.store();
        vec![Output::Store(events, Origin::Pushed(self.common.neighbour))]
    }

    /// Requests due damaged events that no other neighbour is being asked for.
    fn mend(&mut self, now: Duration) -> Option<Output> {
        self.mending.agreed(self.agreed_until, now);
        if self.mending.is_answered(now) {
            self.give_up_mending(now);
        }
        let due = self.mending.due(now);
        if due.is_empty() {
            return None;
        }
        let (free, taken) = self.common.coordinator.claim(self.common.neighbour, due, now);
        self.mending.leave(&taken, now);
        self.mending.ask(&free, now);
        (!free.is_empty()).then(|| request(&free))
    }

    /// Lets other neighbours be asked for damaged events that this one has not delivered. They may still arrive.
    fn give_up_mending(&mut self, now: Duration) {
        let missing = self.mending.give_up(now);
        self.latecomers.give_up(missing.len(), MESSAGE_IDS);
        self.common.coordinator.give_up(&missing);
    }

    fn note_travelling(&mut self, event_keys: impl IntoIterator<Item = EventKey>, now: Now) {
        let until = now.steady + self.clock.grace(&self.common.config);
        self.travelling.note(event_keys, self.common.shape, now.steady, until);
    }
}

fn request(event_keys: &[EventKey]) -> Output {
    send_live(Message::NeedEvents(NeedEvents::At(event_keys.to_vec())))
}

/// Requested events. Large ones take the repair lane, so that new events pass them. Each is promised on the live lane
/// first, because it may take its time. The last frame says whether there is more.
fn in_two_lanes(small: Vec<Event>, large: Vec<Event>, more: bool) -> Vec<Output> {
    let reply = |more| Reply::At { more };
    let promise = || send_live(Message::Events(Events { reply: reply(true), events: Vec::new() }));
    let mut outputs = send_in_frames(Lane::Live, reply(false), reply(more && large.is_empty()), small);
    outputs.extend(large.iter().map(|_| promise()));
    outputs.extend(send_in_frames(Lane::Repair, reply(false), reply(more), large));
    outputs
}
