//! Sketches: what two replicas exchange to find out in which events they differ.
//!
//! Two replicas hold a million events each and differ in a thousand, anywhere. To list the ids, even short ones, takes
//! megabytes, and walking down the tree visits nearly every leaf. A sketch of about a thousand *cells*, 8 bytes each, is
//! enough: its size is that of the difference, not that of the sets.
//!
//! Each replica keeps a row of cells. Every event has a *locator* of 48 bits, and belongs to some of the cells,
//! according to the locator: to the first cell surely, to later ones ever more rarely. A cell sums up its events: the XOR
//! of the locators, the XOR of their checks, and their number. Subtract the cells of one replica from those of the
//! other, and what both hold is gone. A cell left with one event shows its locator; taken out of the other cells, it
//! leaves some of those with one event, and so on until nothing is left.
//!
//! ```text
//! event ──key──▶ Locator ──Mapping──▶ Cells        kept by each replica, one insert a write
//! Cells − Cells ──Decoder──▶ Difference            the locators that one side has and the other lacks
//! counts, counts ──estimate──▶ number of differences ──cells_for──▶ number of cells worth asking for
//! ```
//!
//! The table is rateless: nobody has to know the size of the difference beforehand. Any number of cells from the first
//! one on is a sketch; if it does not decode, the next cells are added to it, and none is sent twice. This is the
//! rateless invertible Bloom lookup table of Yang, Gilad and Alizadeh, *Practical Rateless Set Reconciliation*
//! (SIGCOMM 2024, arXiv 2402.02668), there for streams of any length, here with maintained cells of fixed width.
//!
//! What always holds: the cells of a set do not depend on the order of its changes; all arithmetic that both sides must
//! agree on is that of integers; decoding ends after work in proportion to the number of cells, whatever they hold.
//! What does not: two events of one side may share a locator (then their cells never decode), or an event of one side
//! share it with another of the other side (then the difference misses both). The hashes of the tree decide whether two
//! replicas are equal; a sketch never does.

mod cells;
mod decode;
mod estimate;
mod list;
mod locator;
mod mapping;

pub use cells::{Cell, Cells, CellsDiffer, MalformedCells};
pub use decode::{Decoder, Difference, Undecodable, decode};
pub use estimate::{cells_for, counts_for, estimate};
pub use list::{MalformedList, NumberList, Unlistable};
pub use locator::{Locator, SketchKey, short_id};
pub use mapping::{Indexes, Mapping};
