//! The answers to a neighbour's questions. Each depends on the question and on the events held alone: nothing is
//! remembered. Every read is charged to the neighbour.

use std::collections::BTreeSet;

use super::Reconciliation;
use super::differing::{self, Difference};
use super::plan::Wanted;
use super::walk::{EventKeys, Named};
use crate::agent::broadcast::InTransit;
use crate::agent::metered::Metered;
use crate::agent::outgoing::{Readable, batches, readable, send_repair};
use crate::agent::{HandleError, Now, Output, ReplicaView};
use crate::bounds::{
    KEPT_IRREGULAR, MESSAGE_CHILDREN, MESSAGE_PARENTS, MESSAGE_SPANS, SCANNED_EVENT_KEYS, WINDOW_BYTES,
};
use crate::message::{
    CellCounts, Differing, Digest, End, EventList, Events, Listed, Message, Nodes, Parent, Reply,
};
use crate::sketch::{Mapping, cells_for, estimate};
use crate::tree::{NodePosition, Root};
use crate::{Event, EventKey, ReadError, TimeSpan, Timestamp};

/// The number of events up to which a node's events are counted rather than its children named: to list them takes some
/// two bytes an event, the children take 350 and half a round trip a level.
const FEW_EVENTS: u64 = 256;

/// The bytes of a differing node in an answer.
const NODE_BYTES: u64 = 14;

/// The bytes of a child.
const CHILD_BYTES: u64 = 11;

/// The bytes that a difference costs beside its cells, if cells find it: it is listed two or three times.
const LISTED_BYTES: u64 = 7;

/// Nodes are named if they take at most one part in so many of the bytes that cells would: to find out where the
/// differences are takes further questions.
const CLEARLY: u64 = 4;

/// If differences were anywhere, at least so many of them would be outside the nodes that differ: so they are not.
const SURELY: u64 = 8;

/// The cost of an event beside its key and value, in memory and in a frame.
const EVENT_COST: usize = 48;

/// A good answer to a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closer {
    Cells(usize),
    Nodes,
    TooDifferent,
}

/// Whether the children of a differing node are compared, rather than its events.
pub(super) fn opens(difference: &Difference) -> bool {
    difference.node.level > 0 && difference.is_shared() && difference.ours.max(difference.theirs) > FEW_EVENTS
}

/// The best answer to the question for `differences` (if nodes were asked for) between `held` events of the asker and
/// this side's, which differ in about `apart` events (if cells were asked for), by an estimate from so many counts.
fn closer(
    differences: Option<&[Difference]>,
    apart: Option<(u64, usize)>,
    held: u64,
    branching: u64,
) -> Closer {
    let Some((apart, counts)) = apart else { return Closer::Nodes };
    let cells = cells_for(apart.saturating_add(spare(apart, counts)));
    let cell_bytes = (cells as u64).saturating_mul(8).saturating_add(apart.saturating_mul(LISTED_BYTES));
    let (mut node_bytes, mut one_sided, mut shared) = (0_u64, 0_u64, 0_u64);
    for difference in differences.unwrap_or_default() {
        let events = difference.ours.saturating_add(difference.theirs);
        let below = match difference {
            _ if !difference.is_shared() => 0,
            _ if opens(difference) => branching * CHILD_BYTES,
            _ => events,
        };
        node_bytes = below.saturating_add(NODE_BYTES).saturating_add(node_bytes);
        let sum = if difference.is_shared() { &mut shared } else { &mut one_sided };
        *sum = events.saturating_add(*sum);
    }
    // Nodes that hold nearly all events narrow nothing down.
    let outside = u128::from(held.saturating_sub(shared / 2)) * u128::from(apart);
    let narrows = shared == 0 || outside >= u128::from(held) * u128::from(SURELY);
    let is_local = differences.is_some() && narrows && node_bytes.saturating_mul(CLEARLY) <= cell_bytes;
    if is_local || one_sided.saturating_mul(2) > apart {
        return Closer::Nodes;
    }
    // A list of all that the asker holds takes some 1.5 bytes an event.
    let lists_less = held.saturating_mul(3) / 2 < cell_bytes;
    match differences {
        _ if lists_less => Closer::TooDifferent,
        _ if cells <= KEPT_IRREGULAR => Closer::Cells(cells),
        Some(_) => Closer::Nodes,
        None => Closer::TooDifferent,
    }
}

