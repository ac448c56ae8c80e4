//! The questions of a pull: the next step of the plan, made from the events held when it is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Reconciliation;
use super::lists::{Distinct, bits_of, held, listed, number_list};
use super::plan::{Means, Step, Wanted};
use super::walk::{LOCATOR_BITS, Named, Namer};
use crate::agent::outgoing::send_repair;
use crate::agent::{Now, Output, ReplicaView};
use crate::bounds::{KEPT_IRREGULAR, MESSAGE_SPANS};
use crate::fault_injection::{Bug, injected};
use crate::message::{CellCounts, EventList, Listed, Message, Naming, NeedEvents, Nodes, Parent, Stretch};
use crate::sketch::{Decoder, Mapping, counts_for};
use crate::tree::NodePosition;
use crate::{EventKey, ReadError, TimeSpan};

/// The number of differences up to which cells are asked for at once: the nodes would cost more.
pub(super) const FEW_DIFFERENCES: u64 = 200;

/// Bits of a short id beyond those that number the listed events: one event in so many is taken for a listed one, and
/// found by the next comparison.
const SPARE_BITS: u8 = 10;

/// The wait for the next turn while another neighbour's repair is running.
const NEXT_TURN: Duration = Duration::from_millis(100);

/// The open question.
#[derive(Debug)]
pub(super) enum Open {
    /// What differs in the span?
    Compare(TimeSpan, Means),
    /// Cells of the span, to go on decoding.
    Cells { span: TimeSpan, decoder: Decoder, top_ups: u32 },
    /// What differs below the nodes?
    Descend { span: TimeSpan, nodes: Vec<NodePosition>, means: Means },
    /// What is missing in these stretches? The others were left out of the question.
    Fetch { asked: Vec<Stretch>, rest: Vec<Stretch> },
    /// These events. Next to each list are the numbers of those that came; two events may share a number.
    Want(Vec<(Wanted, BTreeSet<u64>)>),
}

