//! The lists of a pull: which events a question covers, and the numbers that stand for them.

use std::collections::BTreeSet;

use super::plan::Wanted;
use super::walk::{EventKeys, LEAF_BITS, LOCATOR_BITS};
use crate::agent::ReplicaView;
use crate::bounds::MESSAGE_IDS;
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

pub(super) fn listed(wanted: &Wanted) -> Listed {
    let numbers = wanted.numbers.iter().copied().take(MESSAGE_IDS).collect();
    Listed { stretch: wanted.stretch, naming: wanted.naming, numbers: number_list(wanted.bits, numbers) }
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

/// How many bits it takes to tell some numbers from others.
#[derive(Debug)]
pub(super) struct Distinct([usize; 65]);

impl Default for Distinct {
    fn default() -> Self {
        Self([0; 65])
    }
}

impl Distinct {
    /// Notes another number of `bits`: how many of its high bits one of the `numbers` shares, at most.
    pub(super) fn note(&mut self, numbers: &BTreeSet<u64>, other: u64, bits: u8) {
        let below = numbers.range(..=other).next_back();
        let above = numbers.range(other..).next();
        let unlike = |number: &u64| 64 - (number ^ other).leading_zeros();
        let low = [below, above].into_iter().flatten().map(unlike).min().unwrap_or(u32::from(bits));
        let shared = u32::from(bits).saturating_sub(low);
        if low > 0 {
            self.0[shared as usize] += 1;
        }
    }

    /// The least number of bits that `most` of the others share with none of the numbers, but for so many.
    fn bits(&self, but_for: usize, bits: u8) -> u8 {
        let mut alike = 0;
        for shared in (0..=usize::from(bits).min(64)).rev() {
            alike += self.0[shared];
            if alike > but_for {
                return u8::try_from(shared + 1).unwrap_or(bits).min(bits);
            }
        }
        1
    }
}

/// Cuts locators down to the bits that tell them from the others, but for one in a hundred if they are
/// many: an event too many costs less than more bits for all.
pub(super) fn cut(wanted: &mut Wanted, others: &Distinct) {
    let but_for = if wanted.numbers.len() > 1_024 { wanted.numbers.len() / 100 } else { 0 };
    let bits = others.bits(but_for, LOCATOR_BITS).clamp(LEAF_BITS, LOCATOR_BITS);
    wanted.numbers = wanted.numbers.iter().map(|number| number >> (LOCATOR_BITS - bits)).collect();
    wanted.bits = bits;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::endless::{Endless, event_key};
    use super::*;
    use crate::Timestamp;
    use crate::message::Naming;

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
        fn numbers_cut_down_stand_for_no_other_event(
            (mut numbers, mut others) in prop_oneof![
                (numbers(40), numbers(400)), (numbers(2_500), numbers(5_000)), (numbers(3), numbers(5_000)),
            ],
        ) {
            let whole = std::mem::take(&mut numbers);
            others.retain(|other| !whole.contains(other));
            let mut distinct = Distinct::default();
            others.iter().for_each(|other| distinct.note(&whole, *other, LOCATOR_BITS));
            let stretch = Stretch::of(TimeSpan::ALL);
            let mut wanted =
                Wanted { stretch, naming: Naming::Locators, bits: LOCATOR_BITS, numbers: whole.clone(), is_new: false };
            cut(&mut wanted, &distinct);
            let but_for = if whole.len() > 1_024 { whole.len() / 100 } else { 0 };
            let alike = |bits: u8| {
                let cut_down = |number: &u64| number >> (LOCATOR_BITS - bits);
                let numbers: BTreeSet<_> = whole.iter().map(cut_down).collect();
                others.iter().filter(|other| numbers.contains(&cut_down(other))).count()
            };
            prop_assert!(alike(wanted.bits) <= but_for, "{} of {}", alike(wanted.bits), others.len());
            let cut_down: BTreeSet<_> = whole.iter().map(|it| it >> (LOCATOR_BITS - wanted.bits)).collect();
            prop_assert_eq!(&wanted.numbers, &cut_down);
            // Not a bit too many, but for those of the leaf.
            prop_assert!(wanted.bits == LEAF_BITS || alike(wanted.bits - 1) > but_for, "{} bits", wanted.bits);
        }
    }

    #[test]
    fn one_number_more_takes_a_bit_more_at_a_power_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256].map(bits_of), [1, 1, 2, 2, 3, 8, 9]);
    }
}
