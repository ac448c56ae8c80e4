//! The transport of Aevrion over TCP: not built yet, and this crate is empty.
//!
//! Replicas do not talk to each other in this version. The crate holds the place that the transport will have in the
//! workspace, beside the storage crates: it will implement the core's `Transport` trait, and depend on nothing else.
