//! Shared helpers: clusters and nodes under test.

use std::sync::Arc;
use std::time::Duration;

use super::Kit;
use crate::conformance::within;
use crate::identity::join::Joining;
use crate::identity::{Authority, CERTIFICATE_VALIDITY, Credentials, Identity, NodeKey};
use crate::transport::{Lane, Limits, Refusal, Transport, TransportError};
use crate::{SystemWall, Timestamp, WallClock};

/// Half of the handshake timeout, which some promises have to wait for.
const HANDSHAKE: Duration = Duration::from_secs(5);

pub(super) struct Bench {
    pub(super) kit: Box<dyn Kit>,
}

/// A cluster for tests, with an authority that lives as long as this value.
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
    /// A new cluster.
    ///
    /// # Panics
    /// If the machine has no randomness. The same holds for its nodes.
    pub fn new() -> Self {
        Self { authority: sound(Authority::make_at(now())) }
    }

    /// A node whose certificate was issued at `at`, and is valid for `validity`.
    pub(super) fn node(&self, at: Timestamp, validity: Duration) -> Identity {
        sound(self.authority.admit_at(sound(NodeKey::generate()), at, validity))
    }

    /// A new node with a valid certificate.
    pub fn sound_node(&self) -> Identity {
        self.node(now(), CERTIFICATE_VALIDITY)
    }
}

/// Unwraps a result that cannot fail if the suite is correct.
pub(super) fn sound<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("the suite's own certificates must work: {error}"))
}

pub(super) fn limits() -> Limits {
    Limits::default().handshake(HANDSHAKE)
}

impl Bench {
    pub(super) fn new(kit: impl Kit) -> Self {
        Self { kit: Box::new(kit) }
    }

    pub(super) fn bind(&self, credentials: impl Into<Credentials>) -> Arc<dyn Joining> {
        self.bind_with(credentials, limits())
    }

    pub(super) fn bind_with(&self, credentials: impl Into<Credentials>, limits: Limits) -> Arc<dyn Joining> {
        bind(&*self.kit, credentials.into(), limits)
    }
}

fn bind(kit: &dyn Kit, credentials: Credentials, limits: Limits) -> Arc<dyn Joining> {
    kit.bind(credentials, limits).unwrap_or_else(|error| panic!("the transport must bind: {error}"))
}

/// The error of a dial that must fail.
pub(super) async fn refused(promise: &str, from: &dyn Joining, to: &dyn Joining) -> TransportError {
    let address = to.address();
    match within(promise, from.dial(&address)).await {
        Err(error) => error,
        Ok(_) => panic!("{promise}: it was let in"),
    }
}

/// Waits until exactly the counts `wanted`, and no others, are reported by `transport`.
pub(super) async fn counted(promise: &str, transport: &dyn Transport, wanted: &[(Refusal, u64)]) {
    let counts = || {
        let counts = transport.refusals().into_iter();
        counts.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    // The other side may learn of the refusal before it is counted here.
    let waiting = async {
        while counts() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(HANDSHAKE * 3, waiting).await.is_err() {
        panic!("{promise}: counted are {:?}, not {wanted:?}", counts());
    }
}

/// Connects an honest node of `cluster` to `to`, and checks that frames pass both ways.
///
/// # Panics
/// If they do not. The text begins with the promise.
pub async fn honest_node_gets_in(promise: &str, kit: &dyn Kit, cluster: &Cluster, to: &dyn Joining) {
    let node = bind(kit, cluster.sound_node().into(), limits());
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
