//! A client before its admission, as the server sees it.

use std::sync::Arc;

use aevrion_core::NodeId;
use aevrion_core::identity::Member;
use aevrion_core::identity::join::JoinServer;
use aevrion_core::transport::{Connection, Lane, Refusal};
use aevrion_net::{Client, ConnectionPlace, TransportState};
use async_trait::async_trait;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use crate::connection::{CLOSED, QuicConnection};
use crate::dial::shown;
use crate::error::refusal_of;

/// A QUIC connection and the certificates of its client.
pub(crate) struct QuicClient {
    connection: quinn::Connection,
    protocol: Option<Vec<u8>>,
    certificates: Option<Vec<CertificateDer<'static>>>,
}

impl QuicClient {
    /// Completes the handshake.
    pub(crate) async fn secure(connecting: Connecting) -> Result<Self, Refusal> {
        let connection = connecting.await.map_err(|error| refusal_of(&error))?;
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        let certificates = shown(&connection);
        Ok(Self { connection, protocol, certificates })
    }
}

#[async_trait]
impl Client for QuicClient {
    fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }

    fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.certificates.as_deref()
    }

    async fn welcome(
        self: Box<Self>,
        state: &TransportState,
        member: Member,
        place: ConnectionPlace,
    ) -> Result<Arc<dyn Connection>, Refusal> {
        let streams = open_lanes(&self.connection).await.ok_or_else(|| {
            self.connection.close_reason().map_or(Refusal::Broken, |error| refusal_of(&error))
        })?;
        Ok(Arc::new(QuicConnection::start(state, member, self.connection, streams, place)))
    }

    async fn answer(
        self: Box<Self>,
        joins: &JoinServer,
        node: Option<NodeId>,
        from: &str,
    ) -> Result<(), Refusal> {
        let (mut sending, receiving) =
            self.connection.accept_bi().await.map_err(|error| refusal_of(&error))?;
        let mut stream = tokio::io::join(receiving, &mut sending);
        joins.answer(&mut stream, node, from).await.map_err(|_| Refusal::Broken)?;
        // The other side closes once it has read the answer.
        if sending.finish().is_ok() {
            self.connection.closed().await;
        }
        Ok(())
    }

    async fn turn_away(self: Box<Self>, words: &str) {
        self.connection.close(CLOSED, words.as_bytes());
    }
}

/// Opens both lanes, and writes the name of each as its first byte.
async fn open_lanes(connection: &quinn::Connection) -> Option<[(SendStream, RecvStream); 2]> {
    let mut streams = Vec::with_capacity(Lane::ALL.len());
    for lane in Lane::ALL {
        let (mut sending, receiving) = connection.open_bi().await.ok()?;
        sending.write_all(&[lane as u8]).await.ok()?;
        streams.push((sending, receiving));
    }
    streams.try_into().ok()
}
