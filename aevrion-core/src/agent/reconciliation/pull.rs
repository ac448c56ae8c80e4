//! The steps of a pull on the answers: what came is stored, what is left goes into the plan, and the neighbour is told of
//! what it lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::opens;
use super::differing::{self, Difference};
use super::lists::{Distinct, left_before, left_of, listed};
use super::plan::{Means, Wanted};
use super::question::{FEW_DIFFERENCES, Open};
use super::walk::{Named, Namer};
use super::{Era, GIVING, Reconciliation};
use crate::agent::broadcast::InTransit;
use crate::agent::outgoing::{send_live, send_repair};
use crate::agent::{Fault, HandleError, Now, Origin, Output, ReplicaView};
use crate::bounds::{
    KEPT_IRREGULAR, LISTED_AT_ONCE, MESSAGE_CHILDREN, MESSAGE_EVENT_KEYS, MESSAGE_IDS, MESSAGE_PARENTS,
    MESSAGE_SPANS,
};
use crate::fault_injection::{Bug, injected};
use crate::message::{Differing, End, EventList, Message, NeedEvents, NodeDigest, Parent, Reply, Source};
use crate::sketch::{Cells, Decoder, Difference as Decoded, Locator, Mapping};
use crate::tree::NodePosition;
use crate::{Event, EventKey, ReadError, TimeSpan};

/// How often more cells are asked for.
const TOP_UPS: u32 = 3;

/// The number of nodes up to which their children are compared. More of them are searched with cells of their own.
const FEW_NODES: usize = 8;

/// A difference costs as many bytes, found by cells, as so many events in a list.
const CELLS_FOR_LISTED: u64 = 10;

/// Listed events, at least, of the first question for a stretch.
const FIRST_LISTED: usize = 16_384;

/// Answers in a row that bring nothing, and are not complete, before the plan is dropped.
const IDLE: u32 = 16;

