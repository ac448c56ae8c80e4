//! The core of Aevrion: a key-value store in which every write is an immutable event on a time axis.
//!
//! ```text
//! put → clock → event → store.commit → tree, index, watchers
//! ```
//!
//! [`Replica`] is the embeddable database. It keeps its tables in any [`EventStore`](store::EventStore):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use aevrion_core::{Options, Replica, store::MemoryStore};
//!
//! let replica = Replica::open(MemoryStore::new(), Options::default()).await?;
//! let first = replica.put("plane:N14228", "departed").await?;
//! replica.put("plane:N14228", "arrived").await?;
//!
//! assert_eq!(replica.get("plane:N14228").await?.as_deref(), Some(b"arrived".as_slice()));
//! assert_eq!(replica.get_at("plane:N14228", first.timestamp).await?.as_deref(), Some(b"departed".as_slice()));
//! # Ok(()) }
//! ```
//!
//! The surface: [`Replica`] with its queries and errors, [`store`] and [`transport`] to plug in others, [`replication`],
//! and `identity` by its feature. Hidden modules are public for the tests and for the other crates of the project; they
//! may change at any time.
//!
//! Layers, lowest first; none knows the layers above it: [`EventId`], [`Timestamp`] → [`Event`] → tree and index,
//! independent of each other → [`Replica`], the one place that decides order.

#[doc(hidden)]
pub mod agent;
mod arrivals;
#[doc(hidden)]
pub mod bounds;
mod chance;
mod clock;
mod clock_fault;
#[cfg(feature = "testkit")]
pub mod conformance;
mod coop;
mod error;
mod event;
mod events;
#[cfg(feature = "testkit")]
pub mod fault_injection;
#[cfg(not(feature = "testkit"))]
mod fault_injection;
#[doc(hidden)]
pub mod files;
mod id;
#[cfg(feature = "identity")]
pub mod identity;
mod index;
#[doc(hidden)]
pub mod message;
mod news;
mod parameters;
mod random;
mod replica;
pub mod replication;
#[cfg(feature = "testkit")]
pub mod simulation;
#[doc(hidden)]
pub mod sketch;
mod steady;
pub mod store;
mod tables;
mod time;
mod timetable;
pub mod transport;
#[doc(hidden)]
pub mod tree;
mod wall;

pub use arrivals::Effect;
pub use clock::MAX_DRIFT;
pub(crate) use clock::{Blocked, Clock, ClockMark};
pub use clock_fault::ClockFault;
pub use error::{Damage, OpenError, ReadError, WatchError, WriteError};
pub use event::{Event, EventKey, RESERVED_PREFIX, TooLong, Value, is_reserved};
pub use id::{EventId, Hash, Incarnation, NodeId, ParseHexError};
pub use index::{AsOf, Entries, EntryQuery, KeySpan, Order, VersionQuery, Versions};
pub use parameters::{Difference, OutOfRange, ParameterOverrides, Parameters, TreeTooFine};
pub use replica::{
    Cursor, DamagedEvents, Export, Import, Inserted, Operation, Options, ParseCursorError, Progress, Rebuilt,
    Replica, Scrub, ScrubPass, ScrubReport, ScrubStep, Status, Verification, Watch, Watched,
};
pub use time::{TimeSpan, Timestamp};
pub use tree::Root;
pub use wall::{ManualWall, SystemWall, WallClock, YEAR_2020};
