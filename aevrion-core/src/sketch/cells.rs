//! Cells, and runs of them.

use std::ops::Range;

use thiserror::Error;

use super::{Locator, Mapping};
use crate::bounds::{CELL_BYTES, CELL_INDEXES};

const COUNT_UNIT: u64 = 1 << 56;
const CONTENTS: u64 = COUNT_UNIT - 1;

/// The locators of one cell, summed up: the XOR of the locators (48 bits), the XOR of their checks (8 bits), their
/// number modulo 256. In a difference the number is that of ours less that of theirs.
///
/// In memory the count is the highest byte, so that an addition to it leaves the rest alone; the check is the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell(u64);

impl Cell {
    /// The XOR of the locators, as if it were one.
    pub const fn sum(self) -> u64 {
        (self.0 & CONTENTS) >> 8
    }

    /// The XOR of the checks of the locators.
    pub const fn check(self) -> u8 {
        self.0.to_be_bytes()[7]
    }

    /// The number of locators, modulo 256.
    pub const fn count(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Whether this is a cell without locators.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Sum, check, count.
    pub const fn to_bytes(self) -> [u8; CELL_BYTES] {
        self.0.rotate_left(8).to_be_bytes()
    }

    /// The cell with these bytes; all bytes are one.
    pub const fn from_bytes(bytes: [u8; CELL_BYTES]) -> Self {
        Self(u64::from_be_bytes(bytes).rotate_right(8))
    }

    /// Sum and check of one locator.
    pub(super) fn contents(locator: Locator) -> u64 {
        locator.value() << 8 | u64::from(locator.mix().check)
    }

    pub(super) fn insert(&mut self, contents: u64) {
        self.0 = (self.0 ^ contents).wrapping_add(COUNT_UNIT);
    }

    pub(super) fn remove(&mut self, contents: u64) {
        self.0 = (self.0 ^ contents).wrapping_sub(COUNT_UNIT);
    }

    fn add(&mut self, other: Self) {
        self.0 = (self.0 ^ (other.0 & CONTENTS)).wrapping_add(other.0 & !CONTENTS);
    }

    fn subtract(&mut self, other: Self) {
        self.0 = (self.0 ^ (other.0 & CONTENTS)).wrapping_sub(other.0 & !CONTENTS);
    }
}

/// Bytes that are no run of cells.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MalformedCells {
    /// The last cell is cut off.
    #[error("{0} bytes are no whole number of cells")]
    CutOff(usize),
    /// Cells beyond the last index.
    #[error("there are no {len} cells from index {from} on")]
    TooMany {
        /// The index of the first cell.
        from: usize,
        /// The number of cells.
        len: usize,
    },
}

/// Two runs of cells that do not fit together: another mapping, index or length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the runs of cells do not fit together")]
pub struct CellsDiffer;

/// A run of cells of a set of locators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    mapping: Mapping,
    from: usize,
    cells: Vec<Cell>,
}

impl Cells {
    /// The first `len` cells of the empty set.
    pub fn new(mapping: Mapping, len: usize) -> Self {
        Self::part(mapping, 0..len)
    }

    /// The cells of the empty set in a range of indexes.
    pub fn part(mapping: Mapping, range: Range<usize>) -> Self {
        Self { mapping, from: range.start, cells: vec![Cell::default(); range.len()] }
    }

    /// The mapping.
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// The index of the first cell.
    pub fn from(&self) -> usize {
        self.from
    }

