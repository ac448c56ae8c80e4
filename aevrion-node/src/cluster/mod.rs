//! A node's cluster: its identity, its members, and the admission of others.
//!
//! The data directory has all of it: keys and certificates in `cluster/` beside the store, the members in the store. A
//! directory without `cluster/` is a single node, which accepts no peers.

mod away;
mod certified_wall;
mod cluster_dir;
mod failures;
mod joining;
mod joining_key;
mod member_store;
mod membership;
mod parts;
mod removal;
mod renewal;
mod transports;
mod welcome;

pub(crate) use certified_wall::CertifiedWall;
pub(crate) use cluster_dir::{ClusterDir, NO_CLUSTER, TOKENS_BY_FILE};
pub(crate) use joining::Newcomer;
pub(crate) use member_store::{ForgetError, MemberStore};
pub(crate) use membership::{ListenOptions, Membership};
pub(crate) use removal::{HOLDS_AUTHORITY, removed_from};
use welcome::Welcome;
