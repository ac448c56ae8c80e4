//! Aevrion on [sled](https://docs.rs/sled/0.34) 0.34: one ordered map of bytes in a log-structured file.
//!
//! sled 0.34 is stable in use and old. Its last release is of 2021, it is no longer maintained, and its 1.0 line is an
//! alpha with another file format. This store exists for users with a reason for sled: measurements, a second engine to
//! check the first against, existing data.
//!
//! Do not use it without such a reason (take redb); if no acknowledged write may be lost in a power cut (see
//! [`SledStore`] for why this is not promised); with many values over 100 KiB (each becomes a separate file, rewritten
//! with its neighbours); or with several replicas in one process (sled has one lock for the whole process, so the
//! commits of one replica block the reads of another).

mod blobs;
mod error;
mod layout;
mod open;
mod room;
mod store;
mod view;

pub use error::OpenError;
pub use store::{SledOptions, SledStore};
