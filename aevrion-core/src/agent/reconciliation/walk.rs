//! Walks over this side's events: those of a stretch, or those that locators may stand for.

use std::collections::BTreeSet;

use super::differing;
use crate::agent::ReplicaView;
use crate::bounds::{LOCATOR_HASH_BITS, LOCATOR_LEAF_BITS, SCAN_PAGE};
use crate::message::{Naming, Stretch};
use crate::sketch::{Locator, SketchKey, short_id};
use crate::tree::{LEVELS, NodePosition, Shape};
use crate::{EventKey, ReadError, TimeSpan};

/// Event keys in the first page of a walk. If the first event fills an answer, no more are read.
const FIRST_PAGE: usize = SCAN_PAGE / 16;

/// Bits of a locator that tell its leaf.
#[expect(clippy::cast_possible_truncation, reason = "they are 20")]
pub(super) const LEAF_BITS: u8 = LOCATOR_LEAF_BITS as u8;

/// Bits of a whole locator.
#[expect(clippy::cast_possible_truncation, reason = "they are 48")]
pub(super) const LOCATOR_BITS: u8 = (LOCATOR_LEAF_BITS + LOCATOR_HASH_BITS) as u8;

/// Leaves that are visited one by one for the locators of a list. For more of them all of the stretch is read.
const LEAVES: u64 = 1 << 18;

/// The key of the short ids of a list with this salt.
fn key_of([a, b, c, d, e, f, g, h]: [u8; 8]) -> SketchKey {
    SketchKey::from_bytes([a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h])
}

/// The numbers that stand for events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namer {
    shape: Shape,
    key: SketchKey,
    naming: Naming,
    bits: u8,
}

impl Namer {
    /// Numbers of `bits`. Locators are under the `cluster` key.
    pub(super) fn new(shape: Shape, cluster: SketchKey, naming: Naming, bits: u8) -> Self {
        let key = match naming {
            Naming::Locators => cluster,
            Naming::Short(salt) => key_of(salt),
        };
        Self { shape, key, naming, bits }
    }

    /// The number of an event.
    pub(super) fn number(&self, event_key: EventKey) -> u64 {
        match self.naming {
            Naming::Locators => {
                let leaf = self.shape.node_at(0, event_key.timestamp).index;
                let locator = Locator::new(&self.key, leaf, &event_key.id);
                locator.value() >> LOCATOR_BITS.saturating_sub(self.bits)
            }
            Naming::Short(_) => short_id(&self.key, &event_key.id, self.bits),
        }
    }

    /// The numbers of leaves, modulo 2²⁰, that locators stand for; `None` if the numbers do not tell.
    fn leaves(&self, numbers: &BTreeSet<u64>) -> Option<BTreeSet<u64>> {
        let hash_bits = u32::from(self.bits).checked_sub(LOCATOR_LEAF_BITS)?;
        let leaves = || numbers.iter().map(|number| number.checked_shr(hash_bits).unwrap_or(0)).collect();
        matches!(self.naming, Naming::Locators).then(leaves)
    }
}

/// The event keys of a stretch, latest first, a page at a time.
pub(super) struct EventKeys {
    stretch: Stretch,
    before: Option<EventKey>,
    page: usize,
    is_over: bool,
}

