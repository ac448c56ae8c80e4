//! A network in memory with certificates and counters under the test's control.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aevrion_core::transport::memory::MemoryTransport;
use aevrion_core::transport::{Connection, Lane, Refusal, Removals, Traffic, Transport, TransportError};
use aevrion_core::{NodeId, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;

/// A transport of the in-memory network, with these properties.
pub(crate) struct Dressed {
    transport: MemoryTransport,
    /// The expiry of every node's certificate.
    pub(crate) proven_until: Option<Timestamp>,
    /// Additional received bytes, of incomplete frames.
    pub(crate) besides: Arc<AtomicU64>,
    /// The removals by the cluster's authority.
    pub(crate) removals: Option<Removals>,
}

impl From<MemoryTransport> for Dressed {
    fn from(transport: MemoryTransport) -> Self {
        Self { transport, proven_until: None, besides: Arc::default(), removals: None }
    }
}

impl Dressed {
    fn dress(&self, connection: Arc<dyn Connection>) -> Arc<dyn Connection> {
        let (proven_until, besides) = (self.proven_until, Arc::clone(&self.besides));
        Arc::new(DressedConnection { connection, proven_until, besides })
    }
}

struct DressedConnection {
    connection: Arc<dyn Connection>,
    proven_until: Option<Timestamp>,
    besides: Arc<AtomicU64>,
}

#[async_trait]
impl Transport for Dressed {
    fn name(&self) -> &'static str {
        self.transport.name()
    }

    fn node(&self) -> NodeId {
        self.transport.node()
    }

    fn address(&self) -> String {
        self.transport.address()
    }

    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError> {
        Ok(self.dress(self.transport.dial(address).await?))
    }

    async fn accept(&self) -> Option<Arc<dyn Connection>> {
        Some(self.dress(self.transport.accept().await?))
    }

    fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.transport.refusals()
    }

    fn removals(&self) -> Option<Removals> {
        self.removals.clone()
    }

    async fn close(&self, reason: &str) {
        self.transport.close(reason).await;
    }
}

#[async_trait]
impl Connection for DressedConnection {
    fn neighbour(&self) -> NodeId {
        self.connection.neighbour()
    }

    fn address(&self) -> String {
        self.connection.address()
    }

    fn proven_until(&self) -> Option<Timestamp> {
        self.proven_until
    }

    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError> {
        self.connection.send(lane, frame).await
    }

    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError> {
        self.connection.receive(lane, longest).await
    }

    fn close(&self, reason: &str) {
        self.connection.close(reason);
    }

    fn traffic(&self) -> Traffic {
        let Traffic { sent, received } = self.connection.traffic();
        Traffic { sent, received: received + self.besides.load(Ordering::Relaxed) }
    }

    fn round_trip(&self) -> Option<Duration> {
        self.connection.round_trip()
    }
}
