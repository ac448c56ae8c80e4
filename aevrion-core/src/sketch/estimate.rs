//! How many differences there are, from the counts of some cells, and how many cells decode so many.
//!
//! Of d differences about d·ρ(i) are in cell i. Those of the two sides count against each other: the difference of the
//! two counts has the mean n·ρ(i), where n is the number of events of the one side less that of the other, and the
//! variance d·ρ(i)(1 − ρ(i)). So each cell gives an estimate of d.
//!
//! A count is known modulo 256, so cells of many differences say nothing: the estimate uses those where the deviation
//! is surely less. And a cell of few differences says little: it weighs less.

use super::Mapping;

/// The largest standard deviation of a usable count: three times this many are less than half of 256.
const LARGEST_DEVIATION: f64 = 40.0;

/// Cells from here on follow ρ(i) closely enough.
const FIRST_INDEX: usize = 4;

/// Rounds of choosing cells by the last estimate. It hardly changes after the second.
const ROUNDS: usize = 4;

/// The number of differences between two sets, from the counts of the first cells of both, as many as both have, and
/// the sizes of the sets. Never less than the difference of the sizes.
///
/// The standard error is about √(2/n) for n cells: 30 % for 32, 10 % for 256, 5 % for 1,024; it is more for fewer than
/// a hundred differences. Few cells cannot tell many differences from even more: 32 cells read a million as 80,000 (if
/// the sizes do not tell), 256 as 400,000, 1,024 as 920,000.
pub fn estimate(
    mapping: Mapping,
    ours: impl IntoIterator<Item = u8>,
    theirs: impl IntoIterator<Item = u8>,
    ours_total: u64,
    theirs_total: u64,
) -> u64 {
    let excess = i128::from(ours_total) - i128::from(theirs_total);
    let least = ours_total.abs_diff(theirs_total);
    let cells: Vec<Sample> = ours
        .into_iter()
        .zip(theirs)
        .enumerate()
        .skip(FIRST_INDEX)
        .map(|(index, (ours, theirs))| {
            Sample::new(mapping.probability(index), ours.wrapping_sub(theirs), excess)
        })
        .collect();
    // The last cells have the fewest differences.
    let rough = weigh(cells.get(cells.len() / 2..).unwrap_or(&[]), 1.0);
    let estimate = (0..ROUNDS).fold(rough, |estimate, _| {
        let usable =
            cells.iter().position(|cell| estimate * cell.variance <= LARGEST_DEVIATION * LARGEST_DEVIATION);
        // With no cell surely usable, the last half is the least bad.
        let from = usable.unwrap_or(cells.len()).min(cells.len() / 2);
        weigh(cells.get(from..).unwrap_or(&[]), estimate)
    });
    least.max(whole(estimate))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a cast saturates")]
fn whole(estimate: f64) -> u64 {
    estimate.round() as u64
}

/// The count of one cell.
struct Sample {
    /// Of the count, for one difference.
    variance: f64,
    /// The square of the count's deviation from its mean.
    square: f64,
}

impl Sample {
    fn new(probability: f64, count: u8, excess: i128) -> Self {
        let mean = excess as f64 * probability;
        // The deviation, known modulo 256, is nearest to zero.
        let offset = f64::from(count) - mean;
        let deviation = offset - (offset / 256.0).round() * 256.0;
        Self { variance: probability * (1.0 - probability), square: deviation * deviation }
    }
}

/// The mean estimate of these cells, each weighed by the inverse of its own variance if there are `assumed` differences.
fn weigh(cells: &[Sample], assumed: f64) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for cell in cells.iter().filter(|cell| cell.variance > 0.0) {
        let weight = 1.0 / (2.0 + 1.0 / (assumed.max(1.0) * cell.variance));
        sum += weight * cell.square / cell.variance;
        weights += weight;
    }
    if weights > 0.0 { sum / weights } else { 0.0 }
}

/// Numbers of differences, and of the irregular cells that decode them in 97 of 100 cases, as measured by
/// `benches/sketch.rs`.
const CELLS: [(u64, u64); 18] = [
    (0, 1),
    (1, 1),
    (2, 8),
    (3, 12),
    (5, 19),
    (10, 35),
    (20, 60),
    (30, 83),
    (50, 117),
    (100, 188),
    (200, 305),
    (300, 418),
    (500, 649),
    (1_000, 1_222),
    (3_000, 3_481),
    (10_000, 11_303),
    (30_000, 33_629),
    (100_000, 111_500),
];

