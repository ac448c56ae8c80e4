//! A node's cluster: its identity, its members, and the admission of others.
//!
//! The data directory has all of it: keys and certificates in `cluster/` beside the store, the members in the store. A
//! directory without `cluster/` is a single node, which accepts no peers.

mod away;
mod book;
mod certified_wall;
mod home;
mod joining;
mod joining_key;
mod membership;
mod parts;
mod removal;
mod renewal;
mod transports;
mod welcome;

pub(crate) use book::Book;
pub(crate) use certified_wall::CertifiedWall;
pub(crate) use home::{Home, NO_CLUSTER, TOKENS_BY_FILE};
pub(crate) use joining::Newcomer;
pub(crate) use membership::{Listening, Membership};
pub(crate) use removal::{HOLDS_AUTHORITY, removed_from};
use welcome::Welcome;
