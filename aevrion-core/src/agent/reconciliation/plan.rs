//! The plan of a pull: all that is left to ask, as a value, and the next question as a function of it.
//!
//! A comparison fills the plan; so does the neighbour when it tells of events that this side lacks. The plan says where
//! to ask, never which events may be under way: one question is open at a time, and each is made from the events held
//! when it is asked.

use std::collections::{BTreeSet, VecDeque};

use super::walk::LOCATOR_BITS;
use crate::TimeSpan;
use crate::bounds::{MESSAGE_IDS, MESSAGE_LISTS, PLANNED, PLANNED_EVENTS};
use crate::message::{Listed, Naming, Stretch};
use crate::tree::NodePosition;

/// Wanted lists in one question: each of them may become two.
const WANTED_AT_ONCE: usize = MESSAGE_LISTS / 2;

/// How closely to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Means {
    /// By cells, of which few will do.
    Cells,
    /// By cells or tree nodes, as suits the neighbour.
    CellsOrNodes,
    /// By tree nodes alone: cells have failed.
    Nodes,
}

/// Named events that this side lacks and the neighbour holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) stretch: Stretch,
    pub(super) naming: Naming,
    /// Bits of the numbers.
    pub(super) bits: u8,
    pub(super) numbers: BTreeSet<u64>,
    /// Whether the cells have just shown that this side lacks them. Later they may have come from others.
    pub(super) is_new: bool,
}

impl Wanted {
    /// The events of a span with these locators.
    pub(super) fn of_locators(span: TimeSpan, locators: BTreeSet<u64>) -> Self {
        let (naming, bits) = (Naming::Locators, LOCATOR_BITS);
        Self { stretch: Stretch::of(span), naming, bits, numbers: locators, is_new: false }
    }

    /// The events of a list.
    pub(super) fn all_of(listed: Listed) -> Self {
        let Listed { stretch, naming, numbers } = listed;
        let bits = numbers.bits();
        let numbers = numbers.into_numbers().into_iter().collect();
        Self { stretch, naming, bits, numbers, is_new: false }
    }
}

/// One step of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask for these events.
    Want(Vec<Wanted>),
    /// Compare the children of these nodes, within the span.
    Descend(TimeSpan, Vec<NodePosition>),
    /// Compare a span.
    Compare(TimeSpan, Means),
    /// Ask for all events that this side lacks in these stretches, latest first.
    Fetch(Vec<Stretch>),
}

