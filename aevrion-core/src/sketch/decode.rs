//! Peeling: from the cells of a difference to its locators.
//!
//! A cell that holds one locator shows it. Without that locator other cells may be left with one, and so on; with
//! enough cells until all are empty. A cell looks as if it held one locator when the count is 1 or −1, the check is
//! that of the sum, and the sum maps to this cell. Now and then a cell of several locators does, too. The false locator then stands in all its cells. When the true ones are found, it shows
//! itself in these cells with the opposite sign and goes the same way; so both are taken from the result.
//!
//! The cells come from a neighbour. Whatever they hold, a decoding takes out no more locators than there are cells.

use std::collections::VecDeque;

use thiserror::Error;

use super::cells::{Cell, Cells, CellsDiffer};
use super::{Locator, Mapping};

/// The locators of one side that the other one lacks, each list ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// On the side whose cells were subtracted from.
    pub ours: Vec<Locator>,
    /// On the side whose cells were subtracted.
    pub theirs: Vec<Locator>,
}

impl Difference {
    /// The number of locators.
    pub fn len(&self) -> usize {
        self.ours.len() + self.theirs.len()
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Cells that do not show all their locators: there are too few of them, one side has two events of one locator, or the
/// cells are false.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{left} cells hold locators that they do not show; {} were found", found.len())]
pub struct Undecodable {
    /// The number of cells that are not empty.
    pub left: usize,
    /// The locators found. Some few may be false.
    pub found: Difference,
}

/// The locators that the cells of a difference (ours less theirs) hold. Cost: some 500 ns a locator.
///
/// # Errors
/// If the cells do not show them all.
pub fn decode(difference: &Cells) -> Result<Difference, Undecodable> {
    let mut decoder = Decoder::new(difference.mapping());
    // Cells from a later index on show nothing.
    let added = decoder.add(difference.clone());
    let undecodable = |_| Undecodable { left: difference.len(), found: Difference::default() };
    added.map_err(undecodable).and_then(|()| decoder.decode())
}

/// Decodes a difference that comes in parts: [`Decoder::add`] the first cells, [`Decoder::decode`]; if they are too
/// few, add those that follow, and so on.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// The cells of the difference without the locators found.
    cells: Cells,
    found: Difference,
}

/// The side that holds a locator and the other lacks.
#[derive(Debug, Clone, Copy)]
enum Side {
    Ours,
    Theirs,
}

impl Decoder {
    /// A decoder without cells.
    pub fn new(mapping: Mapping) -> Self {
        Self { cells: Cells::new(mapping, 0), found: Difference::default() }
    }

    /// The number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are no cells yet.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Adds the next cells of the difference.
    ///
    /// # Errors
    /// If these are not the cells after the ones added before. Nothing changes then.
    pub fn add(&mut self, mut difference: Cells) -> Result<(), CellsDiffer> {
        if (difference.mapping(), difference.from()) != (self.cells.mapping(), self.len()) {
            return Err(CellsDiffer);
        }
        self.found.ours.iter().for_each(|locator| difference.remove(*locator));
        self.found.theirs.iter().for_each(|locator| difference.insert(*locator));
        self.cells.extend(&difference)
    }

    /// The whole difference.
    ///
    /// # Errors
    /// If the cells do not show it; then more cells may.
    pub fn decode(&mut self) -> Result<Difference, Undecodable> {
        self.peel();
        self.settle();
        let left = self.cells.iter().filter(|cell| !cell.is_empty()).count();
        if left == 0 { Ok(self.found.clone()) } else { Err(Undecodable { left, found: self.found.clone() }) }
    }

    fn peel(&mut self) {
        let mapping = self.cells.mapping();
        let mut candidates: VecDeque<usize> =
            (0..self.len()).filter(|index| single(self.cells.get(*index)).is_some()).collect();
        let mut waits = vec![false; self.len()];
        candidates.iter().for_each(|index| waits[*index] = true);
        let mut budget = self.len();
        // First in, first out: a cell of many locators has changed by its turn, if it was only by chance like a cell
        // of one.
        while let Some(index) = candidates.pop_front() {
            waits[index] = false;
            let Some((locator, side)) = single(self.cells.get(index)) else { continue };
            if mapping.indexes(locator).find(|mapped| *mapped >= index) != Some(index) {
                continue;
            }
            if budget == 0 {
                break;
            }
            budget -= 1;
            let contents = Cell::contents(locator);
            self.cells.each_of(locator, |index, cell| {
                match side {
                    Side::Ours => cell.remove(contents),
                    Side::Theirs => cell.insert(contents),
                }
                if !waits[index] && single(*cell).is_some() {
                    waits[index] = true;
                    candidates.push_back(index);
                }
            });
            match side {
                Side::Ours => self.found.ours.push(locator),
                Side::Theirs => self.found.theirs.push(locator),
            }
        }
    }

