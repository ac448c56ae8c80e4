//! Identities: the cluster's authority, the certificates of its nodes, and how a machine becomes a node.
//!
//! A cluster has one [`Authority`], whose certificate every node knows. A node is a key: its [`NodeId`](crate::NodeId)
//! is the BLAKE3 hash of the public half. An id therefore cannot be claimed without the private half, and stays the
//! same when the certificate is renewed. Transports authenticate both ends with TLS 1.3 and the configurations of
//! [`Credentials`]; they make no decisions about trust.
//!
//! Invariants:
//!
//! - **A server identifies a client after the handshake, in one place** ([`Credentials::admit`]). TLS itself accepts a
//!   client without a certificate or with a foreign one, so that the server can explain a refusal in words, and so that
//!   a machine can [join] over the same port. The handshake proves possession of the key of any presented certificate.
//! - **A client sends nothing before it has verified the server.**
//! - **There is no session resumption.** Every connection authenticates anew, so an expired certificate fails at its
//!   next use.
//! - **A removed node has no neighbours.** Each server and each client checks the other side against the nodes that the
//!   authority has [removed](Credentials::removals), whatever its certificate says.
//! - **A private key never leaves its machine**, and a key that every user of the machine may read is not used.

mod authority;
mod certificate;
mod cluster_key;
#[cfg(feature = "testkit")]
pub mod conformance;
mod credentials;
mod error;
mod files;
pub mod join;
mod key;
mod node;
mod removal;
mod tls;
mod verify;

pub use authority::{Authority, CERTIFICATE_VALIDITY};
pub use certificate::Fingerprint;
pub use cluster_key::ClusterKey;
pub use credentials::{Admission, Credentials};
pub use error::IdentityError;
pub use key::NodeKey;
pub use node::Identity;
pub use removal::REMOVAL_BYTES;
pub use verify::{Member, refusal_of_alert, refusal_of_error};

/// The protocol between neighbours (ALPN).
pub const PROTOCOL: &[u8] = b"aevrion/1";

/// The protocol for joining and for renewing a certificate (ALPN).
pub const JOIN_PROTOCOL: &[u8] = b"aevrion-join/1";

/// The name in every node's certificate. TLS requires one, but keys identify the nodes.
pub const SERVER_NAME: &str = "node.aevrion";
