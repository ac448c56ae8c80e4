//! The conformance suite for the handling of unauthenticated peers: they are refused, both sides know the reason, the
//! refusal is counted, and honest nodes are not affected.
//!
//! It is for transports between nodes with certificates, which dial and listen with [`Credentials`]. Cases specific to
//! one transport, such as garbage on its port, belong in that transport's own tests.

mod bench;
mod joining;
mod removing;
mod strangers;
mod swapping;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
pub use bench::{Cluster, honest_node_gets_in};
use rustls::ClientConfig;

use super::join::{JoinError, Joined, Joining, Token};
use super::{Credentials, NodeKey};
use crate::transport::{Limits, TransportError};

/// Creates transports for the suite, and accesses them in ways that no honest transport does.
#[async_trait]
pub trait Kit: Send + Sync + 'static {
    /// A transport on a free port of the loopback address.
    fn bind(&self, credentials: Credentials, limits: Limits) -> Result<Arc<dyn Joining>, String>;

    /// The crate's own function of this name.
    async fn join(&self, address: &str, token: &Token, key: &NodeKey) -> Result<Joined, JoinError>;

    /// Connects with the given TLS configuration and waits for the server's first message. A refusal is returned as the
    /// error that a dial of the crate would report.
    async fn dial_with(&self, address: &str, config: ClientConfig) -> Result<(), TransportError>;

    /// Starts `number` handshakes with the node at `address` and completes none. They stay open as long as the returned
    /// value.
    async fn begin_handshakes(&self, address: SocketAddr, number: usize) -> Box<dyn std::any::Any + Send>;
}

/// Runs the whole suite. It takes some seconds.
///
/// # Panics
/// If a promise is broken. The text begins with the promise.
pub async fn run(kit: impl Kit) {
    let bench = bench::Bench::new(kit);
    strangers::a_node_of_another_cluster_is_refused_on_both_sides(&bench).await;
    strangers::whoever_shows_no_certificate_is_told_so(&bench).await;
    strangers::an_expired_certificate_is_refused_on_both_sides(&bench).await;
    strangers::a_certificate_of_the_future_is_refused(&bench).await;
    strangers::a_forged_certificate_is_refused(&bench).await;
    strangers::another_protocol_is_refused(&bench).await;
    strangers::whoever_has_no_place_is_told_so(&bench).await;
    strangers::one_node_does_not_get_all_places(&bench).await;
    strangers::an_attempt_that_is_given_up_turns_nobody_away(&bench).await;
    strangers::a_thousand_silent_handshakes_keep_nobody_out(&bench).await;
    swapping::a_renewed_certificate_counts_from_the_next_handshake_on(&bench).await;
    joining::a_machine_with_a_token_becomes_a_node(&bench).await;
    joining::a_token_that_is_not_good_is_refused_with_the_reason(&bench).await;
    joining::a_node_without_the_authority_says_so(&bench).await;
    joining::a_token_of_another_cluster_is_not_shown(&bench).await;
    joining::a_certificate_renews_itself_and_only_itself(&bench).await;
    removing::a_removed_node_is_refused_on_both_sides_and_told_when(&bench).await;
    removing::a_removed_node_gets_no_certificate(&bench).await;
}
