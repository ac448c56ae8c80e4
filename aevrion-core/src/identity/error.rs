//! What can be wrong with keys, certificates and the files they stand in.

use std::io;
use std::path::PathBuf;

use crate::NodeId;

/// Why an identity cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none yet.
    #[error("there is no {what} at {path}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Everyone on the machine may read or write a private key.
    #[error(
        "the {what} {path} is open to everyone on this machine (mode {mode:o}): `chmod 600` it; if somebody may have read \
         it, this machine or this cluster needs a new one: remove the node and join anew, or begin anew with `cluster init`"
    )]
    Exposed {
        /// Which of them.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A key or certificate cannot be read: it is damaged, or something else altogether.
    #[error("the {what} cannot be read: {why}")]
    Unreadable {
        /// Which of them.
        what: &'static str,
        /// What the parser said.
        why: String,
    },
    /// A certificate was issued for another key.
    #[error("the certificate is for node {found}, the key is that of node {wanted}")]
    OtherKey {
        /// Whom the certificate names.
        found: NodeId,
        /// Whose key it is.
        wanted: NodeId,
    },
    /// A certificate was issued by another authority.
    #[error("the certificate was not issued by the authority beside it")]
    OtherAuthority,
    /// A key or certificate could not be made.
    #[error("cannot make the {what}: {why}")]
    NotMade {
        /// Which of them.
        what: &'static str,
        /// What the cryptography said.
        why: String,
    },
}

pub(super) fn unreadable<E: ToString>(what: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::Unreadable { what, why: error.to_string() }
}

pub(super) fn not_made<E: ToString>(what: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::NotMade { what, why: error.to_string() }
}
