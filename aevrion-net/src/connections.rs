//! Places for connections: a limit for all, and one for those that a single node has dialled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aevrion_core::NodeId;
use aevrion_core::transport::{Limits, Side, TransportError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connection places of one transport.
#[derive(Debug)]
pub struct ConnectionPlaces {
    all: Arc<Semaphore>,
    most: u32,
    /// Open connections dialled by each node.
    by_node: Mutex<BTreeMap<NodeId, usize>>,
    most_by_node: usize,
}

/// A place for a connection, released on drop.
#[derive(Debug)]
pub struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
    /// The dialling node, if it was not this one.
    dialler: Option<(Arc<ConnectionPlaces>, NodeId)>,
}

impl ConnectionPlaces {
    /// The places that `limits` allow.
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let most = limits.connections.min(Semaphore::MAX_PERMITS);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Arc::new(Self {
            all: Arc::new(Semaphore::new(most as usize)),
            most,
            by_node: Mutex::default(),
            most_by_node: limits.per_node,
        })
    }

    /// Takes a place for a connection dialled by `node`; `None` if the limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, node: NodeId) -> Option<ConnectionPlace> {
        let mut place = self.place()?;
        let mut by_node = self.by_node();
        let count = by_node.entry(node).or_default();
        if *count >= self.most_by_node {
            return None;
        }
        *count += 1;
        place.dialler = Some((Arc::clone(self), node));
        Some(place)
    }

    /// Takes a place for a connection dialled by this node.
    ///
    /// # Errors
    /// [`TransportError::Closed`] by this node if the limit is reached.
    pub fn admit_dialled(&self) -> Result<ConnectionPlace, TransportError> {
        self.place().ok_or_else(|| TransportError::Closed {
            by: Side::Here,
            reason: "this node has as many connections as it may".to_owned(),
        })
    }

    /// Waits until all connections are closed. No new one gets a place meanwhile.
    pub async fn empty(&self) {
        // This fails only if the semaphore is closed, which never happens.
        let _ = self.all.acquire_many(self.most).await;
    }

    fn place(&self) -> Option<ConnectionPlace> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(ConnectionPlace { _permit: permit, dialler: None })
    }

    fn by_node(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let Some((places, node)) = self.dialler.take() else { return };
        let mut by_node = places.by_node();
        if let Some(count) = by_node.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                by_node.remove(&node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_node_takes_the_places_of_all() {
        let places = ConnectionPlaces::new(&Limits::default().per_node(2));
        let [greedy, other] = [1, 2].map(|node| NodeId::from_bytes([node; 32]));
        let taken = [places.admit(greedy), places.admit(greedy)];
        assert!(taken.iter().all(Option::is_some) && places.admit(greedy).is_none());
        assert!(places.admit(other).is_some() && places.admit_dialled().is_ok());
        drop(taken);
        assert!(places.by_node().is_empty() && places.admit(greedy).is_some());
    }

    #[test]
    fn a_place_is_free_again_once_its_connection_is_gone() {
        let places = ConnectionPlaces::new(&Limits::default().connections(1));
        let node = NodeId::from_bytes([1; 32]);
        let place = places.admit(node);
        assert!(place.is_some() && places.admit(node).is_none() && places.admit_dialled().is_err());
        drop(place);
        assert!(places.admit(node).is_some());
    }
}
