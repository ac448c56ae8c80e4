//! Who is who: the cluster's authority, the certificates of its nodes, and how a machine becomes a node.
//!
//! A cluster has one [`Authority`], whose certificate every node knows. A node is a key: its [`NodeId`](crate::NodeId)
//! is the BLAKE3 hash of the public half, so an id cannot be claimed without the private half, and it stays the same
//! however often the certificate is renewed. Transports prove both to each other with TLS 1.3, and take everything
//! they need for that from [`Credentials`]; they decide nothing about trust themselves.
//!
//! What is always true:
//!
//! - **A server reads who a client is after the handshake, in one place** ([`Credentials::admit`]). TLS itself lets a
//!   client pass that shows no certificate or a stranger's: only so can it be told why it is turned away, in words, and
//!   only so can a machine that wants to [join] use the same port. Whoever shows a certificate
//!   has proven, in the handshake, that it holds the key.
//! - **A client sends nothing before it has verified the server.**
//! - **Nothing is resumed.** Every connection proves everything anew, so an expired certificate ends with its next use.
//! - **A removed node is nobody's neighbour.** Who is met, as server or as client, is looked up among those whom the
//!   authority has [removed](Credentials::removals), whatever its certificate says.
//! - **A private key leaves its machine never**, and one that everyone on the machine may read is not used.

mod authority;
mod certificate;
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
pub use credentials::{Admission, Credentials, Member};
pub use error::IdentityError;
pub use key::NodeKey;
pub use node::Identity;
pub use removal::REMOVAL_BYTES;
pub use verify::{refusal_of_alert, refusal_of_error};

/// The protocol between neighbours, as TLS negotiates it (ALPN).
pub const PROTOCOL: &[u8] = b"aevrion/1";

/// The protocol between a machine that wants to become a node, or whose certificate is to be renewed, and a node.
pub const JOIN_PROTOCOL: &[u8] = b"aevrion-join/1";

/// The one name in every node's certificate. Nodes are told apart by their keys; TLS wants a name all the same.
pub const SERVER_NAME: &str = "node.aevrion";
