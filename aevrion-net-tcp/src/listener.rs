//! Accepting connections, and refusing strangers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::NodeId;
use aevrion_core::identity::{Admission, Member};
use aevrion_core::transport::{ConnectionPlace, HandshakePlace, Refusal};
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::chunk;
use crate::connection::TcpConnection;
use crate::counted::Counted;
use crate::drive::{GRACE, farewell};
use crate::error::refusal_of;
use crate::socket;
use crate::state::Core;

/// Pause when the system has no more sockets: until some are closed.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Accepts connections until the transport is closed.
pub(crate) async fn listen(core: Arc<Core>, listener: TcpListener, queue: UnboundedSender<TcpConnection>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = core.close_reason.wait() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let place = core.limiter.enter(from.ip());
                tokio::spawn(meet(Arc::clone(&core), stream, from, place, queue.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(OUT_OF_SOCKETS).await;
            }
        }
    }
}

/// Runs the handshake of an accepted stream, or refuses it.
async fn meet(
    core: Arc<Core>,
    stream: TcpStream,
    from: SocketAddr,
    place: HandshakePlace,
    queue: UnboundedSender<TcpConnection>,
) {
    let handshake = handshake(&core, stream, from);
    if let Some(connection) =
        core.limiter.see_through(place, &from.to_string(), &core.close_reason, handshake).await
    {
        // If nothing accepts connections any more, dropping this one closes it.
        let _ = queue.send(connection);
    }
}

/// The connection of a neighbour; `None` for an answered join or renewal.
async fn handshake(
    core: &Arc<Core>,
    stream: TcpStream,
    from: SocketAddr,
) -> Result<Option<TcpConnection>, Refusal> {
    socket::prepare(&stream).map_err(|_| Refusal::Broken)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&core.serving));
    let stream = acceptor.accept(Counted::new(stream)).await;
    let mut stream = stream.map_err(|error| refusal_of(&error))?;
    let session = stream.get_ref().1;
    let admission = core.credentials.admit(session.alpn_protocol(), session.peer_certificates());
    match admission.and_then(|admission| Ok(room_for(core, admission)?)) {
        Ok(Room::Neighbour(member, place)) => {
            let mut words = BytesMut::new();
            chunk::put_welcome(&mut words);
            let sent = async {
                stream.write_all(&words).await?;
                stream.flush().await
            }
            .await;
            sent.map_err(|error| refusal_of(&error))?;
            let counts = stream.get_ref().0.counts();
            let who = (member, from);
            Ok(Some(TcpConnection::start(core, who, stream, counts, BytesMut::new(), place)))
        }
        Ok(Room::Asking(node)) => {
            let answered = core.joins.answer(&mut stream, node, &from.to_string()).await;
            answered.map_err(|error| refusal_of(&error))?;
            say(stream, BytesMut::new()).await;
            Ok(None)
        }
        Err(rejection) => {
            let mut words = BytesMut::new();
            chunk::put_close(&mut words, &rejection.words);
            say(stream, words).await;
            Err(rejection.refusal)
        }
    }
}

/// An admitted client. One that joins or renews needs no connection slot: it is done within the handshake's time limit.
enum Room {
    Neighbour(Member, ConnectionPlace),
    Asking(Option<NodeId>),
}

fn room_for(core: &Core, admission: Admission) -> Result<Room, Refusal> {
    match admission {
        Admission::Neighbour(member) => {
            Ok(Room::Neighbour(member, core.limiter.admit(member.node).ok_or(Refusal::TooMany)?))
        }
        Admission::Asking(node) => Ok(Room::Asking(node)),
    }
}

/// Sends the last chunks on a stream, and closes it.
async fn say(stream: TlsStream<Counted>, mut words: BytesMut) {
    let (mut reading, mut writing) = tokio::io::split(stream);
    // Best effort: delivery depends on the other side.
    let _ = timeout(GRACE, farewell(&mut reading, &mut writing, &mut words)).await;
}