impl Reconciliation {
    /// Asks the next question of the plan, if none is open. It waits for the commit of the events before it, unless it
    /// goes on with the stretches before them.
    pub(super) async fn advance(
        &mut self,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Vec<Output>, ReadError> {
        while (self.open.is_none() || injected(Bug::TwoQuestions)) && !self.plan.is_empty() {
            if self.turn_at.is_some_and(|at| at > now.steady) {
                return Ok(self.wait());
            }
            let goes_on = self.fetches_ahead && self.plan.fetches_next();
            if self.stores > 0 && !goes_on && !injected(Bug::AsksBeforeStored) {
                return Ok(self.wait());
            }
            if !self.common.coordinator.may_repair(self.common.neighbour, now.steady) {
                self.turn_at = Some(now.steady + NEXT_TURN);
                return Ok(self.wait());
            }
            let Some(step) = self.plan.next() else { break };
            self.plan.age();
            if let Some(question) = self.question(step, now, view).await? {
                self.repair(now);
                return Ok(vec![send_repair(question)]);
            }
        }
        if self.open.is_none() && self.plan.is_empty() && self.stores == 0 {
            self.end_repair(now);
        }
        Ok(Vec::new())
    }

    /// Events may come meanwhile.
    fn wait(&mut self) -> Vec<Output> {
        self.plan.age();
        Vec::new()
    }

    /// The question for a step; `None` if there is nothing left to ask.
    async fn question(
        &mut self,
        step: Step,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Option<Message>, ReadError> {
        self.fetches_ahead = false;
        self.outcome.ask();
        match step {
            Step::Want(wanted) => self.request(wanted, now, view).await,
            Step::Descend(span, nodes) => self.compare_below(span, nodes, view).await.map(Some),
            Step::Compare(span, means) => self.compare_within(span, means, view).await.map(Some),
            Step::Fetch(stretches) => self.list(stretches, view).await.map(Some),
        }
    }

    async fn compare_within(
        &mut self,
        span: TimeSpan,
        means: Means,
        view: &impl ReplicaView,
    ) -> Result<Message, ReadError> {
        let (root, digest) = view.digest(span).await?.answer;
        let counts = if means == Means::Nodes {
            None
        } else {
            let apart = if means == Means::Cells {
                FEW_DIFFERENCES
            } else {
                self.likely(root.count).max(root.count / 1_024)
            };
            // The first cells tell roughly: there may be some times as many differences. If there are too many for
            // cells, no close estimate is needed.
            let likely =
                if apart > KEPT_IRREGULAR as u64 { FEW_DIFFERENCES } else { apart.saturating_mul(3) };
            let cells = view.cells(span, Mapping::Irregular, 0..counts_for(likely)).await?.answer;
            Some(CellCounts { events: root.count, counts: cells.counts().collect() })
        };
        self.open = Some(Open::Compare(span, means));
        self.digested = digest.rows.iter().map(|row| row.nodes.len()).sum();
        Ok(Message::Nodes(Nodes::Cover { span, digest: (means != Means::Cells).then_some(digest), counts }))
    }

    /// The differences among so many events, if they are everywhere alike.
    fn likely(&self, events: u64) -> u64 {
        let part = u128::from(self.apart) * u128::from(events) / u128::from(self.among.max(events).max(1));
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    async fn compare_below(
        &mut self,
        span: TimeSpan,
        nodes: Vec<NodePosition>,
        view: &impl ReplicaView,
    ) -> Result<Message, ReadError> {
        let children = view.children(span, &nodes).await?.answer;
        let parents = nodes.iter().zip(children).map(|(node, children)| Parent { node: *node, children });
        let question = Nodes::Children { span, parents: parents.collect() };
        self.open = Some(Open::Descend { span, nodes, means: self.means });
        Ok(Message::Nodes(question))
    }

    /// Lists the events held in the stretches, latest first, as many as go into one question.
    async fn list(&mut self, stretches: Vec<Stretch>, view: &impl ReplicaView) -> Result<Message, ReadError> {
        let mut stretches = std::collections::VecDeque::from(stretches);
        let (mut lists, mut asked, mut room) = (Vec::new(), Vec::new(), self.listed_at_once);
        while let Some(stretch) = stretches.pop_front() {
            let (stretch, held, rest) = held(stretch, room, view).await?;
            room = room.saturating_sub(held.len());
            if let Some(rest) = rest {
                stretches.push_front(rest);
            }
            self.outcome.suspects.list(stretch.span);
            lists.push(self.short_list(stretch, &held, view));
            asked.push(stretch);
            if room == 0 || lists.len() == MESSAGE_SPANS {
                break;
            }
        }
        self.open = Some(Open::Fetch { asked, rest: stretches.into() });
        Ok(Message::EventList(EventList::Held(lists)))
    }

    fn short_list(&mut self, stretch: Stretch, held: &[EventKey], view: &impl ReplicaView) -> Listed {
        let bits = match self.means {
            Means::Nodes => 64,
            Means::Cells | Means::CellsOrNodes => bits_of(held.len()) + SPARE_BITS,
        };
        let naming = Naming::Short(self.random.next().to_be_bytes());
        let namer = self.namer(naming, bits, view);
        let numbers: BTreeSet<_> = held.iter().map(|event_key| namer.number(*event_key)).collect();
        Listed { stretch, naming, numbers: number_list(bits, numbers) }
    }

    /// Asks for the events that are still missing.
    async fn request(
        &mut self,
        all: Vec<Wanted>,
        now: Now,
        view: &impl ReplicaView,
    ) -> Result<Option<Message>, ReadError> {
        let mut wanted = Vec::new();
        for one in all {
            if one.is_new {
                wanted.extend(self.still_missing(one, view).await?);
            } else {
                // The neighbour may have named anything.
                wanted.extend(self.still_missing(one, &self.metered(view, now)).await?);
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let lists = listed(&wanted);
        self.open = Some(Open::Want(wanted.into_iter().map(|one| (one, BTreeSet::new())).collect()));
        Ok(Some(Message::NeedEvents(NeedEvents::Of(lists))))
    }

    /// Leaves out the events that this side has received meanwhile. Whole locators are cut down to as many bits as tell
    /// them from the events held here, most likely the same as there.
    async fn still_missing(
        &self,
        mut wanted: Wanted,
        view: &impl ReplicaView,
    ) -> Result<Vec<Wanted>, ReadError> {
        let namer = self.namer(wanted.naming, wanted.bits, view);
        let mut pages = Named::of(wanted.stretch, &namer, &wanted.numbers, view).await?;
        let is_whole = wanted.naming == Naming::Locators && wanted.bits == LOCATOR_BITS;
        let mut others = is_whole.then(|| Distinct::new(&wanted.numbers));
        while let Some(page) = pages.next(view).await? {
            for number in page.into_iter().map(|event_key| namer.number(event_key)) {
                if !wanted.is_new {
                    wanted.numbers.remove(&number);
                }
                others.iter_mut().for_each(|others| others.note(number));
            }
        }
        Ok(match others {
            Some(others) => others.name(&wanted),
            None => Vec::from_iter((!wanted.numbers.is_empty()).then_some(wanted)),
        })
    }

    pub(super) fn namer(&self, naming: Naming, bits: u8, view: &impl ReplicaView) -> Namer {
        Namer::new(self.common.shape, view.sketch_key(), naming, bits)
    }
}
