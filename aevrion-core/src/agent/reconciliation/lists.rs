//! The lists of a pull: which events a question covers, and the numbers that stand for them.

use std::collections::BTreeSet;

use super::plan::Wanted;
use super::walk::{EventKeys, LEAF_BITS, LOCATOR_BITS};
use crate::agent::ReplicaView;
use crate::fault_injection::{Bug, injected};
use crate::message::{Listed, Stretch};
use crate::sketch::NumberList;
use crate::{EventKey, ReadError, TimeSpan};

/// The number of bits that number so many things.
pub(super) fn bits_of(count: usize) -> u8 {
    u8::try_from((usize::BITS - count.leading_zeros()).max(1)).unwrap_or(64)
}

#[expect(clippy::expect_used, reason = "a set ascends, and numbers come with their bits")]
pub(super) fn number_list(bits: u8, numbers: BTreeSet<u64>) -> NumberList {
    NumberList::new(bits, numbers.into_iter().collect()).expect("a set of numbers can be listed")
}

/// The lists of wanted events for one message.
pub(super) fn listed(wanted: &[Wanted]) -> Vec<Listed> {
    let list = |Wanted { stretch, naming, bits, numbers, .. }: &Wanted| Listed {
        stretch: *stretch,
        naming: *naming,
        numbers: number_list(*bits, numbers.clone()),
    };
    wanted.iter().map(list).collect()
}

/// The events held in a stretch: all of them, or the latest, about `most`; then the rest of the stretch is left.
pub(super) async fn held(
    stretch: Stretch,
    most: usize,
    view: &impl ReplicaView,
) -> Result<(Stretch, Vec<EventKey>, Option<Stretch>), ReadError> {
    let mut held = Vec::new();
    let mut pages = EventKeys::of(stretch);
    while let Some(page) = pages.next(view).await? {
        held.extend(page);
        if held.len() > most {
            held.truncate(most);
            break;
        }
    }
    let cut = held.last().copied().filter(|_| held.len() == most);
    let Some(from) = cut else { return Ok((stretch, held, None)) };
    let parts = TimeSpan::new(from.timestamp, stretch.span.last())
        .zip(TimeSpan::new(stretch.span.first(), from.timestamp));
    let Some((late, early)) = parts else { return Ok((stretch, held, None)) };
    let latest = Stretch { span: late, from: Some(from), before: stretch.before };
    let rest = Stretch { span: early, from: stretch.from, before: Some(from) };
    Ok((latest, held, Some(rest)))
}

/// The parts of these stretches before an event key.
pub(super) fn left_before(asked: &[Stretch], reached: EventKey) -> Vec<Stretch> {
    let part = |stretch: &Stretch| {
        if stretch.from.is_some_and(|from| from >= reached) {
            return None;
        }
        if stretch.span.last() < reached.timestamp {
            return Some(*stretch);
        }
        let before = stretch.before.map_or(reached, |before| before.min(reached));
        let span = TimeSpan::new(stretch.span.first(), before.timestamp)?;
        Some(Stretch { span, before: Some(before), ..*stretch })
    };
    asked.iter().filter_map(part).collect()
}

/// The parts of lists that an answer left out, if it went through them in their order and `reached` this event. Next to
/// each list are the numbers of the events that came.
pub(super) fn left_of(asked: Vec<(Wanted, BTreeSet<u64>)>, reached: EventKey) -> Vec<Wanted> {
    let unfinished =
        asked.into_iter().skip_while(|(wanted, _)| !wanted.stretch.contains(reached)).enumerate();
    let left = unfinished.filter_map(|(place, (mut wanted, came))| {
        wanted.numbers.retain(|number| !came.contains(number));
        if place == 0 {
            wanted.stretch = left_before(&[wanted.stretch], reached).pop()?;
        }
        Some(wanted)
    });
    left.collect()
}

/// Locators, each with the number of first bits that it shares with another event at most: one bit more tells it from
/// all others.
#[derive(Debug)]
pub(super) struct Distinct(Vec<(u64, u8)>);

impl Distinct {
    pub(super) fn new(locators: &BTreeSet<u64>) -> Self {
        Self(locators.iter().map(|locator| (*locator, 0)).collect())
    }

    /// Notes the locator of another event. No number of bits tells equal locators apart.
    pub(super) fn note(&mut self, other: u64) {
        let above = self.0.partition_point(|(locator, _)| *locator < other);
        let (below, above) = self.0.split_at_mut(above);
        let above = above.iter_mut().find(|(locator, _)| *locator != other);
        for (locator, shared) in below.last_mut().into_iter().chain(above) {
            let unlike = u64::BITS - (*locator ^ other).leading_zeros();
            *shared = (*shared).max(LOCATOR_BITS.saturating_sub(u8::try_from(unlike).unwrap_or(u8::MAX)));
        }
    }

