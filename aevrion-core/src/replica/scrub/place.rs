//! The place of the scrub, and its row in the store.
//!
//! ```text
//! u8 version ‖ u8 table ‖ 16 × u64 ‖ u32 len(after) ‖ after ‖ counted
//! ```
//!
//! If the row cannot be read, the scrub begins again.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Timestamp;
use crate::replica::check::TableWalk;
use crate::store::Table;
use crate::tables::Checkpoint;

/// The tables of a pass, in this order: the index is complete when it is compared with the events, and inner nodes
/// come after leaves.
const TABLES: [Table; 6] =
    [Table::Events, Table::Bodies, Table::ByKey, Table::Arrivals, Table::Nodes, Table::Timetable];

/// The result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScrubPass {
    /// When it began.
    pub began: Timestamp,
    /// When it ended, or now.
    pub ended: Timestamp,
    /// Its cost in rows; a large value counts as several.
    pub rows: u64,
    /// Faults found.
    pub found: u64,
    /// Faults that were mended: rows of derived tables, hashes and counts.
    pub mended: u64,
    /// Faults that are damaged events; see [`Replica::damaged_events`](crate::Replica::damaged_events). Other faults
    /// are lost rows, or left to the next pass.
    pub damaged: u64,
}

/// The name of its local setting.
pub(super) const NAME: &str = "scrub";

const VERSION: u8 = 1;
const NUMBERS: usize = 16;

/// The place of the scrub.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) pass: Pass,
    pub(super) last: Option<ScrubPass>,
}

/// A pass under way, or about to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pass {
    /// How many of [`TABLES`] are done.
    tables: u8,
    pub(super) walk: TableWalk,
    /// The result so far; `None` before its first step.
    pub(super) done: Option<ScrubPass>,
    /// The numbers of indexed arrivals and counted keys when the walk through this table began.
    pub(super) indexed: (u64, u64),
}

impl Pass {
    /// The present table; `None` if all are done.
    pub(super) fn table(&self) -> Option<Table> {
        TABLES.get(usize::from(self.tables)).copied()
    }

    /// Begins a step.
    pub(super) fn begin(&mut self, now: Timestamp, checkpoint: &Checkpoint) {
        self.done.get_or_insert(ScrubPass { began: now, ended: now, ..ScrubPass::default() });
        if self.walk == TableWalk::default() {
            self.indexed = (checkpoint.next_to_index, checkpoint.indexed_keys);
        }
    }

    /// Goes on to the next table.
    pub(super) fn next_table(&mut self) {
        self.tables += 1;
        self.walk = TableWalk::default();
    }
}

impl Place {
    pub(super) fn to_bytes(&self) -> Bytes {
        let Self { pass: Pass { tables, walk, done, indexed }, last } = self;
        let of_pass = |pass: &Option<ScrubPass>| {
            let ScrubPass { began, ended, rows, found, mended, damaged } = pass.unwrap_or_default();
            // A pass began after 1970.
            [began.as_millis(), ended.as_millis(), rows, found, mended, damaged]
        };
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u8(*tables);
        let walk_numbers = [walk.rows, walk.sum, indexed.0];
        let numbers = of_pass(done).into_iter().chain(of_pass(last)).chain(walk_numbers);
        numbers.chain([indexed.1]).for_each(|number| bytes.put_u64(number));
        let after = walk.after.clone().unwrap_or_default();
        // A key is a few thousand bytes long.
        bytes.put_u32(u32::try_from(after.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&after);
        bytes.put_slice(&walk.counted);
        bytes.freeze()
    }

    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let (&[version, tables], rest) = bytes.split_first_chunk()?;
        let (numbers, rest) = rest.split_at_checked(NUMBERS * 8)?;
        let (len, rest) = rest.split_first_chunk()?;
        let (after, counted) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        let mut numbers = numbers.as_chunks().0.iter().map(|number| u64::from_be_bytes(*number));
        let mut next = || numbers.next().unwrap_or_default();
        let mut pass = || {
            let [began, ended] = [next(), next()].map(Timestamp::from_millis);
            let pass =
                ScrubPass { began, ended, rows: next(), found: next(), mended: next(), damaged: next() };
            Some(pass).filter(|_| began > Timestamp::MIN)
        };
        let (done, last) = (pass(), pass());
        let walk = TableWalk {
            after: Some(bytes.slice_ref(after)).filter(|after| !after.is_empty()),
            rows: next(),
            sum: next(),
            counted: bytes.slice_ref(counted),
        };
        let pass = Pass { tables, walk, done, indexed: (next(), next()) };
        (version == VERSION && usize::from(tables) <= TABLES.len()).then_some(Self { pass, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_and_half_of_one_is_none() {
        let pass = |n| ScrubPass {
            began: Timestamp::from_millis(n),
            ended: Timestamp::from_millis(n + 1),
            rows: n + 2,
            found: n + 3,
            mended: n + 4,
            damaged: n + 5,
        };
        let walk = TableWalk {
            after: Some("after".into()),
            rows: 21,
            sum: 22,
            counted: Bytes::from_static(b"co\0"),
        };
        let whole = Place {
            pass: Pass { tables: 3, walk, done: Some(pass(1)), indexed: (23, 24) },
            last: Some(pass(11)),
        };
        for place in [Place::default(), whole.clone(), Place { last: None, ..whole }] {
            assert_eq!(Place::parse(&place.to_bytes()), Some(place));
        }
        let bytes = Place::default().to_bytes();
        assert!((0..bytes.len()).all(|len| Place::parse(&bytes.slice(..len)).is_none()));
        let other = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(Place::parse(&other.into()), None);
    }
}
