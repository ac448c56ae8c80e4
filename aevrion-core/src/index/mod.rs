//! The merge index: what clients see.
//!
//! Among the visible versions of a key the greatest (timestamp, id) wins; all others are its history. The index is
//! derived: a row for every event in the table `by_key`, newest version first. Writing those rows is the only random
//! access of a write, so they are collected in memory (`Pending`) and written in large sorted lots; after a crash
//! the lot in progress is made again from `arrivals`. Reads merge both, so the delay shows nowhere.
//!
//! Blind to the tree.

mod pending;
mod query;
mod reader;
mod tips;

pub(crate) use pending::Pending;
pub use query::{AsOf, Entries, EntryQuery, KeySpan, Order, VersionQuery, Versions};
pub(crate) use reader::IndexReader;
pub(crate) use tips::Tips;