    /// Those of the locators that are wanted, in short: no number stands for another event noted.
    pub(super) fn name(mut self, wanted: &Wanted) -> Vec<Wanted> {
        self.0.retain(|(locator, _)| wanted.numbers.contains(locator));
        let Divided { bits, short, whole } = self.divided();
        let lists = [(bits, short), (LOCATOR_BITS, whole)].into_iter();
        let lists = lists.filter(|(_, numbers)| !numbers.is_empty());
        lists.map(|(bits, numbers)| Wanted { bits, numbers, is_new: false, ..*wanted }).collect()
    }

    /// Divides the locators into numbers of few bits, each of which stands for no other event noted, and those that
    /// take all their bits. Together they are as short as can be.
    fn divided(&self) -> Divided {
        let mut sharing = [0_usize; LOCATOR_BITS as usize + 1];
        self.0.iter().for_each(|(_, shared)| sharing[usize::from(*shared)] += 1);
        let mut alike = self.0.len();
        let mut shortest = (u64::MAX, LOCATOR_BITS);
        for bits in 0..=LOCATOR_BITS {
            let cost = cost_of(self.0.len() - alike, bits) + cost_of(alike, LOCATOR_BITS);
            if bits >= LEAF_BITS {
                shortest = shortest.min((cost, bits));
            }
            alike -= sharing[usize::from(bits)];
        }
        let bits = if injected(Bug::LocatorsTooShort) { LEAF_BITS } else { shortest.1 };
        let cut = |locator: u64| locator >> (LOCATOR_BITS - bits);
        let (mut short, mut whole) = (BTreeSet::new(), BTreeSet::new());
        for group in self.0.chunk_by(|(one, _), (next, _)| cut(*one) == cut(*next)) {
            if group.iter().all(|(_, shared)| *shared < bits) || injected(Bug::LocatorsTooShort) {
                short.insert(cut(group[0].0));
            } else {
                whole.extend(group.iter().map(|(locator, _)| *locator));
            }
        }
        Divided { bits, short, whole }
    }
}

/// Locators as numbers that stand for no other event.
struct Divided {
    /// The number of bits of the short numbers.
    bits: u8,
    short: BTreeSet<u64>,
    whole: BTreeSet<u64>,
}

