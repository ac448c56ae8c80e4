//! The state of one transport, over any network.

use std::sync::Arc;

use aevrion_core::identity::Credentials;
use aevrion_core::identity::join::JoinServer;
use aevrion_core::transport::{CloseReason, Limits};

use crate::connections::ConnectionPlaces;
use crate::handshakes::HandshakePlaces;
use crate::refusals::RefusalCounters;

/// The state that dialling, listening and the connections of one transport share.
pub struct TransportState {
    /// The node's identity.
    pub credentials: Credentials,
    /// The limits.
    pub limits: Limits,
    /// Places for handshakes.
    pub handshakes: Arc<HandshakePlaces>,
    /// Places for connections.
    pub connections: Arc<ConnectionPlaces>,
    /// Refused connections.
    pub refusals: RefusalCounters,
    /// The transport's close reason, which ends all its connections.
    pub close_reason: Arc<CloseReason>,
    /// Answers requests to join and to renew.
    pub(crate) joins: JoinServer,
}

impl TransportState {
    pub(crate) fn new(credentials: Credentials, limits: Limits) -> Self {
        Self {
            credentials,
            limits,
            handshakes: HandshakePlaces::new(&limits),
            connections: ConnectionPlaces::new(&limits),
            refusals: RefusalCounters::default(),
            close_reason: Arc::default(),
            joins: JoinServer::default(),
        }
    }
}
