//! The cluster that a node belongs to: its identity, whom it keeps in step with, and how others join.
//!
//! Everything stands in the data directory: keys and certificates in `cluster/` beside the store, the addresses of
//! neighbours in the store itself. A directory without `cluster/` is a node on its own, which nobody can reach.

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
