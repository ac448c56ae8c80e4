//! What the promises share: clusters and nodes to try them on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Kit;
use crate::identity::join::Joining;
use crate::identity::{Authority, CERTIFICATE_VALIDITY, Credentials, Identity, NodeKey};
use crate::transport::{Lane, Limits, Refusal, Transport, TransportError};
use crate::{SystemWall, Timestamp, WallClock};

/// Far beyond what anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Half of what a handshake may take: what waits for that is waited for.
const HANDSHAKE: Duration = Duration::from_secs(5);

pub(super) struct Bench {
    pub(super) kit: Box<dyn Kit>,
}

/// A cluster made for tests, that lives as long as this.
pub struct Cluster {
    pub(super) authority: Authority,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn now() -> Timestamp {
    SystemWall.now()
}

impl Cluster {
    /// A new one.
    ///
    /// # Panics
    /// If the machine gives no randomness; so do its nodes.
    pub fn new() -> Self {
        Self { authority: sound(Authority::make(now())) }
    }

    /// A node whose certificate was issued at `at`, and is valid for `validity`.
    pub(super) fn node(&self, at: Timestamp, validity: Duration) -> Identity {
        sound(self.authority.admit(sound(NodeKey::generate()), at, validity))
    }

    /// A new node as it should be.
    pub fn sound_node(&self) -> Identity {
        self.node(now(), CERTIFICATE_VALIDITY)
    }
}

/// What cannot fail where the suite itself does everything right.
pub(super) fn sound<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("the suite's own certificates must work: {error}"))
}

pub(super) fn limits() -> Limits {
    Limits { handshake: HANDSHAKE, ..Limits::default() }
}

impl Bench {
    pub(super) fn new(kit: impl Kit) -> Self {
        Self { kit: Box::new(kit) }
    }

    pub(super) fn bind(&self, credentials: impl Into<Credentials>) -> Arc<dyn Joining> {
        self.bind_with(credentials, limits())
    }

    pub(super) fn bind_with(&self, credentials: impl Into<Credentials>, limits: Limits) -> Arc<dyn Joining> {
        let bound = self.kit.bind(credentials.into(), limits);
        bound.unwrap_or_else(|error| panic!("the transport must bind: {error}"))
    }
}

pub(super) async fn within<T>(promise: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => panic!("{promise}: still waiting after {PATIENCE:?}"),
    }
}

/// The error of a dial that must fail.
pub(super) async fn refused(promise: &str, from: &dyn Joining, to: &dyn Joining) -> TransportError {
    let address = to.address();
    match within(promise, from.dial(&address)).await {
        Err(error) => error,
        Ok(_) => panic!("{promise}: it was let in"),
    }
}

/// Waits until exactly `wanted` were counted at `transport`, and nothing else.
pub(super) async fn counted(promise: &str, transport: &dyn Transport, wanted: &[(Refusal, u64)]) {
    let counts = || {
        let counts = transport.refusals().into_iter();
        counts.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    // The other side may hear of it before it is counted here.
    let waiting = async {
        while counts() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(HANDSHAKE * 3, waiting).await.is_err() {
        panic!("{promise}: counted are {:?}, not {wanted:?}", counts());
    }
}

/// An honest node connects to `to`, and frames get through both ways.
pub(super) async fn honest_node_gets_in(promise: &str, bench: &Bench, cluster: &Cluster, to: &dyn Joining) {
    let node = bench.bind(cluster.sound_node());
    let address = to.address();
    let near = within(promise, node.dial(&address)).await;
    let near = near.unwrap_or_else(|error| panic!("{promise}: an honest node is kept out: {error}"));
    let far = within(promise, async {
        loop {
            let far = to.accept().await.unwrap_or_else(|| panic!("{promise}: the transport goes on"));
            if far.neighbour() == node.node() {
                return far;
            }
        }
    })
    .await;
    for (one, other) in [(&near, &far), (&far, &near)] {
        let sent = within(promise, one.send(Lane::Live, "honest".into())).await;
        let found = within(promise, other.receive(Lane::Live, 100)).await;
        assert!(
            sent.is_ok() && matches!(&found, Ok(Some(frame)) if frame == "honest"),
            "{promise}: an honest node's frames get through: {sent:?}, {found:?}"
        );
    }
}
