//! Errors of keys, certificates and their files.

use std::io;
use std::path::PathBuf;

use crate::NodeId;

/// Why an identity cannot be created, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The key or certificate does not exist yet.
    #[error("there is no {what} at {path}")]
    Missing {
        /// The missing object.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// An error of the operating system.
    #[error("{doing} {path}: {source}")]
    Io {
        /// The attempted action.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Every user of the machine may read or write a private key.
    #[error(
        "the {what} {path} is open to everyone on this machine (mode {mode:o}): `chmod 600` it; if somebody may have read \
         it, this machine or this cluster needs a new one: remove the node and join anew, or begin anew with `cluster init`"
    )]
    Exposed {
        /// The key.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A key or certificate cannot be parsed.
    #[error("the {what} cannot be read: {why}")]
    Unreadable {
        /// The key or certificate.
        what: &'static str,
        /// The parser's error.
        why: String,
    },
    /// A certificate was issued for another key.
    #[error("the certificate is for node {found}, the key is that of node {wanted}")]
    OtherKey {
        /// The node in the certificate.
        found: NodeId,
        /// The node of the key.
        wanted: NodeId,
    },
    /// A certificate was issued by another authority.
    #[error("the certificate was not issued by the authority beside it")]
    OtherAuthority,
    /// A key or certificate could not be created.
    #[error("cannot make the {what}: {why}")]
    NotMade {
        /// The key or certificate.
        what: &'static str,
        /// The error of the cryptography library.
        why: String,
    },
}

pub(super) fn unreadable<E: ToString>(what: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::Unreadable { what, why: error.to_string() }
}

pub(super) fn not_made<E: ToString>(what: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::NotMade { what, why: error.to_string() }
}
