//! Being reached by others, and turning away whoever does not belong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::identity::{Admission, join};
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
use crate::drive::farewell;
use crate::error::refusal_of;
use crate::{Core, GRACE};

/// How long to wait when the system has no more sockets to give: until some are closed.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Takes in whoever connects until the transport is closed.
pub(crate) async fn listen(core: Arc<Core>, listener: TcpListener, queue: UnboundedSender<TcpConnection>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = core.ending.wait() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let place = core.gate.enter(from.ip());
                tokio::spawn(meet(Arc::clone(&core), stream, from, place, queue.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(OUT_OF_SOCKETS).await;
            }
        }
    }
}

/// Sees one that connected through its handshake, or turns it away.
async fn meet(
    core: Arc<Core>,
    stream: TcpStream,
    from: SocketAddr,
    place: HandshakePlace,
    queue: UnboundedSender<TcpConnection>,
) {
    let met = tokio::select! {
        biased;
        _ = core.ending.wait() => return,
        () = place.leave() => Err(Refusal::TooMany),
        met = timeout(core.limits.handshake, handshake(&core, stream, from)) => {
            met.unwrap_or(Err(Refusal::TooSlow))
        }
    };
    match met {
        // If nobody accepts any more, the connection ends with being dropped.
        Ok(Some(connection)) => drop(queue.send(connection)),
        Ok(None) => {}
        Err(refusal) => core.gate.refuse(&from.to_string(), refusal),
    }
}

/// A connection with a neighbour; nothing, if it was one that joins and has been answered.
async fn handshake(
    core: &Arc<Core>,
    stream: TcpStream,
    from: SocketAddr,
) -> Result<Option<TcpConnection>, Refusal> {
    // Small frames are news: they must not wait for company.
    stream.set_nodelay(true).map_err(|_| Refusal::Broken)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&core.serving));
    let stream = acceptor.accept(Counted::new(stream)).await;
    let mut stream = stream.map_err(|error| refusal_of(&error))?;
    let session = stream.get_ref().1;
    let admission = core.credentials.admit(session.alpn_protocol(), session.peer_certificates());
    match admission.and_then(|admission| Ok((admission, room_for(core, admission)?))) {
        Ok((Admission::Neighbour(node), Some(place))) => {
            let mut words = BytesMut::new();
            chunk::put_welcome(&mut words);
            let sent = async {
                stream.write_all(&words).await?;
                stream.flush().await
            }
            .await;
            sent.map_err(|error| refusal_of(&error))?;
            let counts = stream.get_ref().0.counts();
            let who = (node, from);
            Ok(Some(TcpConnection::start(core, who, stream, counts, BytesMut::new(), place)))
        }
        Ok((Admission::Asking(node), _)) => {
            let handler = core.joins().clone();
            let answered = join::answer(&mut stream, node, &from.to_string(), handler.as_deref()).await;
            answered.map_err(|error| refusal_of(&error))?;
            say(stream, BytesMut::new()).await;
            Ok(None)
        }
        Ok((Admission::Neighbour(_), None)) => Err(Refusal::TooMany),
        Err(refusal) => {
            let mut words = BytesMut::new();
            chunk::put_close(&mut words, &refusal.to_string());
            say(stream, words).await;
            Err(refusal)
        }
    }
}

/// The place for a neighbour. Those who ask need none: they are done within the time of the handshake.
fn room_for(core: &Core, admission: Admission) -> Result<Option<ConnectionPlace>, Refusal> {
    match admission {
        Admission::Neighbour(_) => core.gate.admit().map(Some).ok_or(Refusal::TooMany),
        Admission::Asking(_) => Ok(None),
    }
}

/// Says the last words on a stream.
async fn say(stream: TlsStream<Counted>, mut words: BytesMut) {
    let (mut reading, mut writing) = tokio::io::split(stream);
    // Whether they arrive is up to the other side.
    let _ = timeout(GRACE, farewell(&mut reading, &mut writing, &mut words)).await;
}
