//! Repair, message by message: nodes are compared with nodes, lists with lists, and what is missing moves.

use super::compare::{Step, compare_children};
use super::live::{batches, wanted_events};
use super::window::{Addresses, Scope, Window};
use super::{Agent, Fault, Halt, Holdings, Moment, Origin, Output};
use crate::bounds::{MESSAGE_CHILDREN, MESSAGE_IDS, MESSAGE_PARENTS, MESSAGE_SPANS, SCANNED_ADDRESSES};
use crate::message::{
    EventList, Events, Ids, Listed, Message, NeedEvents, Nodes, Parent, Reply, Share, shorten,
};
use crate::transport::Lane;
use crate::tree::{NodeAddress, Shape};
use crate::{Event, EventId, ReadError, TimeSpan};

/// Whole ids in one message: as many as fit a frame.
pub(super) const FULL_IDS: usize = MESSAGE_IDS / 8;

/// Messages of ids that one difference is answered with. A fuller leaf takes several rounds.
const LISTS_AT_ONCE: u32 = 8;

impl Step {
    /// The time that it is about.
    pub(super) fn span(self, shape: Shape) -> TimeSpan {
        match self {
            Self::Drill(node) => shape.time_of(node),
            Self::List(span) | Self::Ask(span) | Self::Give(span) => span,
        }
    }
}

