//! The state that dialling, listening and the transport itself share. It belongs to one transport, and stands below all
//! of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::identity::Credentials;
use aevrion_core::identity::join::JoinDesk;
use aevrion_core::transport::{CloseReason, ConnectionLimiter, Limits, Side, shortened};
use quinn::{ClientConfig, Endpoint, VarInt};

/// How long the last words may take: a close that cannot be said in this time is not said.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The code of a close. The reason goes along in words; nothing depends on the number.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(0);

/// The state of one transport.
pub(crate) struct Core {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) credentials: Credentials,
    pub(crate) limits: Limits,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) dialling: ClientConfig,
    pub(crate) renewing: ClientConfig,
    pub(crate) joins: JoinDesk,
    pub(crate) close_reason: Arc<CloseReason>,
}

impl Core {
    pub(crate) fn close(&self, reason: &str) {
        // The second reason is neither kept nor sent.
        if self.close_reason.end(Side::Here, reason) {
            self.endpoint.close(CLOSED, shortened(reason).as_bytes());
        }
    }
}
