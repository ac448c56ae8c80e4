//! Aevrion on [sled](https://docs.rs/sled/0.34) 0.34: one ordered map of bytes in a log-structured file.
//!
//! Say what it is: sled 0.34 is stable in use and old. Its last release is of 2021, nobody mends it any more, and
//! its 1.0 line is an alpha with another file format. It is here for who has reasons to want it: measurements, a
//! second engine to check the first by, data that is in it already.
//!
//! Who should not use it: whoever does not know which to take (take redb); whoever must not lose an acknowledged
//! write to a power cut (see [`SledStore`] for why this is not promised); whoever keeps many values over 100 KiB (each
//! becomes a file of its own, rewritten with its neighbours); whoever runs several replicas in one process (sled's own
//! lock is one for the whole process, so the commits of one replica hold up the reads of another).

mod blobs;
mod error;
mod layout;
mod room;
mod store;
mod view;

pub use error::OpenError;
pub use store::{SledOptions, SledStore};