    /// Sorts what was found, and takes out locators found on both sides. One found twice on one side is no difference
    /// of two sets: it goes back into the cells.
    fn settle(&mut self) {
        let Difference { mut ours, mut theirs } = std::mem::take(&mut self.found);
        ours.sort_unstable();
        theirs.sort_unstable();
        let mut theirs = theirs.into_iter().peekable();
        for locator in ours {
            while let Some(other) = theirs.next_if(|other| *other < locator) {
                self.keep(other, Side::Theirs);
            }
            if theirs.next_if_eq(&locator).is_none() {
                self.keep(locator, Side::Ours);
            }
        }
        theirs.for_each(|locator| self.keep(locator, Side::Theirs));
    }

    fn keep(&mut self, locator: Locator, side: Side) {
        let found = match side {
            Side::Ours => &mut self.found.ours,
            Side::Theirs => &mut self.found.theirs,
        };
        if found.last() != Some(&locator) {
            found.push(locator);
            return;
        }
        match side {
            Side::Ours => self.cells.insert(locator),
            Side::Theirs => self.cells.remove(locator),
        }
    }
}

/// The locator of a cell that looks as if it held just one, its mapping aside.
fn single(cell: Cell) -> Option<(Locator, Side)> {
    let side = match cell.count() {
        1 => Side::Ours,
        u8::MAX => Side::Theirs,
        _ => return None,
    };
    let locator = Locator::from_value(cell.sum())?;
    (locator.mix().check == cell.check()).then_some((locator, side))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::random::SplitMix64;

    const MAPPINGS: [Mapping; 2] = [Mapping::Regular, Mapping::Irregular];

    fn locators(seed: u64, len: usize) -> Vec<Locator> {
        let mut random = SplitMix64::new(seed);
        let mut locators: Vec<_> =
            (0..len).filter_map(|_| Locator::from_value(random.next() >> 16)).collect();
        locators.sort();
        locators
    }

    fn cells<'l>(mapping: Mapping, len: usize, locators: impl IntoIterator<Item = &'l Locator>) -> Cells {
        let mut cells = Cells::new(mapping, len);
        locators.into_iter().for_each(|locator| cells.insert(*locator));
        cells
    }

    fn less(mut ours: Cells, theirs: &Cells) -> Cells {
        ours.subtract(theirs).unwrap();
        ours
    }

    #[test]
    fn the_cells_show_what_differs() {
        for mapping in MAPPINGS {
            let (both, ours, theirs) = (locators(1, 5_000), locators(2, 300), locators(3, 700));
            let difference = less(
                cells(mapping, 1_600, both.iter().chain(&ours)),
                &cells(mapping, 1_600, both.iter().chain(&theirs)),
            );
            assert_eq!(decode(&difference), Ok(Difference { ours, theirs }));
        }
    }

    #[test]
    fn more_cells_show_what_few_do_not() {
        for mapping in MAPPINGS {
            let (ours, theirs) = (locators(2, 400), locators(3, 600));
            let difference = less(cells(mapping, 1_600, &ours), &cells(mapping, 1_600, &theirs));
            let mut decoder = Decoder::new(mapping);
            let mut failures = 0;
            let found = loop {
                let next = difference.after(decoder.len()).first(100);
                assert!(!next.is_empty());
                decoder.add(next).unwrap();
                match decoder.decode() {
                    Ok(found) => break found,
                    Err(Undecodable { left, .. }) => {
                        assert!(left > 0);
                        failures += 1;
                    }
                }
            };
            assert_eq!(found, Difference { ours, theirs });
            assert!(failures > 5);
        }
    }

    #[test]
    fn only_the_next_cells_are_added() {
        let mut decoder = Decoder::new(Mapping::Regular);
        assert_eq!(decoder.add(Cells::part(Mapping::Regular, 1..4)), Err(CellsDiffer));
        assert_eq!(decoder.add(Cells::new(Mapping::Irregular, 4)), Err(CellsDiffer));
        assert_eq!(decoder.len(), 0);
        assert!(decode(&Cells::part(Mapping::Regular, 1..4)).is_err());
    }

