//! The known removals of nodes from the cluster.
//!
//! A certificate proves that a node belongs to the cluster; a statement of the cluster's authority revokes that. The
//! owner of the statements adds them here, and a transport checks each node against them. Only valid statements count.
//! The layer above validates them, as they are opaque bytes here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Refusal;
use crate::{NodeId, Timestamp};

/// The removal of a node, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The removed node.
    pub node: NodeId,
    /// The time of removal by the authority's clock.
    pub at: Timestamp,
    /// The signed statement.
    pub statement: Bytes,
}

impl Removal {
    /// The message to the removed node.
    pub fn words(&self) -> String {
        format!("{} on {}", Refusal::Removed, self.at.to_utc())
    }

    /// The removed node's message about itself.
    pub fn own_words(&self) -> String {
        of_this_node(&self.words())
    }

    /// A removed node's message about itself, from a neighbour's close reason; `None` for any other reason.
    pub fn told_by(reason: &str) -> Option<String> {
        reason.starts_with(&Refusal::Removed.to_string()).then(|| of_this_node(reason))
    }
}

/// The same message with another subject, so that its reader does not take it as their own removal.
fn of_this_node(words: &str) -> String {
    words.replacen("the node", "this node", 1)
}

/// Returns the removed node and the time if the statement is from this cluster's authority.
type Check = dyn Fn(&[u8]) -> Option<(NodeId, Timestamp)> + Send + Sync;

/// The removed nodes. A clone shares them. Only the authority's statements add entries, so others cannot make it grow.
#[derive(Clone)]
pub struct Removals(Arc<Shared>);

struct Shared {
    check: Box<Check>,
    known: Mutex<BTreeMap<NodeId, Removal>>,
}

impl Removals {
    /// No removals yet. `check` validates a statement and returns its content.
    pub fn checked_by(check: impl Fn(&[u8]) -> Option<(NodeId, Timestamp)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { check: Box::new(check), known: Mutex::default() }))
    }

    /// The removal in a statement, if it is valid. Cost: one signature verification.
    pub fn check(&self, statement: &[u8]) -> Option<Removal> {
        let (node, at) = (self.0.check)(statement)?;
        Some(Removal { node, at, statement: Bytes::copy_from_slice(statement) })
    }

    /// Records the removal in a statement, if it is valid. The first statement about a node counts, as a removal is
    /// final. Cost: as [`Removals::check`].
    pub fn learn(&self, statement: &[u8]) -> Option<Removal> {
        let removal = self.check(statement)?;
        Some(self.known().entry(removal.node).or_insert(removal).clone())
    }

    /// The removal of `node`, if it was removed.
    pub fn of(&self, node: NodeId) -> Option<Removal> {
        self.known().get(&node).cloned()
    }

    /// All removals.
    pub fn all(&self) -> Vec<Removal> {
        self.known().values().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, Removal>> {
        // The map stays consistent even if a holder of the lock panicked.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Removals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::LONGEST_REASON;

    /// In this test a statement is its node's number; 0 is invalid.
    fn removals() -> Removals {
        Removals::checked_by(|statement| match statement {
            [number @ 1..=9] => Some((NodeId::from_bytes([*number; 32]), Timestamp::from_millis(1_000))),
            _ => None,
        })
    }

    #[test]
    fn only_what_is_true_is_learned_and_shared() {
        let removals = removals();
        let shared = removals.clone();
        assert_eq!(shared.learn(&[0]), None);
        assert_eq!(shared.learn(b"nonsense"), None);
        assert_eq!(removals.all(), []);
        let learned = shared.learn(&[7]).unwrap();
        assert_eq!(removals.of(NodeId::from_bytes([7; 32])), Some(learned.clone()));
        assert_eq!(shared.learn(&[7]), Some(learned.clone()), "again");
        assert_eq!(removals.all(), [learned]);
    }

    #[test]
    fn the_removed_node_is_told_in_words_that_it_knows_again() {
        let removal = removals().learn(&[7]).unwrap();
        let words = removal.words();
        assert_eq!(words, "the node was removed from the cluster by its authority on 1970-01-01T00:00:01Z");
        assert!(words.len() <= LONGEST_REASON);
        assert_eq!(Removal::told_by(&words), Some(removal.own_words()));
        assert_eq!(Removal::told_by(&Refusal::Expired.to_string()), None);
        assert_eq!(Removal::told_by(&removal.own_words()), None, "that is said of the one who says it");
    }
}