/// Differences beside an estimate of so many counts, for which cells are sent: one and a half standard errors (√(2/n) for
/// n counts). If there are still more, further cells are asked for.
fn spare(apart: u64, counts: usize) -> u64 {
    let root = counts.isqrt().max(1) as u64;
    ((apart / 8).saturating_mul(17) / root).saturating_add(1)
}

/// The events of an answer, latest first, up to its budget.
#[derive(Debug, Default)]
struct Window {
    events: Vec<Event>,
    bytes: usize,
    /// Event keys read, and their limit.
    scanned: usize,
    most: usize,
    /// The last event key that was looked at.
    reached: Option<EventKey>,
    is_full: bool,
}

impl Window {
    /// Adds the events of a page that are `wanted`, while there is room for them.
    async fn add(
        &mut self,
        page: Vec<EventKey>,
        mut wanted: impl FnMut(EventKey) -> bool,
        view: &impl ReplicaView,
    ) -> Result<(), ReadError> {
        self.scanned += page.len();
        for event_key in page {
            if wanted(event_key) {
                if self.bytes >= WINDOW_BYTES {
                    self.is_full = true;
                    return Ok(());
                }
                // `verify` reports damaged events; the neighbour gets the others.
                if let Readable::Event(event) = readable(view.event(event_key).await)? {
                    self.bytes += event.weight() + EVENT_COST;
                    self.events.push(event);
                }
            }
            self.reached = Some(event_key);
        }
        self.is_full |= self.scanned >= self.most;
        Ok(())
    }

    fn ending(&self) -> End {
        match self.reached {
            Some(reached) if self.is_full => End::Before(reached),
            None if self.is_full => End::Later,
            _ => End::Complete,
        }
    }
}

