//! The state that dialling, listening and the transport itself share. It belongs to one transport, and stands below all
//! of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aevrion_core::identity::Credentials;
use aevrion_core::identity::join::JoinDesk;
use aevrion_core::transport::{CloseReason, ConnectionLimiter, Limits, Side};
use rustls::{ClientConfig, ServerConfig};

use crate::drive::Shared;

/// The state of one transport.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) credentials: Credentials,
    pub(crate) limits: Limits,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) serving: Arc<ServerConfig>,
    pub(crate) dialling: Arc<ClientConfig>,
    pub(crate) renewing: Arc<ClientConfig>,
    pub(crate) joins: JoinDesk,
    pub(crate) close_reason: CloseReason,
    pub(crate) connections: Mutex<Vec<Weak<Shared>>>,
}

impl Core {
    fn connections(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a connection, so that closing the transport closes it too.
    pub(crate) fn note(&self, shared: &Arc<Shared>) {
        let mut connections = self.connections();
        connections.retain(|shared| shared.strong_count() > 0);
        connections.push(Arc::downgrade(shared));
        drop(connections);
        // It may have closed in between.
        if let Some((_, reason)) = self.close_reason.how() {
            shared.close(&reason);
        }
    }

    pub(crate) fn close(&self, reason: &str) {
        self.close_reason.end(Side::Here, reason);
        let connections: Vec<_> = self.connections().iter().filter_map(Weak::upgrade).collect();
        for shared in connections {
            shared.close(reason);
        }
    }
}
