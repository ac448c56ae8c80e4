//! The transport of Aevrion over TCP and TLS 1.3, for networks that carry no UDP.
//!
//! Both lanes of a connection share one stream, in chunks taken from each in turn, so that neither waits for more than
//! a chunk of the other. Each lane has its own credit: the receiver grants a number of bytes, and a lane whose frames
//! are not received stops alone. The file `chunk.rs` describes the wire format.

mod chunk;
mod client;
mod connection;
mod counted;
mod dial;
mod drive;
mod error;
mod inbox;
mod join;
mod network;
mod open_connections;
mod outbox;
mod socket;
#[cfg(test)]
mod tests;

use aevrion_net::NetworkTransport;

pub use aevrion_net::BindError;
pub use join::join;
pub use network::Tcp;

/// A transport over TCP.
pub type TcpTransport = NetworkTransport<Tcp>;