    /// The number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The cells, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Cell> + '_ {
        self.cells.iter().copied()
    }

    /// The counts of the cells, in order.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        self.iter().map(Cell::count)
    }

    /// Adds a locator to the set. Cost: some 150 ns for 16,384 cells.
    pub fn insert(&mut self, locator: Locator) {
        let contents = Cell::contents(locator);
        self.each_of(locator, |_, cell| cell.insert(contents));
    }

    /// Takes a locator from the set. Cost: as of [`Cells::insert`].
    pub fn remove(&mut self, locator: Locator) {
        let contents = Cell::contents(locator);
        self.each_of(locator, |_, cell| cell.remove(contents));
    }

    /// The first cells, as many of `len` as there are.
    pub fn first(&self, len: usize) -> Self {
        Self { cells: self.cells.iter().take(len).copied().collect(), ..*self }
    }

    /// The cells after the first `len`.
    pub fn after(&self, len: usize) -> Self {
        let cells = self.cells.iter().skip(len).copied().collect();
        Self { mapping: self.mapping, from: self.from + len.min(self.len()), cells }
    }

    /// The cells with these indexes, as many as there are.
    pub fn within(&self, range: Range<usize>) -> Self {
        let (first, end) = (self.from.max(range.start), self.from + self.len());
        self.after(first.min(end) - self.from).first(end.min(range.end).saturating_sub(first))
    }

    /// Appends the cells that follow these.
    ///
    /// # Errors
    /// If `later` does not begin where these end. Nothing changes then.
    pub fn extend(&mut self, later: &Self) -> Result<(), CellsDiffer> {
        if (later.mapping, later.from) != (self.mapping, self.from + self.len()) {
            return Err(CellsDiffer);
        }
        self.cells.extend_from_slice(&later.cells);
        Ok(())
    }

    /// Leaves the cells of the difference: the locators of this set count 1, those of the other −1, those of both are
    /// gone.
    ///
    /// # Errors
    /// If the two are not the same cells. Nothing changes then.
    pub fn subtract(&mut self, other: &Self) -> Result<(), CellsDiffer> {
        if (other.mapping, other.from, other.len()) != (self.mapping, self.from, self.len()) {
            return Err(CellsDiffer);
        }
        self.cells.iter_mut().zip(&other.cells).for_each(|(cell, other)| cell.subtract(*other));
        Ok(())
    }

    /// Undoes [`Cells::subtract`]: a difference is added to the set that it leads to.
    ///
    /// # Errors
    /// As [`Cells::subtract`].
    pub fn add(&mut self, difference: &Self) -> Result<(), CellsDiffer> {
        if (difference.mapping, difference.from, difference.len()) != (self.mapping, self.from, self.len()) {
            return Err(CellsDiffer);
        }
        self.cells.iter_mut().zip(&difference.cells).for_each(|(cell, other)| cell.add(*other));
        Ok(())
    }

    /// The cells as bytes, eight each: the sum of 48 bits, big-endian, the check, the count.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.cells.iter().flat_map(|cell| cell.to_bytes()).collect()
    }

    /// The cells of these bytes, from the index `from` on. Any bytes of the right number are cells.
    ///
    /// # Errors
    /// If a cell is cut off, or beyond the last index.
    pub fn from_bytes(mapping: Mapping, from: usize, bytes: &[u8]) -> Result<Self, MalformedCells> {
        let (cells, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(MalformedCells::CutOff(bytes.len()));
        }
        let len = cells.len();
        if from.checked_add(len).is_none_or(|end| end as u64 > CELL_INDEXES) {
            return Err(MalformedCells::TooMany { from, len });
        }
        Ok(Self { mapping, from, cells: cells.iter().map(|cell| Cell::from_bytes(*cell)).collect() })
    }

    pub(super) fn get(&self, index: usize) -> Cell {
        index.checked_sub(self.from).and_then(|at| self.cells.get(at)).copied().unwrap_or_default()
    }

    /// Changes each cell that the locator belongs to.
    #[inline]
    pub(super) fn each_of(&mut self, locator: Locator, mut change: impl FnMut(usize, &mut Cell)) {
        let end = self.from + self.cells.len();
        for index in self.mapping.indexes(locator).take_while(|index| *index < end) {
            if let Some(cell) = index.checked_sub(self.from).and_then(|at| self.cells.get_mut(at)) {
                change(index, cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn locator(value: u64) -> Locator {
        Locator::from_value(value).unwrap()
    }

    fn of(mapping: Mapping, range: Range<usize>, locators: &[u64]) -> Cells {
        let mut cells = Cells::part(mapping, range);
        locators.iter().for_each(|value| cells.insert(locator(*value)));
        cells
    }

    #[test]
    fn bytes_are_pinned() {
        let cells = of(Mapping::Irregular, 0..6, &[6, 7, 0x0123_4567_89AB]);
        assert_eq!(
            hex::encode(cells.to_bytes()),
            "0123456789aaf9030123456789ad9a020123456789ab27010123456789ab270100000000000000000000000000000000"
        );
        let mut less = Cells::new(Mapping::Irregular, 1);
        less.remove(locator(1));
        assert_eq!(hex::encode(less.to_bytes()), "00000000000191ff");
    }

    #[test]
    fn bytes_that_are_no_cells_are_refused() {
        let from_bytes = |from, len| Cells::from_bytes(Mapping::Regular, from, &vec![0; len]);
        assert_eq!(from_bytes(0, 12), Err(MalformedCells::CutOff(12)));
        let last = usize::try_from(CELL_INDEXES).unwrap() - 1;
        assert_eq!(from_bytes(last, 8).map(|cells| cells.len()), Ok(1));
        assert_eq!(from_bytes(last, 16), Err(MalformedCells::TooMany { from: last, len: 2 }));
        assert_eq!(from_bytes(usize::MAX, 16), Err(MalformedCells::TooMany { from: usize::MAX, len: 2 }));
    }

    #[test]
    fn only_the_same_cells_are_subtracted_and_only_the_next_appended() {
        let mut cells = of(Mapping::Regular, 0..10, &[1, 2]);
        let before = cells.clone();
        for other in [
            Cells::new(Mapping::Irregular, 10),
            Cells::new(Mapping::Regular, 9),
            Cells::part(Mapping::Regular, 1..11),
        ] {
            assert_eq!(cells.subtract(&other), Err(CellsDiffer));
            assert_eq!(cells.add(&other), Err(CellsDiffer));
        }
        for later in [Cells::part(Mapping::Irregular, 10..12), Cells::part(Mapping::Regular, 11..12)] {
            assert_eq!(cells.extend(&later), Err(CellsDiffer));
        }
        assert_eq!(cells, before);
    }

    proptest! {
        #[test]
        fn cells_depend_on_the_set_alone(
            kept in proptest::collection::vec(0_u64..1 << 48, 0..40),
            removed in proptest::collection::vec(0_u64..1 << 48, 0..40),
            split in 0..100_usize,
        ) {
            for mapping in [Mapping::Regular, Mapping::Irregular] {
                let whole = of(mapping, 0..100, &kept);
                let mut changed = of(mapping, 0..100, &[&removed[..], &kept].concat());
                removed.iter().rev().for_each(|value| changed.remove(locator(*value)));
                prop_assert_eq!(&changed, &whole);
                let mut joined = of(mapping, 0..split, &kept);
                joined.extend(&of(mapping, split..100, &kept)).unwrap();
                prop_assert_eq!(&joined, &whole);
                prop_assert_eq!(whole.first(split), of(mapping, 0..split, &kept));
                prop_assert_eq!(whole.after(split), of(mapping, split..100, &kept));
                prop_assert_eq!(whole.within(split..100), of(mapping, split..100, &kept));
                prop_assert_eq!(whole.after(split).within(split..90), whole.within(split..90));
                prop_assert_eq!(&Cells::from_bytes(mapping, 0, &whole.to_bytes()).unwrap(), &whole);
                let mut difference = whole.clone();
                difference.subtract(&of(mapping, 0..100, &removed)).unwrap();
                let mut led_to = of(mapping, 0..100, &removed);
                led_to.add(&difference).unwrap();
                prop_assert_eq!(&led_to, &whole);
                removed.iter().for_each(|value| difference.insert(locator(*value)));
                prop_assert_eq!(difference, whole);
            }
        }
    }
}
