//! Sketches: the time of an insert, of a decoding, and the cells that a difference takes.
//!
//! `cargo xtask bench sketch`; with `--cells` also the numbers of cells, which takes minutes.

#![allow(clippy::unwrap_used, reason = "in a benchmark an error is a failure")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures")]

use std::time::{Duration, Instant};

use aevrion_core::EventId;
use aevrion_core::bounds::{KEPT_IRREGULAR, KEPT_REGULAR};
use aevrion_core::sketch::{Cells, Locator, Mapping, SketchKey, decode};

const MAPPINGS: [Mapping; 2] = [Mapping::Regular, Mapping::Irregular];

/// Differences, and the trials with so many.
const TRIALS: [(u64, u64); 11] = [
    (2, 20_000),
    (5, 20_000),
    (10, 20_000),
    (30, 10_000),
    (100, 8_000),
    (200, 4_000),
    (300, 4_000),
    (500, 2_000),
    (1_000, 2_000),
    (3_000, 1_000),
    (10_000, 400),
];

fn locator(number: u64) -> Locator {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    Locator::new(&SketchKey::PUBLIC, number.wrapping_mul(0x9E37_79B9) >> 8, &EventId::from_bytes(id))
}

/// So many differences, one side's and the other's in turn; other ones for each trial.
fn difference(mapping: Mapping, cells: usize, differences: u64, trial: u64) -> Cells {
    let mut difference = Cells::new(mapping, cells);
    for number in 0..differences {
        let locator = locator(trial << 32 | number);
        if number % 2 == 0 { difference.insert(locator) } else { difference.remove(locator) }
    }
    difference
}

/// The median over rounds, so that other work on the machine counts for little.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn inserts() {
    const ROUND: u64 = 1_000;
    let mut regular = Cells::new(Mapping::Regular, KEPT_REGULAR);
    let mut irregular = Cells::new(Mapping::Irregular, KEPT_IRREGULAR);
    let times = (0..1_000).map(|round| {
        let start = Instant::now();
        for number in round * ROUND..(round + 1) * ROUND {
            let locator = locator(number);
            regular.insert(locator);
            irregular.insert(locator);
        }
        start.elapsed() / u32::try_from(ROUND).unwrap()
    });
    println!("an event into {KEPT_REGULAR} and {KEPT_IRREGULAR} cells: {:?}", median(times.collect()));
}

fn decodings() {
    let difference = difference(Mapping::Irregular, 11_500, 10_000, 1);
    let runs = (0..20).map(|_| {
        let start = Instant::now();
        assert_eq!(decode(&difference).unwrap().len(), 10_000);
        start.elapsed()
    });
    println!("10,000 differences out of 11,500 cells: {:?}", median(runs.collect()));
}

fn first_cells() {
    for differences in [10, 20] {
        for cells in 30..=32 {
            let decodes =
                |trial: &u64| decode(&difference(Mapping::Regular, cells, differences, *trial)).is_ok();
            let decoded = (0..20_000).filter(decodes).count();
            println!("{differences} differences, {cells} regular cells: {decoded} of 20,000 decode");
        }
    }
}

/// The least cells that decode the differences of this trial.
fn least_cells(mapping: Mapping, differences: u64, trial: u64) -> usize {
    let (mut few, mut enough) = (0, usize::try_from(differences).unwrap() * 3 + 60);
    let all = difference(mapping, enough, differences, trial);
    while enough - few > 1 {
        let middle = few.midpoint(enough);
        if decode(&all.first(middle)).is_ok() {
            enough = middle;
        } else {
            few = middle;
        }
    }
    enough
}

fn cells() {
    for (differences, trials) in TRIALS {
        for mapping in MAPPINGS {
            let mut cells: Vec<_> =
                (0..trials).map(|trial| least_cells(mapping, differences, trial)).collect();
            cells.sort_unstable();
            let mean = cells.iter().sum::<usize>() as f64 / cells.len() as f64 / differences as f64;
            let (most, nearly_all) = (cells[cells.len() * 97 / 100], cells[cells.len() * 99 / 100]);
            println!(
                "{differences} {mapping:?}: {mean:.3} each on average, 97 %: {most}, 99 %: {nearly_all}"
            );
        }
    }
}

fn main() {
    inserts();
    decodings();
    first_cells();
    if std::env::args().any(|argument| argument == "--cells") {
        cells();
    }
}
