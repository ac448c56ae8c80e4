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
/// In memory the count is the highest byte, so that an addition to it leaves the rest alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell(u64);

impl Cell {
    /// The XOR of the locators, as if it were one.
    pub const fn sum(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }

    /// The XOR of the checks of the locators.
    pub const fn check(self) -> u8 {
        self.0.to_be_bytes()[1]
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
        locator.value() | u64::from(locator.mix().check) << 48
    }

    pub(super) fn insert(&mut self, contents: u64) {
        self.0 = (self.0 ^ contents).wrapping_add(COUNT_UNIT);
    }

    pub(super) fn remove(&mut self, contents: u64) {
        self.0 = (self.0 ^ contents).wrapping_sub(COUNT_UNIT);
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
