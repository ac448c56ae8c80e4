//! The row of the kept cells.
//!
//! ```text
//! [u8; 16] key ‖ u64 sequence ‖ regular cells ‖ irregular cells ‖ [u8; 32] BLAKE3 of all before
//! ```
//!
//! Without any event there are no cells. The hash tells a row that a disk has spoilt: cells of any bytes are cells.

use bytes::Bytes;

use super::KeptCells;
use crate::bounds::{CELL_BYTES, KEPT_REGULAR};
use crate::sketch::{Cells, Mapping, SketchKey};

const HASH: usize = blake3::OUT_LEN;

/// The contents of a row.
pub(in crate::replica) struct StoredSketch {
    pub(super) key: SketchKey,
    /// The cells are those of the events that arrived before this sequence.
    pub(super) sequence: u64,
    pub(super) cells: KeptCells,
}

/// The row of the cells of all events that arrived before `sequence`. Cost: some 100 µs.
pub(in crate::replica) fn encode(key: SketchKey, sequence: u64, cells: &KeptCells) -> Bytes {
    let mut row = [&key.as_bytes()[..], &sequence.to_be_bytes()].concat();
    if *cells != KeptCells::empty() {
        row.extend(cells.regular.to_bytes());
        row.extend(cells.irregular.to_bytes());
    }
    let hash = blake3::hash(&row);
    row.extend(hash.as_bytes());
    row.into()
}

impl StoredSketch {
    /// Parses [`encode`]; `None` if the row is damaged, or of another number of cells.
    pub(in crate::replica) fn parse(row: &[u8]) -> Option<Self> {
        let (row, hash) = row.split_last_chunk::<HASH>()?;
        if blake3::hash(row) != *hash {
            return None;
        }
        let (key, row) = row.split_first_chunk()?;
        let (sequence, cells) = row.split_first_chunk()?;
        let (key, sequence) = (SketchKey::from_bytes(*key), u64::from_be_bytes(*sequence));
        Some(Self { key, sequence, cells: parse_cells(cells)? })
    }

    pub(in crate::replica) fn key(&self) -> SketchKey {
        self.key
    }
}

fn parse_cells(bytes: &[u8]) -> Option<KeptCells> {
    let empty = KeptCells::empty();
    if bytes.is_empty() {
        return Some(empty);
    }
    let (regular, irregular) = bytes.split_at_checked(KEPT_REGULAR * CELL_BYTES)?;
    let regular = Cells::from_bytes(Mapping::Regular, 0, regular).ok()?;
    let irregular = Cells::from_bytes(Mapping::Irregular, 0, irregular).ok()?;
    (irregular.len() == empty.irregular.len()).then_some(KeptCells { regular, irregular })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::Locator;

    const KEY: SketchKey = SketchKey::from_bytes([7; 16]);

    #[test]
    fn rows_round_trip_and_a_spoilt_one_is_none() {
        let mut cells = KeptCells::empty();
        for filled in [false, true] {
            if filled {
                cells.insert(Locator::from_value(5).unwrap());
            }
            let row = encode(KEY, 9, &cells);
            let parsed = StoredSketch::parse(&row).unwrap();
            assert_eq!((parsed.key, parsed.sequence, &parsed.cells), (KEY, 9, &cells));
            for place in [0, 20, row.len() / 2, row.len() - 1] {
                let mut spoilt = row.to_vec();
                spoilt[place] ^= 1;
                assert!(StoredSketch::parse(&spoilt).is_none(), "byte {place}");
            }
            assert!(StoredSketch::parse(&row[..row.len() - 8]).is_none());
        }
        assert!(StoredSketch::parse(&[]).is_none());
    }

    #[test]
    fn a_sound_row_of_another_number_of_cells_is_none() {
        let row = [&KEY.as_bytes()[..], &[0; 8], &[1; 8 * 600]].concat();
        let row = [&row[..], blake3::hash(&row).as_bytes()].concat();
        assert!(StoredSketch::parse(&row).is_none());
    }
}