    #[test]
    fn two_events_of_one_locator_are_no_success() {
        for mapping in MAPPINGS {
            let mut difference = cells(mapping, 64, &locators(2, 10));
            let twice = Locator::from_value(77).unwrap();
            difference.insert(twice);
            difference.insert(twice);
            let undecodable = decode(&difference).unwrap_err();
            assert_eq!(undecodable.found.ours, locators(2, 10));
            assert_eq!(undecodable.left, mapping.indexes(twice).take_while(|index| *index < 64).count());
        }
    }

    /// A cell that shows a locator which the others do not hold.
    #[test]
    fn contradictory_cells_end() {
        for mapping in MAPPINGS {
            let mut bytes = Cells::new(mapping, 64).to_bytes();
            bytes[..8].copy_from_slice(&cells(mapping, 1, &locators(2, 1)).to_bytes());
            let undecodable = decode(&Cells::from_bytes(mapping, 0, &bytes).unwrap()).unwrap_err();
            assert!(undecodable.left > 0 && undecodable.found.len() <= 1);
        }
    }

    /// Each cell shows a locator of its own.
    #[test]
    fn cells_without_sense_end() {
        for mapping in MAPPINGS {
            for seed in 0..20 {
                let singles = locators(seed, 500).into_iter().enumerate();
                let bytes: Vec<u8> = singles
                    .flat_map(|(at, locator)| {
                        let mut cell = Cell::default();
                        if at % 3 == 0 {
                            cell.remove(Cell::contents(locator));
                        } else {
                            cell.insert(Cell::contents(locator));
                        }
                        cell.to_bytes()
                    })
                    .collect();
                let undecodable = decode(&Cells::from_bytes(mapping, 0, &bytes).unwrap()).unwrap_err();
                assert!(undecodable.left > 0 && undecodable.found.len() <= 500);
            }
        }
    }

    proptest! {
        #[test]
        fn a_decoded_difference_is_the_symmetric_difference(
            ours in proptest::collection::btree_set(0_u64..1 << 48, 0..60),
            theirs in proptest::collection::btree_set(0_u64..1 << 48, 0..60),
            both in proptest::collection::btree_set(0_u64..1 << 48, 0..200),
            len in 1_usize..400,
            parts in 1_usize..400,
        ) {
            let set = |values: &BTreeSet<u64>| -> BTreeSet<Locator> {
                values.union(&both).filter_map(|value| Locator::from_value(*value)).collect()
            };
            let (ours, theirs) = (set(&ours), set(&theirs));
            let expected = Difference {
                ours: ours.difference(&theirs).copied().collect(),
                theirs: theirs.difference(&ours).copied().collect(),
            };
            for mapping in MAPPINGS {
                let difference = less(cells(mapping, len, &ours), &cells(mapping, len, &theirs));
                let whole = decode(&difference);
                match &whole {
                    Ok(found) => prop_assert_eq!(found, &expected),
                    // With the first cell empty nothing differs; else there were too few cells.
                    Err(Undecodable { left, .. }) => {
                        prop_assert!(*left > 0 && len < 8 * expected.len() + 60, "{:?}", whole);
                    }
                }
                let mut decoder = Decoder::new(mapping);
                let mut topped_up = decoder.decode();
                while decoder.len() < len {
                    decoder.add(difference.after(decoder.len()).first(parts)).unwrap();
                    topped_up = decoder.decode();
                }
                prop_assert_eq!(topped_up.ok(), whole.ok());
            }
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), counts in any::<bool>()) {
            let mut bytes = bytes;
            bytes.truncate(bytes.len() / 8 * 8);
            if counts {
                bytes.iter_mut().skip(7).step_by(8).for_each(|count| *count = if *count < 128 { 1 } else { 255 });
            }
            for mapping in MAPPINGS {
                let difference = Cells::from_bytes(mapping, 0, &bytes).unwrap();
                match decode(&difference) {
                    Ok(Difference { ours, theirs }) => {
                        let again = less(cells(mapping, difference.len(), &ours), &cells(mapping, difference.len(), &theirs));
                        prop_assert_eq!(again, difference);
                    }
                    Err(Undecodable { left, found }) => {
                        prop_assert!(left > 0 && found.len() <= difference.len());
                    }
                }
            }
        }
    }
}
