//! Repair, message by message: nodes are compared with nodes, lists with lists, and missing events are transferred.

use super::compare::{Step, compare_children};
use super::response::{EventKeys, ResponseBuilder, Scope};
use super::{Era, Reconciliation};
use crate::agent::broadcast::InTransit;
use crate::agent::outgoing::{send_in_frames, send_repair};
use crate::agent::{Fault, HandleError, Now, Origin, Output, ReplicaView};
use crate::bounds::{
    LISTS_AT_ONCE, MESSAGE_CHILDREN, MESSAGE_IDS, MESSAGE_PARENTS, MESSAGE_SPANS, SCANNED_EVENT_KEYS,
    SHARES_AT_ONCE, WHOLE_IDS,
};
use crate::fault_injection::{Bug, injected};
use crate::message::{
    EventList, Events, Ids, Listed, Message, NeedEvents, Nodes, Parent, Reply, Salted, Share, ShortId,
    shorten,
};
use crate::transport::Lane;
use crate::tree::{NodePosition, Shape};
use crate::{Event, EventId, EventKey, ReadError, TimeSpan};

impl Step {
    /// The span of the step.
    pub(super) fn span(self, shape: Shape) -> TimeSpan {
        match self {
            Self::Drill(node) => shape.time_of(node),
            Self::List(span) | Self::Ask(span) | Self::Give(span) => span,
        }
    }
}

