//! The transport of Aevrion over QUIC: a stream for each lane, the live one first in every packet.
//!
//! ```text
//! client                                  server
//! handshake: TLS 1.3, both certificates ◀─▶
//!                                       admits the client, or closes with a reason
//!        ◀─ two bidirectional streams; the first byte of each names its lane
//! frames ◀─▶ frames                     a length of four bytes, and as many bytes
//! ```
//!
//! The server opens the streams: so a client knows of its admission before it sends anything.

/// Compiles the README's first program.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod client;
mod connection;
mod dial;
mod error;
mod join;
mod lane;
mod network;
mod reset;
mod settings;
#[cfg(test)]
mod tests;

use aevrion_net::NetworkTransport;

pub use aevrion_net::BindError;
pub use join::join;
pub use network::Quic;

/// A transport over QUIC.
pub type QuicTransport = NetworkTransport<Quic>;