impl Agent {
    /// Does what was decided, as far as the budgets of one answer go. What is left out is found by the next comparison.
    pub(super) async fn take(
        &mut self,
        steps: Vec<Step>,
        span: TimeSpan,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let (mut drill, mut lists, mut give) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Drill(node) => drill.push(node),
                Step::List(time) => lists.push((time, true)),
                Step::Ask(time) => lists.push((time, false)),
                Step::Give(time) => give.push(Scope::all_of(time)),
            }
        }
        let mut outputs = self.name_children(drill, span, holdings).await?;
        outputs.extend(self.list(lists, holdings).await?);
        self.exchange.said(now.steady, !outputs.is_empty());
        let window = Window::gather(&give, holdings).await?;
        outputs.extend(self.send_window(window, now));
        Ok(outputs)
    }

    async fn name_children(
        &mut self,
        mut nodes: Vec<NodeAddress>,
        span: TimeSpan,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let branching = usize::try_from(self.shape.branching()).unwrap_or(usize::MAX);
        nodes.truncate(MESSAGE_PARENTS.min(MESSAGE_CHILDREN / branching));
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let children = holdings.children(span, &nodes).await?;
        self.exchange.open(nodes.iter().copied());
        let parents = nodes.into_iter().zip(children).map(|(node, children)| Parent { node, children });
        Ok(vec![repair(Message::Nodes(Nodes { span, parents: parents.collect() }))])
    }

    /// Lists what this side holds in each span; nothing where it is known to hold nothing.
    async fn list(
        &mut self,
        spans: Vec<(TimeSpan, bool)>,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let full = self.exchange.fruitless > 0;
        let at_once = if full { FULL_IDS } else { MESSAGE_IDS };
        let mut outputs = Vec::new();
        let mut lists: Vec<Listed> = Vec::new();
        let mut room = at_once;
        for (span, holds) in spans {
            if outputs.len() >= LISTS_AT_ONCE as usize {
                break;
            }
            let most = if holds { at_once + 1 } else { 0 };
            let addresses = holdings.addresses(span, None, most).await?;
            if addresses.len() > at_once {
                outputs.extend(self.list_in_shares(span, holdings).await?);
                continue;
            }
            if addresses.len() > room || lists.len() == MESSAGE_SPANS {
                outputs.push(held(std::mem::take(&mut lists)));
                room = at_once;
            }
            room -= addresses.len();
            let ids = addresses.into_iter().map(|address| address.id).collect();
            lists.push(Listed { span, share: Share::WHOLE, ids: self.ids(ids, full) });
        }
        if !lists.is_empty() {
            outputs.push(held(lists));
        }
        Ok(outputs)
    }

    /// Lists a span of more events than one message takes, a share of its ids in each message. What is left goes on
    /// with the next share when it is listed again. The ids are short: under a new salt each time, which is all that
    /// whole ones would be good for.
    async fn list_in_shares(
        &mut self,
        span: TimeSpan,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let (span, count) = countable(span, holdings).await?;
        // Shares are even but for chance: a tenth of each message is left free.
        let of = u32::try_from(count * 10 / (MESSAGE_IDS * 9) + 1).unwrap_or(u32::MAX);
        let turns = of.min(LISTS_AT_ONCE);
        let part = |turn: u32| (self.share_listed % of + turn) % of;
        let mut shares: Vec<(Share, Vec<EventId>)> =
            (0..turns).map(|turn| (Share { part: part(turn), of }, Vec::new())).collect();
        self.share_listed = self.share_listed.wrapping_add(turns);
        let mut pages = Addresses::of(span);
        while let Some(page) = pages.next(holdings).await? {
            for address in page {
                let part = Share::part_of(address.id, of);
                let share = shares.iter_mut().find(|(share, _)| u64::from(share.part) == part);
                share.into_iter().for_each(|(_, ids)| ids.push(address.id));
            }
        }
        let fits = shares.into_iter().filter(|(_, ids)| ids.len() <= MESSAGE_IDS);
        Ok(fits.map(|(share, ids)| held(vec![Listed { span, share, ids: self.ids(ids, false) }])).collect())
    }

    fn ids(&mut self, ids: Vec<EventId>, full: bool) -> Ids {
        if full {
            return Ids::Full(ids);
        }
        let salt = self.draw();
        Ids::Short { salt, ids: ids.into_iter().map(|id| shorten(salt, id)).collect() }
    }

    /// Lists, and wishes by them, are about what snapshots were about.
    fn check_spans(&self, lists: &[Listed]) -> Result<(), Fault> {
        let strange = lists.iter().find(|list| !self.exchange.knows_within(list.span));
        strange.map_or(Ok(()), |list| Err(Fault::StrangeSpan(list.span)))
    }

    pub(super) async fn on_nodes(
        &mut self,
        nodes: Nodes,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let Nodes { span, parents } = nodes;
        if !self.exchange.knows(span) {
            return Err(Fault::StrangeSpan(span).into());
        }
        if !parents.iter().all(|parent| self.exchange.may_open(self.shape, span, parent.node)) {
            return Err(Fault::StrangeNodes.into());
        }
        self.join_repair(now);
        let places: Vec<_> = parents.iter().map(|parent| parent.node).collect();
        let mine = holdings.children(span, &places).await?;
        // The neighbour's children of these nodes may follow in turn.
        self.exchange.open(places);
        let steps = compare_children(self.shape, span, &mine, &parents);
        let outputs = self.take(steps, span, now, holdings).await?;
        Ok(or_nothing(outputs, span))
    }

    /// The neighbour says what it holds: it gets what it lacks, and is asked for what is missing here.
    pub(super) async fn on_lists(
        &mut self,
        lists: Vec<Listed>,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        self.check_spans(&lists)?;
        self.exchange.heard(now.steady);
        let scopes: Vec<_> = lists.iter().map(Scope::of).collect();
        let window = Window::gather(&scopes, holdings).await?;
        let mut wishes = Vec::new();
        for (list, unseen) in lists.iter().zip(&window.unseen) {
            if !unseen.is_empty() {
                wishes.push(Listed { ids: list.ids.select(unseen.iter().copied()), ..list.clone() });
            }
        }
        let mut outputs = Vec::new();
        if !wishes.is_empty() {
            self.forgotten += self.wished.add(&wishes);
            self.exchange.said(now.steady, true);
            outputs.push(repair(Message::NeedEvents(NeedEvents::Of(wishes))));
        }
        outputs.extend(self.send_window(window, now));
        Ok(or_nothing(outputs, lists.first().map_or(TimeSpan::ALL, |list| list.span)))
    }

    /// Answers a question for which there is no room with nothing: whoever asked need not wait, and compares again.
    pub fn decline(&self) -> Output {
        nothing(TimeSpan::ALL)
    }

    /// The neighbour wants events by the ids that this side listed.
    pub(super) async fn on_wished(
        &mut self,
        lists: &[Listed],
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        self.check_spans(lists)?;
        self.exchange.heard(now.steady);
        let scopes: Vec<_> = lists.iter().map(Scope::only).collect();
        let window = Window::gather(&scopes, holdings).await?;
        let more = window.rest.is_some();
        if !more {
            self.note_mistake(window.unseen.iter().map(Vec::len).sum())?;
        }
        self.count_sent(window.events.len());
        let outputs = wanted_events(window.events, more, Lane::Repair);
        Ok(or_nothing(outputs, lists.first().map_or(TimeSpan::ALL, |list| list.span)))
    }

    /// Events that were asked for, after an announcement or after a list.
    pub(super) fn on_wanted_events(
        &mut self,
        events: Vec<Event>,
        more: bool,
        now: Moment,
    ) -> Result<Vec<Output>, Halt> {
        let (announced, listed): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| self.wanted.names(&event.address()));
        let unasked = self.wished.take(&listed);
        if unasked > self.forgotten {
            return Err(Fault::Unasked(unasked).into());
        }
        self.forgotten -= unasked;
        self.desk.release(&self.wanted.take(&announced));
        let mut outputs = Vec::new();
        // Whoever promises more and sends nothing is not asked again.
        if more && !listed.is_empty() {
            outputs.extend(self.wish_again());
        } else if more && !announced.is_empty() {
            outputs.extend(self.want_again());
        }
        outputs.extend(self.keep(announced, Origin::Pushed(self.neighbour)));
        if !listed.is_empty() {
            self.join_repair(now);
            self.exchange.said(now.steady, more);
            outputs.extend(self.keep(listed, Origin::Repaired(self.neighbour)));
        }
        Ok(outputs)
    }

    /// Asks again for what was left out of an answer. The answers to some of it may be under way already.
    fn wish_again(&mut self) -> Option<Output> {
        let wishes = self.wished.first();
        self.forgotten += wishes.iter().map(|list| list.ids.len()).sum::<usize>();
        (!wishes.is_empty()).then(|| repair(Message::NeedEvents(NeedEvents::Of(wishes))))
    }

    /// What has not come will be found by the next comparison.
    pub(super) fn forget_wishes(&mut self) {
        self.forgotten += self.wished.clear();
        // An allowance for latecomers, not for a life of them.
        self.forgotten = self.forgotten.min(MESSAGE_IDS * LISTS_AT_ONCE as usize);
    }

    /// Events of a span that this side lacked.
    pub(super) async fn on_block(
        &mut self,
        span: TimeSpan,
        rest: Option<TimeSpan>,
        events: Vec<Event>,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let strangers = events.iter().filter(|event| !span.contains(event.timestamp())).count();
        if strangers > 0 || !self.exchange.has_compared() {
            return Err(Fault::Unasked(strangers.max(events.len())).into());
        }
        let in_turn = self.join_repair(now);
        let mut outputs = Vec::new();
        match rest {
            // Another neighbour is bringing the same.
            Some(_) if !in_turn => self.compare_in_turn(now),
            Some(rest) => {
                // Where this side holds nothing the next window can come while this one is being stored.
                let overlaps = events.iter().any(|event| rest.contains(event.timestamp()));
                if !overlaps && holdings.addresses(rest, None, 1).await?.is_empty() {
                    outputs.extend(self.ask_on(rest, now, holdings).await?);
                } else {
                    self.rest = Some(self.rest.map_or(rest, |other| other.hull(rest)));
                }
            }
            None => {}
        }
        outputs.extend(self.keep(events, Origin::Repaired(self.neighbour)));
        if let (0, Some(rest)) = (self.storing, self.rest) {
            self.rest = None;
            outputs.extend(self.ask_on(rest, now, holdings).await?);
        }
        Ok(outputs)
    }

    /// Asks for the rest of a span, saying what this side holds there. Where that is much, the next comparison is
    /// the shorter way.
    pub(super) async fn ask_on(
        &mut self,
        rest: TimeSpan,
        now: Moment,
        holdings: &impl Holdings,
    ) -> Result<Vec<Output>, Halt> {
        let addresses = holdings.addresses(rest, None, MESSAGE_IDS + 1).await?;
        if addresses.len() > MESSAGE_IDS {
            return Ok(Vec::new());
        }
        self.exchange.said(now.steady, true);
        let ids = addresses.into_iter().map(|address| address.id).collect();
        let list = Listed { span: rest, share: Share::WHOLE, ids: self.ids(ids, false) };
        Ok(vec![held(vec![list])])
    }

    fn send_window(&mut self, window: Window, now: Moment) -> Vec<Output> {
        let Some(span) = window.span else { return Vec::new() };
        self.count_sent(window.events.len());
        self.exchange.said(now.steady, false);
        let mut outputs: Vec<_> = batches(window.events)
            .map(|events| {
                repair(Message::Events(Events { reply: Reply::Block { span, rest: None }, events }))
            })
            .collect();
        if let Some(Output::Send(_, Message::Events(last))) = outputs.last_mut() {
            last.reply = Reply::Block { span, rest: window.rest };
        }
        outputs
    }

    fn count_sent(&mut self, events: usize) {
        self.exchange.gave(events);
        self.agreement.sent += events as u64;
        self.agreement.behind = self.agreement.behind.saturating_sub(events as u64);
    }

    /// The neighbour repairs with this side, which is busy receiving from it from now on. Says whether it is busy with
    /// this one alone.
    fn join_repair(&mut self, now: Moment) -> bool {
        self.exchange.heard(now.steady);
        self.desk.may_repair(self.neighbour, now.steady)
    }
}

