//! The parts of a membership that its tasks share, below the tasks and below the membership that starts them.

use std::sync::Arc;
use std::time::Duration;

use aevrion_core::Replica;
use aevrion_core::identity::Credentials;
use aevrion_core::identity::join::Joining;
use aevrion_core::replication::Replication;

use super::{ClusterDir, MemberStore};

/// The parts of one membership. Two memberships in one process share none of them.
pub(super) struct Parts {
    pub(super) cluster_dir: ClusterDir,
    pub(super) credentials: Credentials,
    pub(super) transports: Vec<Arc<dyn Joining>>,
    pub(super) replication: Replication,
    pub(super) replica: Replica,
    pub(super) authority: AuthorityAt,
    /// Members that are away for this long are an alarm.
    pub(super) away_alarm: Duration,
    pub(super) member_store: MemberStore,
}

/// The place of the authority's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthorityAt {
    ThisNode,
    AnotherNode,
}