/// All steps that are left. What the neighbour is known to hold comes first, then the search for more, then whole
/// stretches, latest first.
#[derive(Debug, Default)]
pub(super) struct Plan {
    wants: VecDeque<Wanted>,
    descents: VecDeque<(TimeSpan, Vec<NodePosition>)>,
    comparisons: VecDeque<(TimeSpan, Means)>,
    /// Latest first.
    stretches: VecDeque<Stretch>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
            && self.descents.is_empty()
            && self.comparisons.is_empty()
            && self.stretches.is_empty()
    }

    /// Drops all steps.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn want(&mut self, wanted: Wanted) {
        let planned: usize = self.wants.iter().map(|wanted| wanted.numbers.len()).sum();
        let fits = self.wants.len() < PLANNED && planned + wanted.numbers.len() <= PLANNED_EVENTS;
        if fits && !wanted.numbers.is_empty() && !self.wants.contains(&wanted) {
            self.wants.push_back(wanted);
        }
    }

    /// Time passes in which other neighbours may bring events.
    pub(super) fn age(&mut self) {
        self.wants.iter_mut().for_each(|wanted| wanted.is_new = false);
    }

    pub(super) fn descend(&mut self, span: TimeSpan, nodes: Vec<NodePosition>) {
        let planned: usize = self.descents.iter().map(|(_, nodes)| nodes.len()).sum();
        if planned < PLANNED && !nodes.is_empty() {
            self.descents.push_back((span, nodes));
        }
    }

    pub(super) fn compare(&mut self, span: TimeSpan, means: Means) {
        if self.comparisons.len() < PLANNED {
            self.comparisons.push_back((span, means));
        }
    }

    /// Adds a whole span. With planned stretches that it meets it becomes one: no event is asked for twice.
    pub(super) fn fetch(&mut self, mut span: TimeSpan) {
        if self.stretches.len() >= PLANNED {
            return;
        }
        self.stretches.retain(|stretch| {
            let meets = stretch.span.intersection(span).is_some();
            if meets {
                span = span.hull(stretch.span);
            }
            !meets
        });
        let at = self.stretches.partition_point(|stretch| stretch.span.last() > span.last());
        self.stretches.insert(at, Stretch::of(span));
    }

    /// Puts back stretches whose answer was not complete: they come next.
    pub(super) fn fetch_on(&mut self, stretches: Vec<Stretch>) {
        stretches.into_iter().rev().for_each(|stretch| self.stretches.push_front(stretch));
        self.stretches.truncate(PLANNED);
    }

    /// Whether anything is left to ask about a time in `span`.
    pub(super) fn touches(&self, span: TimeSpan) -> bool {
        let wants = self.wants.iter().map(|wanted| wanted.stretch.span);
        let compares = self.comparisons.iter().map(|(span, _)| *span);
        let descents = self.descents.iter().map(|(span, _)| *span);
        let fetches = self.stretches.iter().map(|stretch| stretch.span);
        wants.chain(compares).chain(descents).chain(fetches).any(|other| other.intersection(span).is_some())
    }

    /// Whether a stretch is left to ask for.
    pub(super) fn fetches(&self) -> bool {
        !self.stretches.is_empty()
    }

    /// Whether the next step is one of [`Step::Fetch`].
    pub(super) fn fetches_next(&self) -> bool {
        self.wants.is_empty()
            && self.descents.is_empty()
            && self.comparisons.is_empty()
            && !self.stretches.is_empty()
    }

    /// Takes as much of what is wanted as goes into one question.
    fn next_wants(&mut self) -> Vec<Wanted> {
        let (mut wants, mut room) = (Vec::new(), MESSAGE_IDS);
        while wants.len() < WANTED_AT_ONCE
            && let Some(mut wanted) = self.wants.pop_front()
        {
            if let Some(first) = wanted.numbers.iter().nth(room).copied() {
                let rest = wanted.numbers.split_off(&first);
                self.wants.push_front(Wanted { numbers: rest, ..wanted });
            }
            room -= wanted.numbers.len();
            wants.push(wanted);
            if room == 0 {
                break;
            }
        }
        wants
    }

    /// Takes the next step.
    pub(super) fn next(&mut self) -> Option<Step> {
        if !self.wants.is_empty() {
            return Some(Step::Want(self.next_wants()));
        }
        if let Some((span, nodes)) = self.descents.pop_front() {
            return Some(Step::Descend(span, nodes));
        }
        if let Some((span, means)) = self.comparisons.pop_front() {
            return Some(Step::Compare(span, means));
        }
        let stretches = std::mem::take(&mut self.stretches);
        (!stretches.is_empty()).then(|| Step::Fetch(stretches.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::NumberList;
    use crate::{EventId, EventKey, Timestamp};

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn wanted(numbers: std::ops::Range<u64>) -> Wanted {
        let numbers = NumberList::new(48, numbers.collect()).unwrap();
        Wanted::all_of(Listed { stretch: Stretch::of(span(0, 99)), naming: Naming::Locators, numbers })
    }

    fn node(index: u64) -> NodePosition {
        NodePosition { level: 1, index }
    }

    fn fetched(plan: &mut Plan) -> Vec<TimeSpan> {
        match plan.next() {
            None => Vec::new(),
            Some(Step::Fetch(stretches)) => stretches.iter().map(|stretch| stretch.span).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_known_to_be_there_comes_first_and_whole_stretches_last() {
        let mut plan = Plan::default();
        assert!(plan.is_empty() && plan.next().is_none());
        plan.fetch(span(0, 9));
        assert!(plan.fetches_next());
        plan.compare(span(10, 19), Means::Cells);
        plan.descend(span(20, 29), vec![node(1)]);
        plan.want(wanted(0..1));
        plan.want(wanted(1..2));
        plan.compare(span(30, 39), Means::Nodes);
        assert!(!plan.fetches_next());
        let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        let expected = [
            Step::Want(vec![wanted(0..1), wanted(1..2)]),
            Step::Descend(span(20, 29), vec![node(1)]),
            Step::Compare(span(10, 19), Means::Cells),
            Step::Compare(span(30, 39), Means::Nodes),
            Step::Fetch(vec![Stretch::of(span(0, 9))]),
        ];
        assert_eq!(steps, expected);
        assert!(plan.is_empty());
    }

    #[test]
    fn what_is_planned_already_or_names_nothing_is_no_step() {
        let mut plan = Plan::default();
        plan.want(wanted(0..0));
        plan.descend(span(0, 9), Vec::new());
        assert!(plan.is_empty());
        plan.want(wanted(0..5));
        plan.want(wanted(0..5));
        assert_eq!((plan.next(), plan.next()), (Some(Step::Want(vec![wanted(0..5)])), None));
    }

    #[test]
    fn spans_that_meet_are_fetched_once_latest_first() {
        let mut plan = Plan::default();
        for (first, last) in [(40, 49), (0, 9), (20, 29), (25, 44), (60, 69)] {
            plan.fetch(span(first, last));
        }
        assert_eq!(fetched(&mut plan), [span(60, 69), span(20, 49), span(0, 9)]);
        plan.fetch(span(0, 9));
        plan.fetch(span(10, 19));
        assert_eq!(fetched(&mut plan), [span(10, 19), span(0, 9)], "adjacent spans do not meet");
    }

    /// A stretch in the midst of a span becomes the whole span if it is planned anew.
    #[test]
    fn stretches_left_over_come_next_and_grow_to_a_span_that_meets_them() {
        let key = EventKey { timestamp: Timestamp::from_millis(5), id: EventId::from_bytes([1; 32]) };
        let left = Stretch { before: Some(key), ..Stretch::of(span(0, 5)) };
        let mut plan = Plan::default();
        plan.fetch(span(60, 69));
        plan.fetch_on(vec![Stretch::of(span(80, 89)), left]);
        plan.fetch(span(4, 7));
        let expected = [span(80, 89), span(60, 69), span(0, 7)].map(Stretch::of);
        assert_eq!(plan.next(), Some(Step::Fetch(expected.to_vec())));
    }

    #[test]
    fn a_plan_is_bounded() {
        let mut plan = Plan::default();
        let many = PLANNED as u64 + 100;
        for number in 0..many {
            plan.want(wanted(number..number + 1));
            plan.compare(span(number, number), Means::Cells);
            plan.descend(span(number, number), vec![node(number)]);
            plan.fetch(span(number * 2, number * 2));
        }
        let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        let Some(Step::Fetch(stretches)) = steps.last() else { panic!("whole stretches come last") };
        assert_eq!((steps.len(), stretches.len()), (PLANNED / WANTED_AT_ONCE + PLANNED * 2 + 1, PLANNED));
        let (one, all) = (MESSAGE_IDS as u64, PLANNED_EVENTS as u64);
        plan.want(wanted(0..all));
        plan.want(wanted(all..all + 1));
        let questions: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
        let halves = [0..one, one..all].map(|half| Step::Want(vec![wanted(half)]));
        assert_eq!(
            questions, halves,
            "all numbers together are bounded, too, and so are those of a question"
        );
    }

    #[test]
    fn each_kind_of_step_touches_its_time() {
        let mut plan = Plan::default();
        assert!(!plan.touches(TimeSpan::ALL));
        plan.want(wanted(0..1));
        assert!(plan.touches(span(99, 200)) && !plan.touches(span(100, 200)));
        plan.compare(span(100, 100), Means::Nodes);
        plan.descend(span(101, 101), vec![node(0)]);
        plan.fetch(span(102, 102));
        assert!((100..=102).all(|ms| plan.touches(span(ms, ms))) && !plan.touches(span(103, 200)));
        plan.clear();
        assert!(plan.is_empty() && !plan.touches(TimeSpan::ALL));
    }
}