impl Reconciliation {
    pub(super) fn metered<'v, V: ReplicaView>(&self, view: &'v V, now: Now) -> Metered<'v, V> {
        Metered::new(view, &self.common, now)
    }

    /// An empty window. It ends with the neighbour's budget.
    fn window(&self, now: Now) -> Window {
        let most = usize::try_from(self.rows_left(now)).unwrap_or(usize::MAX).clamp(1, SCANNED_EVENT_KEYS);
        Window { most, ..Window::default() }
    }

    fn rows_left(&self, now: Now) -> u64 {
        self.common.coordinator.budgets.rows_left(self.common.neighbour, now.steady)
    }

    /// Answers the question for what differs in a span.
    pub(super) async fn on_cover(
        &mut self,
        (span, digest, counts): (TimeSpan, Option<Digest>, Option<CellCounts>),
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let view = &self.metered(view, now);
        let (root, ours) = view.digest(span).await?.answer;
        let held = counts.as_ref().map_or(0, |counts| counts.events);
        let apart = match &counts {
            Some(counts) => Some(self.apart(span, counts, root, view).await?),
            None => None,
        };
        let differences = digest.as_ref().map(|theirs| self.differing_nodes(span, &ours, theirs));
        if let Some((differences, _)) = &differences {
            self.note_blocks(span, &ours, differences);
        }
        let known = differences.as_ref().map(|(differences, _)| &differences[..]);
        let apart = apart.zip(counts.map(|counts| counts.counts.len()));
        match closer(known, apart, held, self.common.shape.branching()) {
            Closer::Cells(len) => {
                let cells = view.cells(span, Mapping::Irregular, 0..len).await?.answer;
                Ok(vec![send_repair(Message::EventList(EventList::Cells(cells)))])
            }
            Closer::TooDifferent => Ok(vec![end(End::TooDifferent)]),
            Closer::Nodes => {
                let (differences, untold) = differences.unwrap_or_default();
                self.name(span, differences, untold, view).await
            }
        }
    }

    /// The number of events in which the two sides differ, by the counts of the neighbour's cells.
    async fn apart(
        &self,
        span: TimeSpan,
        theirs: &CellCounts,
        root: Root,
        view: &impl ReplicaView,
    ) -> Result<u64, ReadError> {
        let ours = view.cells(span, Mapping::Irregular, 0..theirs.counts.len()).await?.answer;
        let counts = theirs.counts.iter().copied();
        Ok(estimate(Mapping::Irregular, ours.counts(), counts, root.count, theirs.events))
    }

    /// The differing nodes of two digests, and the time of which they say nothing.
    fn differing_nodes(
        &self,
        span: TimeSpan,
        ours: &Digest,
        theirs: &Digest,
    ) -> (Vec<Difference>, Option<TimeSpan>) {
        let shape = self.common.shape;
        let (known, untold) = differing::known(shape, span, ours, theirs);
        (
            differing::differences(shape, known, &differing::of_digest(ours), &differing::of_digest(theirs)),
            untold,
        )
    }

    /// Answers the question for what differs below nodes.
    pub(super) async fn on_children(
        &mut self,
        (span, parents): (TimeSpan, Vec<Parent>),
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let view = &self.metered(view, now);
        let shape = self.common.shape;
        let nodes: Vec<_> = parents.iter().map(|parent| parent.node).collect();
        let children = view.children(span, &nodes).await?.answer;
        let below = |(node, children): (NodePosition, _)| differing::below(shape, node, children);
        let ours = nodes.iter().copied().zip(children.iter().map(Vec::as_slice)).flat_map(below).collect();
        let differences = differing::differences(shape, span, &ours, &differing::below_all(shape, &parents));
        if differences.is_empty() {
            self.suspect(nodes);
        }
        self.name(span, differences, None, view).await
    }

    /// Names the differing nodes: the children of those in which both hold many events, the counts of the others.
    async fn name(
        &mut self,
        span: TimeSpan,
        mut differences: Vec<Difference>,
        untold: Option<TimeSpan>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        differences.truncate(MESSAGE_SPANS - 1);
        let branching = usize::try_from(self.common.shape.branching()).unwrap_or(usize::MAX);
        let most = MESSAGE_PARENTS.min(MESSAGE_CHILDREN / branching);
        let mut nodes: Vec<_> = differences.iter().filter(|it| opens(it)).map(|it| it.node).collect();
        nodes.truncate(most);
        let children = if nodes.is_empty() { Vec::new() } else { view.children(span, &nodes).await?.answer };
        let mut parents = nodes.into_iter().zip(children);
        let mut differing: Vec<_> = differences
            .iter()
            .map_while(|difference| match opens(difference) {
                true => parents.next().map(|(node, children)| Differing::Children(Parent { node, children })),
                false => Some(Differing::Count(difference.span, difference.ours)),
            })
            .collect();
        if let Some(untold) = untold.filter(|_| differing.is_empty()) {
            let some = view.event_keys(untold, None, 1).await?.len() as u64;
            differing.push(Differing::Count(untold, some));
        }
        self.outcome.answer();
        let counted = differences.iter().filter(|difference| !opens(difference));
        counted.for_each(|difference| self.outcome.suspects.list(difference.span));
        if differing.is_empty() {
            return Ok(vec![end(End::Complete)]);
        }
        Ok(vec![send_repair(Message::Nodes(Nodes::Differing(differing)))])
    }

    /// Answers the question for more cells.
    pub(super) async fn on_more_cells(
        &mut self,
        (span, from, len): (TimeSpan, u32, u32),
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let index = |number: u32| usize::try_from(number).unwrap_or(KEPT_IRREGULAR);
        let range = index(from)..index(from).saturating_add(index(len)).min(KEPT_IRREGULAR);
        let cells = self.metered(view, now).cells(span, Mapping::Irregular, range).await?.answer;
        Ok(vec![send_repair(Message::EventList(EventList::Cells(cells)))])
    }

    /// Answers with the events that are not in the lists. The neighbour is asked for those of the lists that this side
    /// lacks.
    pub(super) async fn on_held(
        &mut self,
        lists: Vec<Listed>,
        now: Now,
        in_transit: InTransit<'_>,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let metered = self.metered(view, now);
        let mut window = self.window(now);
        self.outcome.answer();
        let earliest = lists.last().map(|listed| listed.stretch);
        for listed in lists {
            self.outcome.suspects.list(listed.stretch.span);
            let namer = self.namer(listed.naming, listed.numbers.bits(), view);
            let mut unseen: BTreeSet<_> = listed.numbers.numbers().iter().copied().collect();
            let mut pages = EventKeys::of(listed.stretch);
            while !window.is_full
                && let Some(page) = pages.next(&metered).await?
            {
                let wanted = |event_key| {
                    let number = namer.number(event_key);
                    unseen.remove(&number);
                    listed.numbers.numbers().binary_search(&number).is_err()
                };
                window.add(page, wanted, &metered).await?;
            }
            if window.is_full {
                break;
            }
            let Listed { stretch, naming, numbers } = listed;
            let bits = numbers.bits();
            if !in_transit.is_coming(stretch.span) {
                self.hint(Wanted { stretch, naming, bits, numbers: unseen, is_new: false }, now);
            }
        }
        let reached = match window.ending() {
            End::Before(reached) => Some(reached),
            _ => earliest.and_then(|stretch| stretch.from),
        };
        self.passed_to(
            reached.map_or(earliest.map_or(Timestamp::MIN, |it| it.span.first()), |it| it.timestamp),
        );
        Ok(self.send_window(window, now))
    }

    /// Answers a request for listed events.
    pub(super) async fn on_requested(
        &mut self,
        lists: Vec<Listed>,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, HandleError> {
        let metered = self.metered(view, now);
        let mut window = self.window(now);
        let (mut sent, mut unknown) = (BTreeSet::new(), 0);
        for (place, wanted) in lists.into_iter().map(Wanted::all_of).enumerate() {
            let Wanted { stretch, naming, bits, numbers, .. } = wanted;
            // Each list takes reads of its own.
            window.is_full |= place > 0 && self.rows_left(now) == 0;
            if window.is_full {
                break;
            }
            let namer = self.namer(naming, bits, view);
            let mut unseen = numbers.clone();
            let mut pages = Named::of(stretch, &namer, &numbers, &metered).await?;
            while !window.is_full
                && let Some(page) = pages.next(&metered).await?
            {
                let wanted = |event_key| {
                    let number = namer.number(event_key);
                    unseen.remove(&number);
                    numbers.contains(&number) && sent.insert(event_key)
                };
                window.add(page, wanted, &metered).await?;
            }
            if !window.is_full {
                unknown += unseen.len();
            }
        }
        self.mistakes.note(unknown, now.steady)?;
        Ok(self.send_window(window, now))
    }

    fn send_window(&mut self, window: Window, now: Now) -> Vec<Output> {
        let ending = window.ending();
        self.gave(&window.events, now);
        let mut parts = batches(window.events).peekable();
        let mut outputs = Vec::new();
        while let Some(events) = parts.next() {
            let reply = if parts.peek().is_some() { Reply::Part } else { Reply::End(ending) };
            outputs.push(send_repair(Message::Events(Events { reply, events })));
        }
        if outputs.is_empty() {
            outputs.push(end(ending));
        }
        outputs
    }

    /// The neighbour has all events after this moment. Counts the blocks that are left, for display.
    fn passed_to(&mut self, moment: Timestamp) {
        let left = self.blocks.iter().filter(|block| block.first() < moment).count();
        self.agreement.blocks_left(self.era, left);
    }

    /// Notes the blocks of a comparison, for display.
    pub(super) fn note_blocks(&mut self, span: TimeSpan, ours: &Digest, differences: &[Difference]) {
        let held: usize = ours.rows.iter().map(|row| row.nodes.len()).sum();
        let theirs_alone = differences.iter().filter(|difference| difference.ours == 0).count();
        let apart = |it: &Difference| it.ours.abs_diff(it.theirs).max(1);
        let apart = differences.iter().map(apart).fold(0, u64::saturating_add);
        self.agreement.compared(self.era_of(span), held + theirs_alone, differences.len(), apart);
        self.show_differing(
            self.era_of(span),
            differences.iter().map(|difference| difference.span).collect(),
        );
    }
}

