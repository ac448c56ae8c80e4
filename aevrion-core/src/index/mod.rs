//! The merge index: the client's view of the events.
//!
//! Among the visible versions of a key the greatest (timestamp, id) wins; all others are its history. The index is
//! derived: a row for every event in the table `by_key`, newest version first. These rows are the only random access of
//! a write, so they are collected in memory (`Pending`) and written in large sorted batches; after a crash the batch in
//! progress is rebuilt from `arrivals`. Reads merge both, so the delay is invisible.
//!
//! Independent of the tree.

mod latest;
mod pending;
mod query;
mod reader;

pub(crate) use latest::LatestCache;
pub(crate) use pending::Pending;
pub use query::{AsOf, Entries, EntryQuery, KeySpan, Order, VersionQuery, Versions};
pub(crate) use reader::IndexReader;