impl Reconciliation {
    /// Carries out the steps, as far as the budget of one answer goes. The next comparison finds the rest.
    pub(super) async fn take(
        &mut self,
        steps: Vec<Step>,
        span: TimeSpan,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let (mut drill, mut lists, mut give) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                // It was requested after another snapshot, and is arriving: the next comparison finds the rest.
                Step::List(time) | Step::Ask(time) if self.backfill.awaits(time) => {}
                Step::Drill(node) => drill.push(node),
                Step::List(time) => lists.push((time, true)),
                Step::Ask(time) => lists.push((time, false)),
                Step::Give(time) => {
                    self.suspects.list(time);
                    give.push(Scope::all_of(time));
                }
            }
        }
        let mut outputs = self.name_children(drill, span, view).await?;
        outputs.extend(self.list(lists, view).await?);
        let window = ResponseBuilder::gather(&give, self.scannable(now), view).await?;
        self.session.said(now.steady, outputs.len());
        outputs.extend(self.send_window(window, now));
        Ok(outputs)
    }

    async fn name_children(
        &mut self,
        mut nodes: Vec<NodePosition>,
        span: TimeSpan,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let branching = usize::try_from(self.common.shape.branching()).unwrap_or(usize::MAX);
        nodes.truncate(MESSAGE_PARENTS.min(MESSAGE_CHILDREN / branching));
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let children = view.children(span, &nodes).await?.answer;
        self.session.open(nodes.iter().copied());
        let parents = nodes.into_iter().zip(children).map(|(node, children)| Parent { node, children });
        Ok(vec![send_repair(Message::Nodes(Nodes { span, parents: parents.collect() }))])
    }

    /// Lists the ids that this side holds in each span; an empty list if it holds none. Spans too large for one
    /// message come last and share the room left, so that they keep no other span from its turn.
    async fn list(
        &mut self,
        spans: Vec<(TimeSpan, bool)>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let full = self.session.was_in_vain();
        let at_once = if full { WHOLE_IDS } else { MESSAGE_IDS };
        let mut outputs = Vec::new();
        let mut overfull = Vec::new();
        let mut lists: Vec<Listed> = Vec::new();
        let mut room = at_once;
        for (span, holds) in spans {
            if outputs.len() + 1 >= LISTS_AT_ONCE {
                break;
            }
            let most = if holds { at_once + 1 } else { 0 };
            let event_keys = view.event_keys(span, None, most).await?;
            if event_keys.len() > at_once {
                overfull.push(span);
                continue;
            }
            if event_keys.len() > room || lists.len() == MESSAGE_SPANS {
                outputs.push(self.held(std::mem::take(&mut lists)));
                room = at_once;
            }
            room -= event_keys.len();
            let ids = event_keys.into_iter().map(|event_key| event_key.id).collect();
            lists.push(Listed { span, share: Share::WHOLE, ids: self.ids(ids, full) });
        }
        if !lists.is_empty() {
            outputs.push(self.held(lists));
        }
        let end = LISTS_AT_ONCE.min(outputs.len() + SHARES_AT_ONCE);
        for span in self.cursor.in_turn(overfull.clone()) {
            if outputs.len() >= end {
                break;
            }
            let shares = self.list_in_shares(span, end - outputs.len(), view).await?;
            outputs.extend(shares);
            if self.cursor.is_under_way() {
                break;
            }
        }
        if overfull.iter().any(|span| self.cursor.is_to_come(*span)) {
            self.session.listed_a_part();
        }
        Ok(outputs)
    }

    /// Lists a span of more events than one message takes, one share of its ids in each message. The next listing of
    /// the span continues with the next share. The ids are short: with each round all of them are listed under a new
    /// salt, so whole ids would gain nothing.
    async fn list_in_shares(
        &mut self,
        span: TimeSpan,
        most: usize,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        if let Some(rest) = self.cursor.uncut(span) {
            let (part, count) = countable(rest, view).await?;
            // The size of shares varies by chance: a tenth of each message is left free.
            let of = u32::try_from(count * 10 / (MESSAGE_IDS * 9) + 1).unwrap_or(u32::MAX);
            let salt = self.random.next();
            self.cursor.cut(part, of, salt);
        }
        let Some(turn) = self.cursor.take(u32::try_from(most).unwrap_or(u32::MAX)) else {
            return Ok(Vec::new());
        };
        if !turn.last {
            self.session.listed_a_part();
        }
        let mut shares: Vec<Vec<ShortId>> = turn.shares.clone().map(|_| Vec::new()).collect();
        let mut pages = EventKeys::of(turn.part);
        while let Some(page) = pages.next(view).await? {
            for id in page.into_iter().map(|event_key| Salted::new(turn.salt, event_key.id)) {
                let place = id.part_of(turn.of).checked_sub(turn.shares.start);
                if let Some(ids) = place.and_then(|place| shares.get_mut(usize::try_from(place).ok()?)) {
                    ids.push(id.short());
                }
            }
        }
        if shares.iter().any(|ids| ids.len() > MESSAGE_IDS) {
            // Many events have arrived since the division.
            self.cursor.outgrown();
            self.session.listed_a_part();
        }
        let listed = |(part, ids)| Listed {
            span: turn.part,
            share: Share { part, of: turn.of },
            ids: Ids::Short { salt: turn.salt, ids },
        };
        let fits = turn.shares.clone().zip(shares).filter(|(_, ids)| ids.len() <= MESSAGE_IDS);
        Ok(fits.map(|share| self.held(vec![listed(share)])).collect())
    }

    /// Sends this side's lists, which request all events not in them.
    fn held(&mut self, lists: Vec<Listed>) -> Output {
        lists.iter().for_each(|list| self.suspects.list(list.span));
        let whole = lists.iter().filter(|list| list.is_whole());
        whole.for_each(|list| self.backfill.ask(list.span));
        send_repair(Message::EventList(EventList::Held(lists)))
    }

    fn ids(&mut self, ids: Vec<EventId>, full: bool) -> Ids {
        if full {
            return Ids::Full(ids);
        }
        let salt = self.random.next();
        Ids::Short { salt, ids: ids.into_iter().map(|id| shorten(salt, id)).collect() }
    }

    /// Checks that lists, and requests by them, are about compared spans.
    fn check_spans(&self, lists: &[Listed]) -> Result<(), Fault> {
        let strange = lists.iter().find(|list| !self.session.knows_within(list.span));
        strange.map_or(Ok(()), |list| Err(Fault::StrangeSpan(list.span)))
    }

    pub(super) async fn on_nodes(
        &mut self,
        nodes: Nodes,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let Nodes { span, parents } = nodes;
        if !self.session.knows(span) {
            return Err(Fault::StrangeSpan(span).into());
        }
        if !parents.iter().all(|parent| self.session.may_open(self.common.shape, span, parent.node)) {
            return Err(Fault::StrangeNodes.into());
        }
        self.join_repair(now);
        let places: Vec<_> = parents.iter().map(|parent| parent.node).collect();
        let mine = view.children(span, &places).await?.answer;
        // The neighbour's children of these nodes may follow in turn.
        self.session.open(places);
        let steps = compare_children(self.common.shape, span, &mine, &parents);
        let outputs = self.take(steps, span, now, view).await?;
        Ok(to_the_end(outputs, span))
    }

    /// The neighbour lists its ids: it gets the events it lacks, and is asked for the ones missing here.
    pub(super) async fn on_lists(
        &mut self,
        lists: Vec<Listed>,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        self.check_spans(&lists)?;
        self.session.heard(now.steady);
        lists.iter().for_each(|list| self.suspects.list(list.span));
        let span = lists.first().map_or(TimeSpan::ALL, |list| list.span);
        let scopes: Vec<_> = lists.iter().map(Scope::of).collect();
        let window = ResponseBuilder::gather(&scopes, self.scannable(now), view).await?;
        let missing = lists.iter().zip(&window.unseen).filter(|(_, unseen)| !unseen.is_empty());
        let missing = missing.filter(|(list, _)| !self.is_coming(list, in_transit));
        let requests = missing.map(|(list, unseen)| list.only(unseen.iter().copied())).collect();
        self.want_list.add(requests);
        let mut outputs: Vec<_> = self.request(now).into_iter().collect();
        outputs.extend(self.send_window(window, now));
        Ok(to_the_end(outputs, span))
    }

    /// Whether events of the list are arriving or being stored. Other missing events there cannot be told from them;
    /// the next comparison finds those. Shares of a span follow one another, each with other events.
    fn is_coming(&self, list: &Listed, in_transit: InTransit<'_>) -> bool {
        if injected(Bug::BothAct) {
            return false;
        }
        let (span, whole) = (list.span, list.is_whole());
        let coming = || self.backfill.awaits(span) || self.backfill.is_storing(span);
        self.want_list.meets(list) || in_transit.is_coming(span) || whole && coming()
    }

    /// Requests the next events from the neighbour's lists, unless a request is open.
    fn request(&mut self, now: Now) -> Option<Output> {
        let requests = self.want_list.next()?;
        self.session.said(now.steady, 1);
        Some(send_repair(Message::NeedEvents(NeedEvents::Of(requests))))
    }

    /// Answers a request for events by the ids that this side listed.
    pub(super) async fn on_requested(
        &mut self,
        lists: &[Listed],
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        self.check_spans(lists)?;
        self.session.heard(now.steady);
        let scopes: Vec<_> = lists.iter().map(Scope::wanted).collect();
        let window = ResponseBuilder::gather(&scopes, self.scannable(now), view).await?;
        let more = window.rest.is_some();
        if !more {
            self.mistakes.note(window.unseen.iter().map(Vec::len).sum(), now.steady)?;
        }
        self.count_sent(&window.events);
        let (reply, last) = (Reply::Of { more: false, last: false }, Reply::Of { more, last: true });
        let mut outputs = send_in_frames(Lane::Repair, reply, last, window.events);
        if outputs.is_empty() {
            outputs.push(send_repair(Message::Events(Events { reply: last, events: Vec::new() })));
        }
        Ok(outputs)
    }

    /// Receives events that were requested from a list.
    pub(super) async fn on_requested_events(
        &mut self,
        events: Vec<Event>,
        (more, last): (bool, bool),
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let unasked = self.want_list.take(&events);
        self.latecomers.take(unasked)?;
        self.join_repair(now);
        let mut outputs = Vec::new();
        if last && self.session.answered(now.steady) {
            self.want_list.answered(more);
            outputs.extend(self.request(now));
        }
        outputs.extend(self.take_in(events, now, view).await);
        Ok(outputs)
    }

    /// Drops the outstanding requests; the next comparison finds the missing events.
    pub(super) fn forget_requests(&mut self) {
        self.latecomers.give_up(self.want_list.clear(), MESSAGE_IDS);
    }

    /// Receives events of a span that this side lacked, or the end of an answer.
    pub(super) async fn on_block(
        &mut self,
        (span, rest, last): (TimeSpan, Option<TimeSpan>, bool),
        events: Vec<Event>,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let strangers = events.iter().filter(|event| !span.contains(event.timestamp())).count();
        if strangers > 0 || !self.session.has_compared() {
            return Err(Fault::Unasked(strangers.max(events.len())).into());
        }
        let in_turn = self.join_repair(now);
        if last {
            self.session.answered(now.steady);
        }
        if let Some(rest) = rest {
            self.passed(rest);
            if in_turn {
                self.leave(rest);
            } else {
                // Another neighbour is delivering the same events.
                self.compare_in_turn(now);
            }
        }
        Ok(self.take_in(events, now, view).await)
    }

    /// Hands events over for a commit, and requests more if that need not wait for it.
    async fn take_in(&mut self, events: Vec<Event>, now: Now, view: &impl ReplicaView) -> Vec<Output> {
        let mut outputs = self.store(events);
        // A failed read is repeated after this commit, or the next comparison finds the difference.
        outputs.extend(self.go_on(now, view).await.unwrap_or_default());
        outputs
    }

    fn store(&mut self, events: Vec<Event>) -> Vec<Output> {
        if events.is_empty() {
            return Vec::new();
        }
        self.backfill.store(&events);
        self.agreement.carried(&events);
        vec![Output::Store(events, Origin::Repaired(self.common.neighbour))]
    }

    /// Notes where the neighbour holds more. Of two rests not covered by one snapshot, one past and one future, the
    /// next comparison finds the second.
    fn leave(&mut self, rest: TimeSpan) {
        let both = self.backfill.rest().map_or(rest, |other| other.hull(rest));
        if self.backfill.rest().is_none() || self.session.knows_within(both) {
            self.backfill.leave(both);
        }
    }

    /// Requests the rest, once every question is answered and the received events are stored; otherwise events under
    /// way would come once more. Where this side holds no events, the next answer may arrive during the commit of the
    /// last one.
    pub(super) async fn go_on(
        &mut self,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, ReadError> {
        if self.session.awaits() {
            return Ok(Vec::new());
        }
        let Some(rest) = self.backfill.rest() else {
            self.backfill.forget();
            return Ok(Vec::new());
        };
        if self.common.coordinator.budgets.used_up_until(self.common.neighbour, now.steady).is_some() {
            // A further request lists the events held there. The next comparison finds the rest.
            self.common.coordinator.budgets.decline(self.common.neighbour, now.steady);
            self.backfill.forget();
            return Ok(Vec::new());
        }
        if self.backfill.stores() > 0
            && (self.backfill.is_storing(rest) || !view.event_keys(rest, None, 1).await?.is_empty())
        {
            return Ok(Vec::new());
        }
        let event_keys = view.event_keys(rest, None, MESSAGE_IDS + 1).await?;
        self.backfill.forget();
        Ok(self.ask_on(rest, &event_keys, now))
    }

    /// Requests the rest of a span, with a list of the events held there. If these are many, the next comparison is
    /// the shorter way.
    fn ask_on(&mut self, rest: TimeSpan, held_there: &[EventKey], now: Now) -> Vec<Output> {
        if held_there.len() > MESSAGE_IDS {
            return Vec::new();
        }
        self.session.said(now.steady, 1);
        let ids = held_there.iter().map(|event_key| event_key.id).collect();
        let ids = self.ids(ids, false);
        vec![self.held(vec![Listed { span: rest, share: Share::WHOLE, ids }])]
    }

    fn send_window(&mut self, window: ResponseBuilder, now: Now) -> Vec<Output> {
        let Some(span) = window.span else { return Vec::new() };
        self.count_sent(&window.events);
        if let Some(rest) = window.rest {
            self.passed(rest);
        }
        self.session.said(now.steady, 0);
        let reply = |rest| Reply::Block { span, rest, last: false };
        send_in_frames(Lane::Repair, reply(None), reply(window.rest), window.events)
    }

    fn count_sent(&mut self, events: &[Event]) {
        self.session.gave(events.len());
        self.agreement.sent(events.len() as u64);
        self.agreement.carried(events);
    }

    /// The number of event keys that may be read for the neighbour.
    fn scannable(&self, now: Now) -> usize {
        let left = self.common.coordinator.budgets.rows_left(self.common.neighbour, now.steady);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// The transfer goes from latest to earliest, and has reached `rest`.
    fn passed(&mut self, rest: TimeSpan) {
        let Some(compared) = self.session.span_around(rest) else { return };
        let era = Era::of(compared);
        let blocks = &mut self.compared.of_mut(era).blocks_left;
        blocks.retain(|block| block.first() <= rest.last());
        self.agreement.blocks_left(era, blocks.len());
    }

    /// The neighbour repairs with this side, which receives from it from now on. Returns whether it receives from this
    /// one alone.
    pub(super) fn join_repair(&mut self, now: Now) -> bool {
        self.session.heard(now.steady);
        self.common.coordinator.may_repair(self.common.neighbour, now.steady)
    }
}

/// The number of events in `span`, and the span. If there are too many to read, both are of its latest part. The part
/// begins at a moment, because a moment cannot be divided.
async fn countable(span: TimeSpan, view: &impl ReplicaView) -> Result<(TimeSpan, usize), ReadError> {
    let mut pages = EventKeys::of(span);
    let mut count = 0;
    let mut begins = None;
    while let Some(page) = pages.next(view).await? {
        if let Some(begins) = begins {
            let same = page.iter().take_while(|event_key| event_key.timestamp == begins).count();
            count += same;
            if same < page.len() {
                return Ok((TimeSpan::new(begins, span.last()).unwrap_or(span), count));
            }
        } else {
            count += page.len();
            begins = page.last().map(|last| last.timestamp).filter(|_| count >= SCANNED_EVENT_KEYS);
        }
    }
    Ok((span, count))
}

/// Marks the end of an answer: on its last events, or on a frame without events.
fn to_the_end(mut outputs: Vec<Output>, span: TimeSpan) -> Vec<Output> {
    match outputs.last_mut() {
        Some(Output::Send(
            Lane::Repair,
            Message::Events(Events { reply: Reply::Block { last, .. }, .. }),
        )) => *last = true,
        _ => {
            let reply = Reply::Block { span, rest: None, last: true };
            outputs.push(send_repair(Message::Events(Events { reply, events: Vec::new() })));
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::super::endless::Endless;
    use super::*;
    use crate::Timestamp;
    use crate::bounds::PAGE_ROWS;

    #[tokio::test]
    async fn no_more_of_a_span_is_cut_at_once_than_may_be_looked_at() {
        let many = SCANNED_EVENT_KEYS as u64 * 3 / 2;
        let span = TimeSpan::new(Timestamp::MIN, Timestamp::from_millis(many - 1)).unwrap();
        let endless = Endless::default();
        let (part, count) = countable(span, &endless).await.unwrap();
        assert!((SCANNED_EVENT_KEYS..SCANNED_EVENT_KEYS + PAGE_ROWS * 2).contains(&count), "{count}");
        assert!(endless.looked_at() <= SCANNED_EVENT_KEYS + PAGE_ROWS * 2, "{}", endless.looked_at());
        let first = Timestamp::from_millis(many - count as u64);
        assert_eq!((part.first(), part.last()), (first, span.last()), "the latest part, and all of it");
    }
}
