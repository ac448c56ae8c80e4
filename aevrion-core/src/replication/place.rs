//! A connection on its way to a link, and the place of its link in the registry.

use std::sync::Arc;

use super::peer::{claimed, place_of};
use super::{Peer, Shared};
use crate::agent::Introduction;
use crate::transport::Connection;
use crate::{Incarnation, NodeId};

/// A connection that has no link yet.
pub(super) struct Arrival {
    /// This node's identity on this connection.
    pub(super) node: NodeId,
    pub(super) connection: Arc<dyn Connection>,
    pub(super) address: String,
    /// Whether this node dialled it.
    pub(super) dialled: bool,
}

/// A link's entry in the registry, removed when the link ends in any way.
pub(super) struct Place {
    pub(super) shared: std::sync::Weak<Shared>,
    pub(super) neighbour: NodeId,
    pub(super) connection: Arc<dyn Connection>,
    pub(super) address: String,
}

impl Place {
    /// Whether the link is over this connection.
    pub(super) fn is_over(&self, connection: &Arc<dyn Connection>) -> bool {
        Arc::ptr_eq(connection, &self.connection)
    }

    /// The handshake with the neighbour is complete.
    pub(super) fn settled(&self, introduction: &Introduction) {
        let Some(shared) = self.shared.upgrade() else { return };
        // Messages on a replaced connection may be old.
        if !shared.links.has_place(self) {
            return;
        }
        let Introduction { incarnation, listens, .. } = introduction;
        let own = shared.addresses();
        let listens = claimed(listens, &self.address).into_iter().filter(|peer| !own.contains(peer));
        let from = self.address.parse().ok();
        shared.members.met(self.neighbour, from.as_ref(), listens.collect(), shared.replica.wall().now());
        let place = place_of(&introduction.listens, &self.address);
        if shared.conflicts.met(self.neighbour, *incarnation, &place) {
            let neighbour = self.neighbour;
            tracing::error!(%neighbour, "two machines have the identity of this node; one of them is at {place}");
            shared.links.note_change();
        }
    }

    /// The neighbour knows of another machine with this node's identity.
    pub(super) fn told_of_conflict(&self, there: &str) {
        let Some(shared) = self.shared.upgrade() else { return };
        // Only a valid address is accepted, as it is shown to people.
        if let Ok(there) = there.parse::<Peer>() {
            shared.conflicts.told(&there.to_string());
            shared.links.note_change();
        }
    }

    /// The address of another machine with the neighbour's identity, if there is one.
    pub(super) fn conflict(&self, incarnation: Incarnation) -> Option<String> {
        self.shared.upgrade()?.conflicts.other_than(self.neighbour, incarnation)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.close("this node ended the connection");
        if let Some(shared) = self.shared.upgrade() {
            shared.links.leave(self, &shared.members, shared.replica.wall().now());
            shared.links.note_change();
        }
    }
}
