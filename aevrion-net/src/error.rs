//! Why a transport cannot listen.

use std::io;
use std::net::SocketAddr;

use aevrion_core::identity::IdentityError;

/// Why a transport cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken, or not an address of this machine.
    #[error("cannot listen for peers at {address}: {source}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The network cannot provide these limits.
    #[error("these limits cannot be had with {network}: {what}")]
    Limits {
        /// The network, as its specification spells it.
        network: &'static str,
        /// The network's error.
        what: String,
    },
    /// No tokio runtime is running.
    #[error("a transport needs a tokio runtime: bind it inside of one")]
    NoRuntime,
}