/// How many events there are in `span`; if they are more than can be looked at, in its latest part, and that part.
async fn countable(span: TimeSpan, holdings: &impl Holdings) -> Result<(TimeSpan, usize), ReadError> {
    let mut pages = Addresses::of(span);
    let mut count = 0;
    while let Some(page) = pages.next(holdings).await? {
        count += page.len();
        let last = page.last().map(|last| last.timestamp).filter(|last| *last > span.first());
        if let (true, Some(last)) = (count >= SCANNED_ADDRESSES, last) {
            return Ok((TimeSpan::new(last, span.last()).unwrap_or(span), count));
        }
    }
    Ok((span, count))
}

/// What is said, or in so many words that there is nothing to say: every question is answered.
fn or_nothing(mut outputs: Vec<Output>, span: TimeSpan) -> Vec<Output> {
    if outputs.is_empty() {
        outputs.push(nothing(span));
    }
    outputs
}

fn nothing(span: TimeSpan) -> Output {
    repair(Message::Events(Events { reply: Reply::Block { span, rest: None }, events: Vec::new() }))
}

fn repair(message: Message) -> Output {
    Output::Send(Lane::Repair, message)
}

fn held(lists: Vec<Listed>) -> Output {
    repair(Message::EventList(EventList::Held(lists)))
}
