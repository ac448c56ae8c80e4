//! Peeling: from the cells of a difference to its locators.
//!
//! A cell that holds one locator shows it. Without that locator other cells may be left with one, and so on; with
//! enough cells until all are empty. A cell looks as if it held one locator when the count is 1 or −1, the check is
//! that of the sum, and the sum maps to this cell. Once in some thousand decodings of many differences a cell of
//! several locators does, too. The false locator then stands in all its cells. When the true ones are found, it shows
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

/// The locators that the cells of a difference (ours less theirs) hold. Cost: some 400 ns a locator.
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
    use super::*;
    use crate::random::SplitMix64;

    fn locators(seed: u64, len: usize) -> Vec<Locator> {
        let mut random = SplitMix64::new(seed);
        let mut locators: Vec<_> =
            (0..len).filter_map(|_| Locator::from_value(random.next() >> 16)).collect();
        locators.sort();
        locators
    }

    fn cells(mapping: Mapping, len: usize, locators: &[Locator]) -> Cells {
        let mut cells = Cells::new(mapping, len);
        locators.iter().for_each(|locator| cells.insert(*locator));
        cells
    }

    #[test]
    fn the_cells_show_what_differs() {
        for mapping in [Mapping::Regular, Mapping::Irregular] {
            let (both, ours, theirs) = (locators(1, 5_000), locators(2, 300), locators(3, 700));
            let mut difference = cells(mapping, 1_600, &[&both[..], &ours].concat());
            difference.subtract(&cells(mapping, 1_600, &[&both[..], &theirs].concat())).unwrap();
            assert_eq!(decode(&difference), Ok(Difference { ours, theirs }));
        }
    }
}
