//! Nodes that were removed from the cluster, as far as this node has heard.
//!
//! A node proves with a certificate that it belongs; that it no longer does, the cluster's authority says in a statement.
//! The keeper of the statements hands them in here, and a transport that meets a node asks. What a statement says
//! counts only if it is true, which the layer above knows how to check: here are bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Refusal;
use crate::{NodeId, Timestamp};

/// That a node was removed, found true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Who.
    pub node: NodeId,
    /// When, by the authority's clock.
    pub at: Timestamp,
    /// What says so.
    pub statement: Bytes,
}

impl Removal {
    /// What the removed node is told.
    pub fn words(&self) -> String {
        format!("{} on {}", Refusal::Removed, self.at.to_utc())
    }

    /// What the removed node says of itself.
    pub fn own_words(&self) -> String {
        of_this_node(&self.words())
    }

    /// What a removed node says of itself when a neighbour gave this reason; `None` if the reason is another one.
    pub fn told_by(reason: &str) -> Option<String> {
        reason.starts_with(&Refusal::Removed.to_string()).then(|| of_this_node(reason))
    }
}

/// The same words with another subject. A reader does not take them for himself.
fn of_this_node(words: &str) -> String {
    words.replacen("the node", "this node", 1)
}

/// Says who was removed and when, if the authority of this cluster has made a statement.
type Check = dyn Fn(&[u8]) -> Option<(NodeId, Timestamp)> + Send + Sync;

/// Those who were removed. Cloning shares. It holds as much as the authority has signed; strangers add nothing.
#[derive(Clone)]
pub struct Removals(Arc<Shared>);

struct Shared {
    check: Box<Check>,
    known: Mutex<BTreeMap<NodeId, Removal>>,
}

impl Removals {
    /// Nobody yet. `check` gives what a statement says, if it is true.
    pub fn checked_by(check: impl Fn(&[u8]) -> Option<(NodeId, Timestamp)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { check: Box::new(check), known: Mutex::default() }))
    }

    /// What a statement says, if it is true. Cost: a signature to verify.
    pub fn check(&self, statement: &[u8]) -> Option<Removal> {
        let (node, at) = (self.0.check)(statement)?;
        Some(Removal { node, at, statement: Bytes::copy_from_slice(statement) })
    }

    /// Takes note of what a statement says, if it is true. Of several about one node the first counts: a removal is
    /// final. Cost: as [`Removals::check`].
    pub fn learn(&self, statement: &[u8]) -> Option<Removal> {
        let removal = self.check(statement)?;
        Some(self.known().entry(removal.node).or_insert(removal).clone())
    }

    /// The removal of `node`, if it was removed.
    pub fn of(&self, node: NodeId) -> Option<Removal> {
        self.known().get(&node).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Removal> {
        self.known().values().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, Removal>> {
        // A map is whole whatever happened to who held it.
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

    /// A statement is the number of its node; 0 is nobody's.
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
