//! The open connections of a transport, so that closing it closes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aevrion_core::transport::CloseReason;

use crate::drive::Shared;

/// The open connections of one transport.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections(Mutex<Vec<Weak<Shared>>>);

impl OpenConnections {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a connection of the transport with this close reason.
    pub(crate) fn note(&self, shared: &Arc<Shared>, transport: &CloseReason) {
        let mut connections = self.lock();
        connections.retain(|shared| shared.strong_count() > 0);
        connections.push(Arc::downgrade(shared));
        drop(connections);
        // The transport may have closed in between.
        if let Some((_, reason)) = transport.how() {
            shared.close(&reason);
        }
    }

    /// Closes them all.
    pub(crate) fn close(&self, reason: &str) {
        let connections: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        for shared in connections {
            shared.close(reason);
        }
    }
}
