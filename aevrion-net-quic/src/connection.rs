//! A QUIC connection behind the core's `Connection` trait.

use std::sync::Arc;
use std::time::Duration;

use aevrion_core::identity::Member;
use aevrion_core::transport::{CloseReason, Connection, Lane, Side, Traffic, TransportError, shortened};
use aevrion_core::{NodeId, Timestamp};
use aevrion_net::{ConnectionPlace, TransportState};
use async_trait::async_trait;
use bytes::Bytes;
use quinn::{ConnectionError, VarInt};

use crate::lane::{QuicLane, Trouble};

/// The code of a close. The reason goes along in words; nothing depends on the number.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(0);

/// Priority of the live lane's stream over the repair lane's, when both have bytes to send.
const LIVE_FIRST: i32 = 1;

/// One end of a connection. Dropping it closes it.
pub(crate) struct QuicConnection {
    neighbour: Member,
    inner: quinn::Connection,
    lanes: [QuicLane; 2],
    close_reason: CloseReason,
    /// The transport's close reason, which ends all its connections.
    transport: Arc<CloseReason>,
}

impl QuicConnection {
    /// Wraps an admitted connection. The streams are in the order of [`Lane::ALL`].
    pub(crate) fn start(
        state: &TransportState,
        neighbour: Member,
        inner: quinn::Connection,
        streams: [(quinn::SendStream, quinn::RecvStream); 2],
        place: ConnectionPlace,
    ) -> Self {
        // It fails only if the connection has already ended, which the first send will report.
        let _ = streams[Lane::Live as usize].0.set_priority(LIVE_FIRST);
        let lanes = streams.map(|(sending, receiving)| QuicLane::new(sending, receiving));
        let watched = inner.clone();
        tokio::spawn(async move {
            watched.closed().await;
            drop(place);
        });
        Self {
            neighbour,
            inner,
            lanes,
            close_reason: CloseReason::default(),
            transport: Arc::clone(&state.close_reason),
        }
    }

    /// The error of an ended connection.
    fn end(&self) -> Option<TransportError> {
        let (by, reason) = match self.inner.close_reason()? {
            ConnectionError::LocallyClosed => {
                let error = self.close_reason.error().or_else(|| self.transport.error());
                return Some(
                    error.unwrap_or(TransportError::Closed { by: Side::Here, reason: String::new() }),
                );
            }
            ConnectionError::ApplicationClosed(close) => {
                (Side::There, shortened(&String::from_utf8_lossy(&close.reason)).to_owned())
            }
            ConnectionError::ConnectionClosed(close) => (Side::There, format!("QUIC failed there: {close}")),
            ConnectionError::TransportError(error) => {
                return Some(TransportError::Violation { what: format!("it violates QUIC: {error}") });
            }
            ConnectionError::TimedOut => (Side::Network, "no sign of life".to_owned()),
            ConnectionError::Reset => (Side::Network, "the other side has forgotten it".to_owned()),
            error => (Side::Network, error.to_string()),
        };
        Some(TransportError::Closed { by, reason })
    }

    /// Closes it for a fault of the other side.
    fn fail(&self, error: TransportError) -> TransportError {
        if self.close_reason.fail(error.clone()) {
            self.inner.close(CLOSED, shortened(&error.to_string()).as_bytes());
        }
        error
    }

    /// The error to report for `trouble`.
    fn error(&self, trouble: Trouble) -> TransportError {
        match trouble {
            Trouble::Frame(error) => error,
            Trouble::Ended => self.end().unwrap_or_else(|| {
                // The other side reset or stopped a stream, which no honest node does while the connection stands.
                self.fail(TransportError::Violation { what: "it gave up a lane".to_owned() })
            }),
        }
    }
}

#[async_trait]
impl Connection for QuicConnection {
    fn neighbour(&self) -> NodeId {
        self.neighbour.node
    }

    fn proven_until(&self) -> Option<Timestamp> {
        Some(self.neighbour.until)
    }

    fn address(&self) -> String {
        self.inner.remote_address().to_string()
    }

    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError> {
        self.lanes[lane as usize].send(frame).await.map_err(|trouble| self.error(trouble))
    }

    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError> {
        // Frames that arrived before the close are not delivered any more.
        if let Some(end) = self.end() {
            return CloseReason::received(end);
        }
        match self.lanes[lane as usize].receive(longest).await {
            Ok(frame) => Ok(Some(frame)),
            Err(Trouble::Ended) => CloseReason::received(self.error(Trouble::Ended)),
            Err(Trouble::Frame(error)) => Err(self.fail(error)),
        }
    }

    fn close(&self, reason: &str) {
        // The first reason counts; a second one is neither kept nor sent.
        if self.close_reason.end(Side::Here, reason) {
            self.inner.close(CLOSED, shortened(reason).as_bytes());
        }
    }

    fn traffic(&self) -> Traffic {
        let stats = self.inner.stats();
        Traffic { sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes }
    }

    fn round_trip(&self) -> Option<Duration> {
        Some(self.inner.rtt())
    }
}

impl Drop for QuicConnection {
    fn drop(&mut self) {
        self.close("nobody uses the connection any more");
    }
}
