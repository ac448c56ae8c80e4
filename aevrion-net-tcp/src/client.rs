//! A client before its admission, as the server sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::NodeId;
use aevrion_core::identity::Member;
use aevrion_core::identity::join::JoinServer;
use aevrion_core::transport::{Connection, Refusal};
use aevrion_net::{Client, ConnectionPlace, GRACE, TransportState};
use async_trait::async_trait;
use bytes::BytesMut;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::chunk;
use crate::connection::TcpConnection;
use crate::counted::Counted;
use crate::drive::farewell;
use crate::error::refusal_of;
use crate::open_connections::OpenConnections;
use crate::socket;

/// A TLS stream, and the connections that it joins once it is admitted.
pub(crate) struct TcpClient {
    stream: TlsStream<Counted>,
    from: SocketAddr,
    open: Arc<OpenConnections>,
}

impl TcpClient {
    /// Completes the handshake with the settings `config`.
    pub(crate) async fn secure(
        stream: TcpStream,
        from: SocketAddr,
        config: &Arc<ServerConfig>,
        open: Arc<OpenConnections>,
    ) -> Result<Self, Refusal> {
        socket::prepare(&stream).map_err(|_| Refusal::Broken)?;
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let stream = acceptor.accept(Counted::new(stream)).await;
        Ok(Self { stream: stream.map_err(|error| refusal_of(&error))?, from, open })
    }
}

#[async_trait]
impl Client for TcpClient {
    fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.stream.get_ref().1.peer_certificates()
    }

    async fn welcome(
        mut self: Box<Self>,
        state: &TransportState,
        member: Member,
        place: ConnectionPlace,
    ) -> Result<Arc<dyn Connection>, Refusal> {
        let mut words = BytesMut::new();
        chunk::put_welcome(&mut words);
        let stream = &mut self.stream;
        let sent = async {
            stream.write_all(&words).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| refusal_of(&error))?;
        let Self { stream, from, open } = *self;
        let (counts, arrived) = (stream.get_ref().0.counts(), BytesMut::new());
        Ok(Arc::new(TcpConnection::start(state, &open, (member, from), stream, counts, arrived, place)))
    }

    async fn answer(
        mut self: Box<Self>,
        joins: &JoinServer,
        node: Option<NodeId>,
        from: &str,
    ) -> Result<(), Refusal> {
        joins.answer(&mut self.stream, node, from).await.map_err(|error| refusal_of(&error))?;
        say(self.stream, BytesMut::new()).await;
        Ok(())
    }

    async fn turn_away(self: Box<Self>, words: &str) {
        let mut last = BytesMut::new();
        chunk::put_close(&mut last, words);
        say(self.stream, last).await;
    }
}

/// Sends the last chunks on a stream, and closes it.
async fn say(stream: TlsStream<Counted>, mut words: BytesMut) {
    let (mut reading, mut writing) = tokio::io::split(stream);
    // Best effort: delivery depends on the other side.
    let _ = timeout(GRACE, farewell(&mut reading, &mut writing, &mut words)).await;
}
