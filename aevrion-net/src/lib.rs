//! The common part of Aevrion's network transports: resolving names, dialling in the time left, and listening within
//! limits.
//!
//! A transport is a [`Network`] inside a [`NetworkTransport`]. The network knows its sockets and its wire format; the
//! transport decides everything else, so that all networks decide alike: about admission, places, counters and time
//! limits.
//!
//! ```text
//! arrival ─▶ place for a handshake ─▶ TLS ─▶ admission ─┬─▶ place for a connection ─▶ welcome ─▶ accept queue
//!                                                       ├─▶ request to join or to renew ─▶ answer
//!                                                       └─▶ refusal, in words, counted
//! address ─▶ resolve ─▶ one address after the other ─▶ TLS ─▶ the server's welcome ─▶ connection
//! ```
//!
//! All state belongs to one transport. A process may have any number of them.

mod accept_queue;
mod connections;
mod dialling;
mod error;
mod handshakes;
mod listening;
mod network;
mod refusals;
mod resolve;
mod state;
mod transport;

pub use connections::{ConnectionPlace, ConnectionPlaces};
pub use dialling::{first_to_answer, in_time};
pub use error::BindError;
pub use handshakes::HandshakePlaces;
pub use network::{Client, GRACE, Network};
pub use refusals::RefusalCounters;
pub use resolve::resolve;
pub use state::TransportState;
pub use transport::NetworkTransport;