/// The end of an answer without events.
fn end(ending: End) -> Output {
    send_repair(Message::Events(Events { reply: Reply::End(ending), events: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::endless::{Endless, event_key};
    use super::*;
    use crate::agent::broadcast::Broadcast;
    use crate::agent::common::Common;
    use crate::agent::{AgentConfig, RepairCoordinator, StallTimeouts};
    use crate::bounds::{PUSHED_BYTES, SCAN_PAGE};
    use crate::message::{Naming, Stretch};
    use crate::random::SplitMix64;
    use crate::sketch::NumberList;
    use crate::tree::Shape;
    use crate::{Incarnation, NodeId, Parameters, Timestamp};

    /// A node of the second level.
    fn node(index: u64, ours: u64, theirs: u64) -> Difference {
        let node = NodePosition { level: 1, index };
        let span = Shape::new(&Parameters::default()).time_of(node);
        Difference { node, span, ours, theirs }
    }

    fn nodes(number: u64, ours: u64, theirs: u64) -> Vec<Difference> {
        (0..number).map(|index| node(index, ours, theirs)).collect()
    }

    #[test]
    fn the_closer_answer_is_the_cheaper_one() {
        let cells = |apart: u64| Closer::Cells(cells_for(apart + spare(apart, 256)));
        for (why, differences, apart, held, expected) in [
            ("cells were not asked for", Some(nodes(1_000, 9, 9)), None, 0, Closer::Nodes),
            ("few differences in many events", None, Some(10), 1_000_000, cells(10)),
            ("few events are listed sooner", None, Some(10), 100, Closer::TooDifferent),
            ("nothing is held", None, Some(10), 0, Closer::TooDifferent),
            ("more than the sketch tells", None, Some(100_000), 100_000_000, Closer::TooDifferent),
            ("and nodes do", Some(nodes(1_000, 999, 999)), Some(100_000), 100_000_000, Closer::Nodes),
            ("scattered differences", Some(nodes(1_000, 999, 999)), Some(1_000), 1_000_000, cells(1_000)),
            ("all in half of them", Some(nodes(1, 500_000, 500_000)), Some(1_000), 1_000_000, Closer::Nodes),
            ("few in half of them", Some(nodes(1, 500_000, 500_000)), Some(9), 1_000_000, cells(9)),
            ("all in one node", Some(nodes(1, 9_000, 9_000)), Some(1_000), 1_000_000, Closer::Nodes),
            ("most on one side", Some(nodes(40, 0, 20)), Some(1_000), 1_000_000, Closer::Nodes),
            ("some on one side", Some(nodes(20, 0, 20)), Some(1_000), 1_000_000, Closer::Nodes),
            ("equal nodes, unequal counts", Some(Vec::new()), Some(0), 1_000_000, Closer::Nodes),
        ] {
            let apart = apart.map(|apart| (apart, 256));
            assert_eq!(closer(differences.as_deref(), apart, held, 32), expected, "{why}");
        }
    }

    #[test]
    fn no_claim_of_a_neighbour_is_too_large() {
        let most = [node(0, 0, u64::MAX), node(1, 0, u64::MAX), node(2, u64::MAX, u64::MAX)];
        for apart in [None, Some(0), Some(1 << 40), Some(u64::MAX)] {
            for held in [0, u64::MAX] {
                for differences in [None, Some(&most[..1]), Some(&most[2..]), Some(&most[..])] {
                    closer(differences, apart.map(|apart| (apart, 0)), held, 256);
                }
            }
        }
    }

    fn reconciliation() -> Reconciliation {
        let parameters = Parameters::default();
        let config = AgentConfig {
            node: NodeId::from_bytes([1; 32]),
            incarnation: Incarnation::from_bytes([0; 8]),
            listens: Vec::new(),
            parameters,
            space: "default".into(),
            grace: Duration::from_secs(2),
            max_drift: Duration::from_secs(60),
            pushed: PUSHED_BYTES,
            timeouts: StallTimeouts::default(),
        };
        let (neighbour, coordinator) = (NodeId::from_bytes([2; 32]), Arc::new(RepairCoordinator::default()));
        let shape = Shape::new(&parameters);
        Reconciliation::new(Arc::new(Common { config, shape, neighbour, coordinator }), SplitMix64::new(7))
    }

    const NOW: Now = Now { steady: Duration::from_secs(9), wall: Timestamp::from_millis(1 << 40) };

    /// Leaves so many rows of the neighbour's budget.
    fn leave_rows(reconciliation: &Reconciliation, rows: u64) {
        let Common { coordinator, neighbour, .. } = &*reconciliation.common;
        let left = coordinator.budgets.rows_left(*neighbour, NOW.steady);
        coordinator.budgets.charge(*neighbour, (left - rows, 0), NOW.steady);
    }

    /// The end of an answer without events.
    fn ending(outputs: &[Output]) -> End {
        match outputs {
            [Output::Send(_, Message::Events(Events { reply: Reply::End(ending), events }))]
                if events.is_empty() =>
            {
                *ending
            }
            other => panic!("{other:?}"),
        }
    }

    fn listed(first: u64, last: u64, numbers: Vec<u64>) -> Listed {
        let span = TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap();
        let numbers = NumberList::new(64, numbers).unwrap();
        Listed { stretch: Stretch::of(span), naming: Naming::Short([0; 8]), numbers }
    }

    /// Half as many events again as are looked at for one question.
    const MANY: u64 = SCANNED_EVENT_KEYS as u64 * 3 / 2;

    #[tokio::test]
    async fn a_request_for_what_lies_beyond_what_may_be_looked_at_ends_there() {
        let (mut reconciliation, view) = (reconciliation(), Endless::default());
        let request = listed(0, MANY - 1, vec![1, 2, 3]);
        let outputs = reconciliation.on_requested(vec![request.clone()], NOW, &view).await.unwrap();
        let looked_at = view.looked_at();
        assert!((SCANNED_EVENT_KEYS..SCANNED_EVENT_KEYS + SCAN_PAGE).contains(&looked_at), "{looked_at}");
        let reached = event_key(MANY - looked_at as u64);
        assert_eq!(ending(&outputs), End::Before(reached), "the asker asks on from there");
        // A smaller budget ends it sooner.
        leave_rows(&reconciliation, 10_000);
        let view = Endless::default();
        let outputs = reconciliation.on_requested(vec![request], NOW, &view).await.unwrap();
        assert!((10_000..10_000 + SCAN_PAGE).contains(&view.looked_at()), "{}", view.looked_at());
        assert!(matches!(ending(&outputs), End::Before(_)));
    }

    #[tokio::test]
    async fn lists_are_compared_with_no_more_than_may_be_looked_at() {
        let (mut reconciliation, view) = (reconciliation(), Endless::default());
        let lists = vec![listed(MANY, MANY + 99, Vec::new()), listed(0, MANY - 1, vec![1])];
        let broadcast = Broadcast::new(Arc::clone(&reconciliation.common));
        let outputs = reconciliation.on_held(lists, NOW, broadcast.in_transit(), &view).await.unwrap();
        let looked_at = view.looked_at();
        assert!((SCANNED_EVENT_KEYS..SCANNED_EVENT_KEYS + SCAN_PAGE).contains(&looked_at), "{looked_at}");
        assert_eq!(ending(&outputs), End::Before(event_key(MANY + 100 - looked_at as u64)));
        assert!(reconciliation.plan.is_empty(), "nothing is known of what was not looked at");
    }

    /// A number that no event here has: the neighbour holds that event, and it is planned for.
    #[tokio::test]
    async fn listed_events_that_are_not_here_are_planned_for() {
        let (mut reconciliation, view) = (reconciliation(), Endless::default());
        let lists = vec![listed(0, 999, vec![5])];
        let broadcast = Broadcast::new(Arc::clone(&reconciliation.common));
        let outputs = reconciliation.on_held(lists, NOW, broadcast.in_transit(), &view).await.unwrap();
        assert_eq!(ending(&outputs), End::Complete);
        let wanted = Wanted::all_of(listed(0, 999, vec![5]));
        assert_eq!(reconciliation.plan.next(), Some(super::super::plan::Step::Want(vec![wanted])));
    }

    /// Requests for events that nobody holds are mistakes, unless the answer did not get to them.
    #[tokio::test]
    async fn requests_for_what_nobody_holds_are_mistakes() {
        let mut reconciliation = reconciliation();
        let mut answered = 0;
        while reconciliation.on_requested(vec![listed(0, 9, vec![5])], NOW, &Endless::default()).await.is_ok()
        {
            answered += 1;
        }
        assert_eq!(answered, crate::bounds::MISTAKEN_REQUESTS);
        let mut reconciliation = self::reconciliation();
        for _ in 0..=answered {
            leave_rows(&reconciliation, 0);
            let request = listed(0, 9_999, vec![5]);
            let outputs = reconciliation.on_requested(vec![request], NOW, &Endless::default()).await.unwrap();
            assert!(matches!(ending(&outputs), End::Before(_)));
        }
    }
}