/// The number of irregular cells that decode exactly so many differences in 97 of 100 cases.
pub fn cells_for(differences: u64) -> usize {
    let above = CELLS.partition_point(|(known, _)| *known < differences).clamp(1, CELLS.len() - 1);
    let ((low, low_cells), (high, high_cells)) = (CELLS[above - 1], CELLS[above]);
    // Beyond the last one the line goes on.
    let more = u128::from(differences - low) * u128::from(high_cells - low_cells) / u128::from(high - low);
    usize::try_from(u128::from(low_cells) + more).unwrap_or(usize::MAX)
}

/// The number of irregular counts worth asking for to estimate about so many differences. More counts of a byte each
/// would cost more than the needless cells that a better estimate saves.
pub fn counts_for(differences: u64) -> usize {
    let worth =
        |counts: &usize| (*counts as u128).pow(3) <= (6 * u128::from(differences.min(1 << 32))).pow(2);
    [2_048, 1_024, 512, 256, 128, 64].into_iter().find(|counts| worth(counts)).unwrap_or(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;
    use crate::sketch::{Cells, Locator, decode};

    /// The estimate as a share of the number.
    fn share(mapping: Mapping, cells: usize, ours: usize, theirs: usize, seed: u64) -> f64 {
        let mut random = SplitMix64::new(seed);
        let mut set = |len: usize| {
            let mut set = Cells::new(mapping, cells);
            (0..len)
                .filter_map(|_| Locator::from_value(random.next() >> 16))
                .for_each(|locator| set.insert(locator));
            set
        };
        let counts = (set(ours), set(theirs));
        let (ours, theirs) = (ours as u64, theirs as u64);
        let estimate =
            estimate(mapping, counts.0.counts(), counts.1.counts(), 5_000_000 + ours, 5_000_000 + theirs);
        estimate as f64 / (ours + theirs) as f64
    }

    #[test]
    fn estimates_are_near() {
        // Four standard errors and the bias of few cells.
        for (mapping, cells, ours, theirs, low, high) in [
            (Mapping::Regular, 32, 5, 5, 0.2, 2.5),
            (Mapping::Regular, 32, 500, 500, 0.3, 2.2),
            (Mapping::Irregular, 32, 100, 3_000, 0.3, 2.5),
            (Mapping::Irregular, 256, 500, 500, 0.6, 1.5),
            (Mapping::Irregular, 256, 0, 1_000, 1.0, 1.4),
            (Mapping::Irregular, 1_024, 5_000, 5_000, 0.8, 1.2),
            (Mapping::Irregular, 1_024, 50_000, 50_000, 0.8, 1.25),
            (Mapping::Irregular, 1_024, 100_000, 0, 1.0, 1.2),
        ] {
            for seed in 0..5 {
                let share = share(mapping, cells, ours, theirs, seed);
                assert!((low..=high).contains(&share), "{mapping:?} {cells}: {ours} + {theirs}, {share}");
            }
        }
    }

    #[test]
    fn an_estimate_is_at_least_the_difference_of_the_sizes() {
        assert_eq!(estimate(Mapping::Regular, [], [], 0, u64::MAX), u64::MAX);
        assert_eq!(estimate(Mapping::Irregular, [0; 64], [0; 64], 1_000, 1_000), 0);
        assert!(estimate(Mapping::Irregular, [3; 64], [200; 64], 1_000, 41_000) >= 40_000);
    }

    #[test]
    fn cells_for_differences_decode_them() {
        for differences in [1, 2, 10, 17, 50, 170, 700, 2_000] {
            let cells = cells_for(differences);
            let decodes = |seed: &u64| {
                let mut random = SplitMix64::new(*seed << 20 | differences);
                let mut set = Cells::new(Mapping::Irregular, cells);
                (0..differences)
                    .filter_map(|_| Locator::from_value(random.next() >> 16))
                    .for_each(|locator| set.insert(locator));
                decode(&set).is_ok()
            };
            let decoded = (0..200).filter(decodes).count();
            assert!(decoded >= 188, "{differences} in {cells} cells: {decoded} of 200");
        }
    }

    #[test]
    fn more_differences_take_more_cells_and_counts() {
        let numbers = (0..64).map(|bits| 1_u64 << bits);
        assert!(numbers.clone().map(cells_for).is_sorted());
        assert!(numbers.map(counts_for).is_sorted());
        assert_eq!((cells_for(0), cells_for(10_000)), (1, 11_303));
        assert_eq!([10, 100, 1_000, 10_000, u64::MAX].map(counts_for), [32, 64, 256, 1_024, 2_048]);
    }
}