impl EventKeys {
    pub(super) fn of(stretch: Stretch) -> Self {
        // An end beyond the span is none.
        let before = stretch.before.filter(|before| before.timestamp <= stretch.span.last());
        Self { stretch, before, page: FIRST_PAGE, is_over: false }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self, view: &impl ReplicaView) -> Result<Option<Vec<EventKey>>, ReadError> {
        if self.is_over {
            return Ok(None);
        }
        let mut page = view.event_keys(self.stretch.span, self.before, self.page).await?;
        self.is_over = page.len() < self.page;
        self.page = SCAN_PAGE.min(self.page * 4);
        self.before = page.last().copied().or(self.before);
        if let Some(from) = self.stretch.from {
            let within = page.partition_point(|event_key| *event_key >= from);
            self.is_over |= within < page.len();
            page.truncate(within);
        }
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

/// This side's events that the numbers of a list may stand for, latest first, a page at a time.
pub(super) struct Named {
    /// The walks that are left, in turn.
    parts: std::vec::IntoIter<Stretch>,
    current: Option<EventKeys>,
}

impl Named {
    /// A walk over the events of `stretch`, or of the leaves alone that the numbers stand for.
    pub(super) async fn of(
        stretch: Stretch,
        namer: &Namer,
        numbers: &BTreeSet<u64>,
        view: &impl ReplicaView,
    ) -> Result<Self, ReadError> {
        let parts = match namer.leaves(numbers) {
            None => vec![stretch],
            Some(leaves) => leaves_within(stretch, namer.shape, &leaves, view).await?,
        };
        Ok(Self { parts: parts.into_iter(), current: None })
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self, view: &impl ReplicaView) -> Result<Option<Vec<EventKey>>, ReadError> {
        loop {
            if let Some(current) = &mut self.current
                && let Some(page) = current.next(view).await?
            {
                return Ok(Some(page));
            }
            let Some(part) = self.parts.next() else { return Ok(None) };
            self.current = Some(EventKeys::of(part));
        }
    }
}

/// The leaves of a stretch with these numbers, modulo 2²⁰, that hold events, latest first; all of the stretch if there
/// are too many of them.
async fn leaves_within(
    stretch: Stretch,
    shape: Shape,
    numbers: &BTreeSet<u64>,
    view: &impl ReplicaView,
) -> Result<Vec<Stretch>, ReadError> {
    const ROUND: u64 = 1 << LOCATOR_LEAF_BITS;
    let span = stretch.span;
    let digest = view.digest(span).await?.answer.1;
    let nodes = differing::of_digest(&digest);
    let times = || nodes.keys().map(|node| shape.time_of(*node));
    let (Some(first), Some(last)) = (times().map(TimeSpan::first).min(), times().map(TimeSpan::last).max())
    else {
        return Ok(Vec::new());
    };
    // A digest that leaves something out says nothing of the time before.
    let (_, untold) = differing::known(shape, span, &digest, &digest);
    let first = if untold.is_some() { span.first() } else { first.max(span.first()) };
    let leaf = |moment| shape.node_at(0, moment).index;
    let (first, last) = (leaf(first), leaf(last.min(span.last())));
    let holds = |leaf: u64| {
        untold.is_some_and(|untold| {
            shape.time_of(NodePosition { level: 0, index: leaf }).intersection(untold).is_some()
        }) || (0..LEVELS).any(|level| {
            let index = leaf / shape.branching().pow(u32::from(level));
            nodes.contains_key(&NodePosition { level, index })
        })
    };
    let rounds = last / ROUND - first / ROUND + 1;
    if rounds.saturating_mul(numbers.len() as u64) > LEAVES {
        return Ok(vec![stretch]);
    }
    let mut leaves = Vec::new();
    for round in first / ROUND..=last / ROUND {
        let of_round = numbers.iter().map(|number| round * ROUND + number);
        leaves.extend(of_round.filter(|leaf| (first..=last).contains(leaf) && holds(*leaf)));
    }
    let part = |leaf: &u64| {
        let time = shape.time_of(NodePosition { level: 0, index: *leaf });
        Some(Stretch { span: time.intersection(span)?, ..stretch })
    };
    Ok(leaves.iter().rev().filter_map(part).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::endless::{Endless, event_key};
    use super::*;
    use crate::store::{Durability, MemoryStore};
    use crate::{Event, Options, ParameterOverrides, Parameters, Replica, Timestamp, Value};

    fn span(first: u64, last: u64) -> TimeSpan {
        TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap()
    }

    async fn all_of(mut keys: EventKeys, view: &Endless) -> Vec<EventKey> {
        let mut all = Vec::new();
        while let Some(page) = keys.next(view).await.unwrap() {
            all.extend(page);
        }
        all
    }

    /// One event in each millisecond, in stretches that begin and end anywhere.
    #[tokio::test]
    async fn a_walk_yields_exactly_the_events_of_a_stretch() {
        let most = SCAN_PAGE as u64 * 3;
        for (first, last) in [(0, most), (0, most - 1), (5_000, 5_000), (7, 262), (7, 263)] {
            for from in [None, Some(0), Some(first), Some(first + 9), Some(last), Some(last + 1)] {
                for before in [None, Some(first), Some(first + 300), Some(last), Some(last + 1)] {
                    let (from, before) = (from.map(event_key), before.map(event_key));
                    let stretch = Stretch { span: span(first, last), from, before };
                    let walked = all_of(EventKeys::of(stretch), &Endless::default()).await;
                    let all = (first..=last).rev().map(event_key);
                    let expected: Vec<_> = all.filter(|event_key| stretch.contains(*event_key)).collect();
                    assert_eq!(walked.len(), expected.len(), "{stretch:?}");
                    assert_eq!(walked, expected);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_walk_reads_little_beyond_what_is_taken() {
        let view = Endless::default();
        let mut keys = EventKeys::of(Stretch::of(span(0, 1 << 40)));
        keys.next(&view).await.unwrap();
        assert!(view.looked_at() <= FIRST_PAGE, "{}", view.looked_at());
    }

    async fn replica(granularity: u64, times: &[u64]) -> Replica {
        let parameters = ParameterOverrides::default().granularity(granularity);
        let options = Options::default().parameters(parameters).joins();
        let replica = Replica::open(MemoryStore::new(), options).await.unwrap();
        let event = |(number, ms): (usize, &u64)| {
            Event::new(format!("{number}").into(), Value::Deletion, Timestamp::from_millis(*ms)).unwrap()
        };
        let events = times.iter().enumerate().map(event).collect();
        replica.insert(events, Durability::Immediate).await.unwrap();
        replica
    }

    /// Times near each other, in leaves of the same number modulo 2²⁰, and far from each other.
    fn time() -> impl Strategy<Value = u64> {
        let round = 1_u64 << LOCATOR_LEAF_BITS;
        prop_oneof![
            0..2_000_u64,
            (0..4_u64, 0..3_u64).prop_map(move |(rounds, ms)| rounds * round + ms),
            (0..4_u64, 0..120_000_u64).prop_map(move |(rounds, ms)| rounds * round * 60_000 + ms),
            1_700_000_000_000..1_700_000_200_000_u64,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn named_events_are_found_once_and_latest_first(
            is_fine in any::<bool>(),
            times in prop::collection::vec((time(), any::<bool>()), 1..60),
            bits in 18..=LOCATOR_BITS,
            ends in (time(), time()),
            is_all in any::<bool>(),
            cut in (prop::option::of(any::<prop::sample::Index>()), prop::option::of(any::<prop::sample::Index>())),
        ) {
            let granularity = if is_fine { 1 } else { 60_000 };
            let shape = Shape::new(&Parameters { granularity, ..Parameters::default() });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let all_times: Vec<_> = times.iter().map(|(ms, _)| *ms).collect();
                let replica = replica(granularity, &all_times).await;
                let all = ReplicaView::event_keys(&replica, TimeSpan::ALL, None, 1_000).await.unwrap();
                let namer = Namer::new(shape, replica.sketch_key(), Naming::Locators, bits);
                let chosen = all.iter().zip(&times).filter(|(_, (_, is_chosen))| *is_chosen);
                let numbers: BTreeSet<_> = chosen.map(|(event_key, _)| namer.number(*event_key)).collect();
                let span = if is_all { TimeSpan::ALL } else { span(ends.0.min(ends.1), ends.0.max(ends.1)) };
                let place = |index: Option<prop::sample::Index>| index.map(|index| *index.get(&all));
                let stretch = Stretch { span, from: place(cut.0), before: place(cut.1) };
                let mut walk = Named::of(stretch, &namer, &numbers, &replica).await.unwrap();
                let mut found = Vec::new();
                while let Some(page) = walk.next(&replica).await.unwrap() {
                    found.extend(page.into_iter().filter(|event_key| numbers.contains(&namer.number(*event_key))));
                }
                let is_named = |event_key: &&EventKey| {
                    stretch.contains(**event_key) && numbers.contains(&namer.number(**event_key))
                };
                let expected: Vec<_> = all.iter().filter(is_named).copied().collect();
                assert!(found == expected, "{stretch:?}: {} found, {} there", found.len(), expected.len());
                replica.close().await.unwrap();
            });
        }
    }

    /// Few leaves are read for few locators, however many events there are.
    #[tokio::test]
    async fn only_the_leaves_of_locators_are_read() {
        let times: Vec<_> = (0..200_u64).flat_map(|leaf| (0..5).map(move |ms| leaf * 60_000 + ms)).collect();
        let replica = replica(60_000, &times).await;
        let shape = Shape::new(&Parameters::default());
        let namer = Namer::new(shape, replica.sketch_key(), Naming::Locators, LOCATOR_BITS);
        let all = ReplicaView::event_keys(&replica, TimeSpan::ALL, None, 2_000).await.unwrap();
        let numbers = [all[7], all[503]].map(|event_key| namer.number(event_key)).into_iter().collect();
        let mut walk = Named::of(Stretch::of(TimeSpan::ALL), &namer, &numbers, &replica).await.unwrap();
        let mut read = 0;
        while let Some(page) = walk.next(&replica).await.unwrap() {
            read += page.len();
        }
        assert_eq!(read, 10, "five events in each of two leaves");
    }
}
