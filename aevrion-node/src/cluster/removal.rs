//! Removal of a node from the cluster: the authority signs a statement, and every node that has it obeys.

use aevrion_core::identity::{Credentials, Identity};
use aevrion_core::replication::RemovalError;
use aevrion_core::transport::{Removal, Removals};
use aevrion_core::{ReadError, Replica};

use super::parts::{AuthorityAt, Parts};
use crate::problem::{Kind, Problem};

/// The removals by the authority of `identity` that a replica has.
pub(crate) async fn removed_from(replica: &Replica, identity: Identity) -> Result<Removals, ReadError> {
    let removals = Credentials::new(identity).removals().clone();
    replica.read_removals(&removals).await?;
    Ok(removals)
}

impl Parts {
    /// Removes a node by a statement of the authority. The signature suffices: the sender need not authenticate.
    ///
    /// # Errors
    /// The statement has no valid signature, or is about the node that holds the authority; this node was removed itself;
    /// or the store failed.
    pub(super) async fn remove(&self, statement: &[u8]) -> Result<Removal, Problem> {
        let refused = |why: String| Problem::new(Kind::NotRemovable, why);
        let (own, removals) = (self.credentials.node(), self.credentials.removals());
        if let Some(removal) = removals.of(own) {
            return Err(refused(format!("{}: it removes nobody", removal.own_words())));
        }
        if self.authority == AuthorityAt::ThisNode
            && removals.check(statement).is_some_and(|removal| removal.node == own)
        {
            return Err(refused(HOLDS_AUTHORITY.to_owned()));
        }
        self.replica.remove_node(removals, statement).await.map_err(|error| match error {
            RemovalError::Write(error) => error.into(),
            error => refused(format!("{error}: the node stays")),
        })
    }
}

/// The reason for which the node of the authority stays.
pub(crate) const HOLDS_AUTHORITY: &str = "this is the node that holds the cluster's authority: without it nobody could \
     let others in or renew certificates";