/// The bits of a list, about.
fn cost_of(numbers: usize, bits: u8) -> u64 {
    /// The stretch of another list, and the lengths.
    const LIST: u64 = 160;
    let Some(saved) = numbers.checked_ilog2() else { return 0 };
    LIST + numbers as u64 * u64::from(u32::from(bits).saturating_sub(saved) + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::endless::{Endless, event_key};
    use super::*;
    use crate::Timestamp;

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    fn stretch(first: u64, last: u64, from: Option<u64>, before: Option<u64>) -> Stretch {
        Stretch { span: span(first, last), from: from.map(event_key), before: before.map(event_key) }
    }

    #[test]
    fn what_is_left_ends_before_what_was_reached() {
        for (asked, reached, left) in [
            (stretch(0, 99, None, None), 50, Some(stretch(0, 50, None, Some(50)))),
            (stretch(0, 99, None, None), 0, Some(stretch(0, 0, None, Some(0)))),
            (stretch(10, 99, None, None), 5, None),
            (stretch(0, 99, None, Some(40)), 50, Some(stretch(0, 40, None, Some(40)))),
            (stretch(0, 99, Some(20), None), 50, Some(stretch(0, 50, Some(20), Some(50)))),
            (stretch(0, 99, Some(60), None), 50, None),
            (stretch(0, 99, Some(50), None), 50, None),
        ] {
            assert_eq!(left_before(&[asked], event_key(reached)), Vec::from_iter(left), "{asked:?}");
        }
        // Later stretches are complete, earlier ones are left as they are.
        let asked = [stretch(80, 99, None, None), stretch(40, 59, None, None), stretch(0, 9, None, None)];
        let left = left_before(&asked, event_key(50));
        assert_eq!(left.len(), 2);
        assert_eq!((left[0], left[1].span), (stretch(40, 50, None, Some(50)), asked[2].span));
    }

    #[test]
    fn lists_that_were_not_reached_are_left_and_the_first_one_that_covers_what_was_is_cut_there() {
        let list = |first, last, numbers: &[u64], came: &[u64]| {
            let span = TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap();
            let numbers = numbers.iter().copied().collect();
            (Wanted::of_locators(span, numbers), came.iter().copied().collect::<BTreeSet<_>>())
        };
        let asked = vec![
            list(80, 99, &[1, 2], &[1]),
            list(40, 59, &[3, 4], &[4]),
            list(40, 59, &[5], &[]),
            list(0, 9, &[6], &[6]),
        ];
        let left = left_of(asked.clone(), event_key(50));
        let numbers: Vec<_> =
            left.iter().map(|wanted| wanted.numbers.iter().copied().collect::<Vec<_>>()).collect();
        assert_eq!(numbers, [vec![3], vec![5], vec![]], "the neighbour does not hold event 2");
        assert_eq!(left[0].stretch, stretch(40, 50, None, Some(50)));
        assert_eq!((left[1].stretch, left[2].stretch), (asked[2].0.stretch, asked[3].0.stretch));
        assert_eq!(left_of(asked, event_key(70)), [], "no list covers it");
    }

    /// Events of a stretch are listed part by part: each once, latest first, no more than asked for.
    #[tokio::test]
    async fn a_stretch_is_listed_part_by_part() {
        for (events, most) in [(1, 10), (10, 10), (11, 10), (256, 256), (5_000, 999), (20_000, 16_384)] {
            let (view, mut listed, mut left) =
                (Endless::default(), Vec::new(), Some(stretch(0, events, Some(1), None)));
            while let Some(whole) = left {
                let (part, held, rest) = held(whole, most, &view).await.unwrap();
                assert!(held.len() <= most);
                assert!(held.iter().all(|event_key| part.contains(*event_key)));
                // Nothing lies between the part and the rest.
                let is_in_rest = |event_key| rest.is_some_and(|rest: Stretch| rest.contains(event_key));
                let all = (0..=events).map(event_key).filter(|event_key| whole.contains(*event_key));
                assert!(all.clone().all(|it| part.contains(it) != is_in_rest(it)), "{events} by {most}");
                listed.extend(held);
                left = rest;
            }
            assert_eq!(listed, (1..=events).rev().map(event_key).collect::<Vec<_>>(), "{events} by {most}");
        }
    }

    fn numbers(most: usize) -> impl Strategy<Value = BTreeSet<u64>> {
        // Of few leaves, so that the first bits are alike.
        let number = (0..4_u64, 0..1_u64 << 28).prop_map(|(leaf, hash)| leaf << 28 | hash);
        prop::collection::btree_set(number, 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn locators_cut_down_stand_for_no_other_event(
            (numbers, mut others) in prop_oneof![
                (numbers(40), numbers(400)), (numbers(2_500), numbers(5_000)), (numbers(3), numbers(5_000)),
            ],
        ) {
            // One that is held, too.
            others.extend(numbers.first());
            let mut distinct = Distinct::new(&numbers);
            others.iter().for_each(|other| distinct.note(*other));
            let Divided { bits, short, whole } = distinct.divided();
            let cut = |locator: &u64| locator >> (LOCATOR_BITS - bits);
            let is_named = |locator: &u64| short.contains(&cut(locator)) || whole.contains(locator);
            prop_assert!(others.difference(&numbers).all(|other| !is_named(other)));
            prop_assert!(numbers.iter().all(is_named));
            prop_assert!(numbers.iter().all(|it| short.contains(&cut(it)) != whole.contains(it)), "twice");
            prop_assert!((LEAF_BITS..=LOCATOR_BITS).contains(&bits));
        }
    }

    /// Of ten thousand events among a million some take all bits, so that all others take few.
    #[test]
    fn most_locators_are_cut_down_to_what_tells_them_from_most_events() {
        let mut random = crate::random::SplitMix64::new(1);
        let mut locators =
            |count| (0..count).map(|_| random.next() >> (64 - LOCATOR_BITS)).collect::<BTreeSet<_>>();
        let (wanted, others) = (locators(5_000), locators(1_000_000));
        let mut distinct = Distinct::new(&wanted);
        others.iter().for_each(|other| distinct.note(*other));
        let Divided { bits, short, whole } = distinct.divided();
        assert!((23..=26).contains(&bits) && (50..500).contains(&whole.len()), "{bits}, {}", whole.len());
        let bytes = |bits, numbers| number_list(bits, numbers).to_bytes().len();
        let bytes = bytes(bits, short) + bytes(LOCATOR_BITS, whole);
        assert!(bytes < 9_700, "{bytes} B, where all of one length take 11,200");
    }

    #[test]
    fn one_number_more_takes_a_bit_more_at_a_power_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256].map(bits_of), [1, 1, 2, 2, 3, 8, 9]);
    }
}
