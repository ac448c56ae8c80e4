//! A TCP connection behind the core's `Connection` trait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::identity::Member;
use aevrion_core::transport::{CloseReason, Connection, Lane, Traffic, TransportError};
use aevrion_core::{NodeId, Timestamp};
use aevrion_net::{ConnectionPlace, TransportState};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::counted::Counts;
use crate::drive::{Shared, Stream, drive};
use crate::open_connections::OpenConnections;

/// One end of a connection. Dropping it closes it.
pub(crate) struct TcpConnection {
    neighbour: Member,
    address: SocketAddr,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
}

impl TcpConnection {
    /// Starts a connection on a mutually authenticated stream. `arrived` holds the bytes received after the handshake.
    pub(crate) fn start(
        state: &TransportState,
        open: &OpenConnections,
        (neighbour, address): (Member, SocketAddr),
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        counts: Arc<Counts>,
        arrived: BytesMut,
        place: ConnectionPlace,
    ) -> Self {
        let shared = Arc::new(Shared::new(&state.limits));
        let stream = Stream { inner: stream, counts: Arc::clone(&counts) };
        tokio::spawn(drive(Arc::clone(&shared), stream, arrived, state.limits, place));
        open.note(&shared, &state.close_reason);
        Self { neighbour, address, shared, counts }
    }
}

#[async_trait]
impl Connection for TcpConnection {
    fn neighbour(&self) -> NodeId {
        self.neighbour.node
    }

    fn proven_until(&self) -> Option<Timestamp> {
        Some(self.neighbour.until)
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError> {
        tokio::select! {
            biased;
            error = self.shared.close_reason.wait() => return Err(error),
            put = self.shared.outboxes[lane as usize].put(frame) => put?,
        }
        self.shared.something_to_write.notify_one();
        Ok(())
    }

    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError> {
        let credit_due = || self.shared.something_to_write.notify_one();
        let received = tokio::select! {
            biased;
            error = self.shared.close_reason.wait() => return CloseReason::received(error),
            received = self.shared.inboxes[lane as usize].receive(longest, credit_due) => received,
        };
        if let Err(error) = &received {
            self.shared.close_reason.fail(error.clone());
        }
        received.map(Some)
    }

    fn close(&self, reason: &str) {
        self.shared.close(reason);
    }

    fn traffic(&self) -> Traffic {
        self.counts.traffic()
    }

    fn round_trip(&self) -> Option<Duration> {
        self.shared.round_trip()
    }
}

impl Drop for TcpConnection {
    fn drop(&mut self) {
        self.close("nobody uses the connection any more");
    }
}