impl Reconciliation {
    /// Tells the neighbour which of this side's events it lacks.
    async fn tell(
        &mut self,
        span: TimeSpan,
        ours: Vec<Locator>,
        theirs: &[Locator],
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, ReadError> {
        let numbers: BTreeSet<_> = ours.into_iter().take(MESSAGE_IDS).map(Locator::value).collect();
        if numbers.is_empty() || injected(Bug::LackedNotTold) {
            return Ok(Vec::new());
        }
        self.told = Some(now.steady + GIVING);
        let mut lacked = Wanted::of_locators(span, numbers);
        let namer = self.namer(lacked.naming, lacked.bits, view);
        let mut pages = Named::of(lacked.stretch, &namer, &lacked.numbers, view).await?;
        let mut others = Distinct::new(&lacked.numbers);
        // The neighbour must not take its own events for them.
        theirs.iter().for_each(|locator| others.note(locator.value()));
        let mut found: BTreeMap<u64, Vec<EventKey>> = BTreeMap::new();
        while let Some(page) = pages.next(view).await? {
            for event_key in page {
                let number = namer.number(event_key);
                if lacked.numbers.contains(&number) {
                    found.entry(number).or_default().push(event_key);
                } else {
                    others.note(number);
                }
            }
        }
        // Of two events of one locator the neighbour would take the one that it holds for the other.
        found.retain(|_, alike| alike.len() > 1);
        found.keys().for_each(|number| _ = lacked.numbers.remove(number));
        let event_keys: Vec<_> = found.into_values().flatten().take(MESSAGE_EVENT_KEYS).collect();
        let lists = listed(&others.name(&lacked));
        let announced = (!event_keys.is_empty()).then(|| {
            let source = Source::UNKNOWN;
            send_live(Message::EventList(EventList::Announced { source, event_keys }))
        });
        let lacked = (!lists.is_empty()).then(|| send_repair(Message::EventList(EventList::Lacked(lists))));
        Ok(announced.into_iter().chain(lacked).collect())
    }

    /// Takes cells of the neighbour, and acts on the difference if they show it.
    pub(super) async fn on_cells(
        &mut self,
        theirs: Cells,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let (span, mut decoder, top_ups) = match self.open.take() {
            Some(Open::Compare(span, Means::Cells | Means::CellsOrNodes)) => {
                (span, Decoder::new(Mapping::Irregular), 0)
            }
            Some(Open::Cells { span, decoder, top_ups }) => (span, decoder, top_ups),
            _ => return Err(Fault::Unasked(0).into()),
        };
        let range = theirs.from()..theirs.from() + theirs.len();
        let mut cells = view.cells(span, Mapping::Irregular, range).await?.answer;
        if cells.subtract(&theirs).and_then(|()| decoder.add(cells)).is_err() || theirs.is_empty() {
            return Err(Fault::StrangeCells.into());
        }
        match decoder.decode() {
            Ok(decoded) => {
                let mut outputs = self.act(span, decoded, now, in_transit, view).await?;
                outputs.extend(self.advance(now, view).await?);
                return Ok(outputs);
            }
            Err(_) if top_ups < TOP_UPS && decoder.len() < KEPT_IRREGULAR => {
                let from = decoder.len();
                let len = (from / 8).max(16).min(KEPT_IRREGULAR - from);
                self.open = Some(Open::Cells { span, decoder, top_ups: top_ups + 1 });
                let index = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let (from, len) = (index(from), index(len));
                return Ok(vec![send_repair(Message::NeedEvents(NeedEvents::Cells { span, from, len }))]);
            }
            Err(_) => self.plan.compare(span, Means::Nodes),
        }
        Ok(self.advance(now, view).await?)
    }

    /// Plans for the events of a difference that this side lacks, and tells of the others. Events in flight are left
    /// alone.
    pub(super) async fn act(
        &mut self,
        span: TimeSpan,
        decoded: Decoded,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, ReadError> {
        let Decoded { mut ours, mut theirs } = decoded;
        let all = ours.len() + theirs.len();
        let leaves = in_transit.leaves(self.may_defer(span), now.steady);
        ours.retain(|locator| !leaves.may_hold(*locator));
        theirs.retain(|locator| !leaves.may_hold(*locator));
        let left = ours.len() + theirs.len();
        self.defer(span, left == 0 && all > 0, left < all, now);
        self.agreement.apart(self.era_of(span), left as u64);
        let told = self.tell(span, ours, &theirs, now, view).await?;
        let numbers = theirs.into_iter().map(Locator::value).collect();
        self.plan.want(Wanted { is_new: true, ..Wanted::of_locators(span, numbers) });
        Ok(told)
    }

    /// Takes the nodes that differ.
    pub(super) async fn on_differing(
        &mut self,
        differing: Vec<Differing>,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let (span, means, asked) = match self.open.take() {
            Some(Open::Compare(span, means @ (Means::CellsOrNodes | Means::Nodes))) => (span, means, None),
            Some(Open::Descend { span, means, nodes }) => (span, means, Some(nodes)),
            _ => return Err(Fault::Unasked(0).into()),
        };
        let parents = differing.iter().filter_map(|it| match it {
            Differing::Children(parent) => Some(parent),
            Differing::Count(..) => None,
        });
        let parents: Vec<_> = parents.cloned().collect();
        let shape = self.common.shape;
        let covers = shape.cover(span);
        let was_asked = |node: NodePosition| match &asked {
            Some(asked) => shape.parent(node).is_some_and(|parent| asked.contains(&parent)),
            None => covers.iter().any(|(level, row)| *level == node.level && row.contains(&node.index)),
        };
        let strange = differing.iter().any(|it| match it {
            Differing::Count(part, _) => part.intersection(span) != Some(*part),
            Differing::Children(parent) => !was_asked(parent.node),
        });
        if strange {
            return Err(Fault::StrangeNodes.into());
        }
        let nodes: Vec<_> = parents.iter().map(|parent| parent.node).collect();
        let children = if nodes.is_empty() { Vec::new() } else { view.children(span, &nodes).await?.answer };
        let (mut spans, mut deeper) = (Vec::new(), Vec::new());
        for it in &differing {
            if let Differing::Count(part, theirs) = it {
                let ours = view.event_keys(*part, None, 1).await?.len() as u64;
                spans.push((*part, ours, *theirs));
            }
        }
        let below: Vec<_> =
            parents.iter().zip(&children).map(|(parent, ours)| self.below(span, parent, ours)).collect();
        let lists_less = self.lists_less(below.iter().flatten());
        for (parent, below) in parents.iter().zip(below) {
            if below.is_empty() {
                // Its children are equal: a stored hash is wrong, and this question lets the neighbour know, too.
                self.plan.descend(span, vec![parent.node]);
            }
            let (deep, flat): (Vec<_>, Vec<_>) = below.into_iter().partition(|it| opens(it) && !lists_less);
            spans.extend(flat.iter().map(|it| (it.span, it.ours, it.theirs)));
            deeper.push((parent.node, deep.into_iter().map(|it| it.node).collect()));
        }
        if Era::of_compared(span).is_some() {
            let one_sided = spans.iter().filter(|(_, ours, _)| *ours == 0).count();
            let apart =
                spans.iter().map(|(_, ours, theirs)| ours.abs_diff(*theirs)).fold(0, u64::saturating_add);
            self.agreement.compared(Era::of(span), self.digested + one_sided, differing.len(), apart);
        }
        let times = nodes.iter().map(|node| self.common.shape.time_of(*node));
        self.show_differing(self.era_of(span), spans.iter().map(|(span, ..)| *span).chain(times).collect());
        self.deepen(span, means, &deeper);
        let outputs = self.take(span, spans, now, in_transit);
        Ok(outputs.into_iter().chain(self.advance(now, view).await?).collect())
    }

    /// The children of a node that differ.
    fn below(&self, span: TimeSpan, parent: &Parent, ours: &[NodeDigest]) -> Vec<Difference> {
        let shape = self.common.shape;
        let (ours, theirs) = (
            differing::below(shape, parent.node, ours),
            differing::below(shape, parent.node, &parent.children),
        );
        differing::differences(shape, span, &ours, &theirs)
    }

    /// Whether a list of the events of these nodes costs less than to find out where in them the differences are: there
    /// are few nodes, and no more than about twice as many events as differ.
    fn lists_less<'d>(&self, differences: impl Iterator<Item = &'d Difference>) -> bool {
        let (nodes, events) = differences.filter(|it| opens(it)).fold((0, 0_u64), |(nodes, events), it| {
            (nodes + 1, events.saturating_add(it.ours.max(it.theirs)))
        });
        nodes <= FEW_NODES && events <= self.apart.saturating_mul(2)
    }

    /// Plans for nodes of many events in which both sides differ: a few are compared child by child, many searched with
    /// cells of their own.
    fn deepen(&mut self, span: TimeSpan, means: Means, deeper: &[(NodePosition, Vec<NodePosition>)]) {
        let nodes: Vec<_> = deeper.iter().flat_map(|(_, nodes)| nodes.iter().copied()).collect();
        let branching = usize::try_from(self.common.shape.branching()).unwrap_or(usize::MAX);
        let at_once = MESSAGE_PARENTS.min(MESSAGE_CHILDREN / branching).max(1);
        if means == Means::Nodes || nodes.len() <= FEW_NODES {
            nodes.chunks(at_once).for_each(|nodes| self.plan.descend(span, nodes.to_vec()));
            return;
        }
        // A node that was compared alone is divided; otherwise the same question would come again.
        let parents = deeper.iter().filter(|(_, nodes)| !nodes.is_empty()).map(|(parent, _)| *parent);
        let parents: Vec<_> = parents.collect();
        let places = if parents.len() == 1 { nodes } else { parents };
        for place in places {
            if let Some(part) = self.common.shape.time_of(place).intersection(span) {
                self.plan.compare(part, Means::CellsOrNodes);
            }
        }
    }

    /// Plans for spans that differ, of whose events both sides hold these numbers. Where events may be in flight they
    /// are left alone.
    pub(super) fn take(
        &mut self,
        within: TimeSpan,
        mut spans: Vec<(TimeSpan, u64, u64)>,
        now: Now,
        in_transit: InTransit<'_>,
    ) -> Vec<Output> {
        let all = spans.len();
        spans.retain(|(span, ..)| !in_transit.is_coming(*span));
        if self.may_defer(within) {
            spans.retain(|(span, ..)| !in_transit.may_travel(*span, now.steady));
        }
        self.defer(within, spans.is_empty() && all > 0 && self.plan.is_empty(), spans.len() < all, now);
        spans.sort_unstable_by_key(|(span, ..)| std::cmp::Reverse(*span));
        // Cells find few differences among many events with fewer bytes than a list of all.
        let many = self.apart.saturating_mul(CELLS_FOR_LISTED).max(FEW_DIFFERENCES);
        let by_cells = |span: TimeSpan, ours: u64, theirs: u64| {
            self.means != Means::Nodes && span != within && ours > 0 && theirs > many
        };
        let theirs = spans.iter().filter(|(_, _, theirs)| *theirs > 0);
        let (cells, lists): (Vec<_>, Vec<_>) =
            theirs.copied().partition(|(span, ours, theirs)| by_cells(*span, *ours, *theirs));
        cells.into_iter().for_each(|(span, ..)| self.plan.compare(span, Means::Cells));
        let lists = differing::joined(lists.into_iter().map(|(span, ..)| span));
        lists.into_iter().for_each(|span| self.plan.fetch(span));
        let neither = spans.iter().filter(|(_, ours, theirs)| *ours == 0 && *theirs == 0);
        neither.for_each(|(span, ..)| self.outcome.suspects.list(*span));
        let ours = spans.iter().filter(|(_, ours, theirs)| *ours > 0 && *theirs == 0).map(|(span, ..)| *span);
        let lacked: Vec<_> = ours.take(MESSAGE_SPANS).collect();
        if lacked.is_empty() {
            return Vec::new();
        }
        self.told = Some(now.steady + GIVING);
        lacked.iter().for_each(|span| self.outcome.suspects.list(*span));
        vec![send_repair(Message::EventList(EventList::LackedIn(lacked)))]
    }

    /// Takes events of an answer, and its end.
    pub(super) async fn on_events(
        &mut self,
        reply: Reply,
        events: Vec<Event>,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        self.check(&events, view)?;
        self.agreement.carried(&events);
        let mut outputs = Vec::new();
        if !events.is_empty() {
            self.idle = 0;
            self.stores += 1;
            outputs.push(Output::Store(events, Origin::Repaired(self.common.neighbour)));
        }
        self.repair(now);
        if let Reply::End(ending) = reply
            && !injected(Bug::AnswerWithoutEnd)
        {
            self.end_answer(ending, now);
            match self.advance(now, view).await {
                Ok(questions) => outputs.extend(questions),
                Err(ReadError::Closed) => return Err(ReadError::Closed.into()),
                // The events have to be stored all the same.
                Err(error) => {
                    tracing::warn!(%error, "the replica could not be read for a question; comparing again later");
                    self.give_up(now);
                }
            }
        }
        Ok(outputs)
    }

    /// Checks that these events were asked for, and drops them from the open request.
    fn check(&mut self, events: &[Event], view: &impl ReplicaView) -> Result<(), Fault> {
        let unasked = match &mut self.open {
            None => return Err(Fault::Unasked(events.len())),
            Some(Open::Fetch { asked, .. }) => {
                let strange =
                    |event: &&Event| !asked.iter().any(|stretch| stretch.contains(event.event_key()));
                events.iter().filter(strange).count()
            }
            Some(Open::Want(asked)) => {
                let namer =
                    |one: &Wanted| Namer::new(self.common.shape, view.sketch_key(), one.naming, one.bits);
                let namers: Vec<_> = asked.iter().map(|(wanted, _)| namer(wanted)).collect();
                let mut names = |event: &&Event| {
                    let lists = asked.iter_mut().zip(&namers);
                    lists.fold(false, |is_asked, ((wanted, came), namer)| {
                        is_asked | note_if_wanted(event.event_key(), wanted, came, namer)
                    })
                };
                events.iter().filter(|event| !names(event)).count()
            }
            Some(_) => events.len(),
        };
        if unasked > 0 { Err(Fault::Unasked(unasked)) } else { Ok(()) }
    }

    fn end_answer(&mut self, ending: End, now: Now) {
        let Some(open) = self.open.take() else { return };
        if matches!(ending, End::Later | End::Before(_)) {
            self.idle += 1;
            if self.idle > IDLE {
                return self.give_up(now);
            }
        }
        match (open, ending) {
            (open, End::Later) => self.put_back(open, now),
            (Open::Compare(span, Means::Cells), End::TooDifferent) => {
                self.plan.compare(span, Means::CellsOrNodes);
            }
            (Open::Compare(span, _) | Open::Cells { span, .. }, End::TooDifferent) => {
                self.plan.fetch(span);
            }
            // All nodes are equal, and the roots are not: the last resort.
            (Open::Compare(span, Means::Nodes), _) if self.outcome.is_last_resort() => self.plan.fetch(span),
            (Open::Compare(span, Means::Nodes), _) => self.outcome.suspects.list(span),
            // All children are equal, and the nodes are not.
            (Open::Descend { nodes, .. }, _) => self.suspect(nodes),
            (Open::Want(asked), End::Before(reached)) => {
                left_of(asked, reached).into_iter().for_each(|wanted| self.plan.want(wanted));
            }
            (Open::Fetch { asked, rest }, ending) => {
                let left = match ending {
                    End::Before(reached) => left_before(&asked, reached),
                    _ => Vec::new(),
                };
                let (fewer, more) = (self.listed_at_once / 2, self.listed_at_once * 2);
                let next = if left.is_empty() { more } else { fewer };
                self.listed_at_once = next.clamp(FIRST_LISTED / 4, LISTED_AT_ONCE);
                // What was told meanwhile may cover events that are being stored.
                self.fetches_ahead = !self.plan.fetches();
                self.plan.fetch_on([left, rest].concat());
            }
            _ => {}
        }
        self.passed();
    }

    /// Notes nodes whose stored hashes may be wrong.
    pub(super) fn suspect(&mut self, nodes: impl IntoIterator<Item = NodePosition>) {
        let spans = nodes.into_iter().map(|node| self.common.shape.time_of(node));
        spans.for_each(|span| self.outcome.suspects.list(span));
    }

    /// Asks the same again, a little later.
    fn put_back(&mut self, open: Open, now: Now) {
        match open {
            Open::Compare(span, means) => self.plan.compare(span, means),
            Open::Cells { span, .. } => self.plan.compare(span, self.means),
            Open::Descend { span, nodes, .. } => self.plan.descend(span, nodes),
            Open::Fetch { asked, rest } => self.plan.fetch_on([asked, rest].concat()),
            Open::Want(asked) => asked.into_iter().for_each(|(wanted, _)| self.plan.want(wanted)),
        }
        self.common.coordinator.repaired(self.common.neighbour);
        self.turn_at = Some(now.steady + GIVING);
    }

    /// Counts the blocks that the plan still touches, for display.
    fn passed(&mut self) {
        let left = self.blocks.iter().filter(|block| self.plan.touches(**block)).count();
        self.agreement.blocks_left(self.era, left);
    }
}

/// Whether an event is one of a list; then its number is noted among those that `came`.
fn note_if_wanted(event_key: EventKey, wanted: &Wanted, came: &mut BTreeSet<u64>, namer: &Namer) -> bool {
    if !wanted.stretch.contains(event_key) {
        return false;
    }
    let number = namer.number(event_key);
    let is_wanted = wanted.numbers.contains(&number);
    if is_wanted {
        came.insert(number);
    }
    is_wanted
}
