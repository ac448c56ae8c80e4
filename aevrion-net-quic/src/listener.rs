//! Accepting connections, and refusing strangers.

use std::sync::Arc;

use aevrion_core::identity::Admission;
use aevrion_core::transport::{HandshakePlace, Lane, Refusal, Rejection};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, Connection, ConnectionError, Incoming};
use tokio::sync::mpsc::UnboundedSender;

use crate::connection::QuicConnection;
use crate::dial::shown;
use crate::error::refusal_of;
use crate::state::{CLOSED, Core};

/// Accepts connections until the transport is closed.
pub(crate) async fn listen(core: Arc<Core>, queue: UnboundedSender<QuicConnection>) {
    while let Some(incoming) = core.endpoint.accept().await {
        receive(&core, incoming, &queue);
    }
}

/// The source address of a first packet may be forged. Once half of the handshake slots are taken, clients must
/// validate theirs first (a Retry packet, RFC 9000, 8.1.2); that costs them one round trip, and this node no state.
fn receive(core: &Arc<Core>, incoming: Incoming, queue: &UnboundedSender<QuicConnection>) {
    let from = incoming.remote_address();
    let crowded = core.limiter.handshakes() >= core.limits.handshakes / 2;
    if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
        // It fails only if a retry is not allowed, which was checked above.
        let _ = incoming.retry();
        return;
    }
    let place = core.limiter.enter(from.ip());
    match incoming.accept() {
        Ok(connecting) => drop(tokio::spawn(meet(Arc::clone(core), connecting, place, queue.clone()))),
        Err(error) => core.limiter.refuse(&from.to_string(), refusal_of(&error)),
    }
}

/// Runs the handshake of an incoming connection, or refuses it.
async fn meet(
    core: Arc<Core>,
    connecting: Connecting,
    place: HandshakePlace,
    queue: UnboundedSender<QuicConnection>,
) {
    let from = connecting.remote_address().to_string();
    let handshake = handshake(&core, connecting, &from);
    if let Some(connection) = core.limiter.see_through(place, &from, &core.close_reason, handshake).await {
        // If nothing accepts connections any more, dropping this one closes it.
        let _ = queue.send(connection);
    }
}

/// The connection of a neighbour; `None` for an answered join or renewal.
async fn handshake(
    core: &Arc<Core>,
    connecting: Connecting,
    from: &str,
) -> Result<Option<QuicConnection>, Refusal> {
    let broken = |error: ConnectionError| refusal_of(&error);
    let connection = connecting.await.map_err(broken)?;
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let certificates = shown(&connection);
    match core.credentials.admit(protocol.as_deref(), certificates.as_deref()) {
        Ok(Admission::Neighbour(member)) => {
            let Some(place) = core.limiter.admit(member.node) else {
                return Err(turn_away(&connection, Refusal::TooMany.into()));
            };
            let streams = open_lanes(&connection).await;
            let streams = streams.ok_or_else(|| {
                connection.close_reason().map_or(Refusal::Broken, |error| refusal_of(&error))
            })?;
            Ok(Some(QuicConnection::start(core, member, connection, streams, place)))
        }
        Ok(Admission::Asking(node)) => {
            let (mut sending, receiving) = connection.accept_bi().await.map_err(broken)?;
            let mut stream = tokio::io::join(receiving, &mut sending);
            let answered = core.joins.answer(&mut stream, node, from).await;
            answered.map_err(|_| Refusal::Broken)?;
            // The other side closes once it has read the answer.
            if sending.finish().is_ok() {
                connection.closed().await;
            }
            Ok(None)
        }
        Err(rejection) => Err(turn_away(&connection, rejection)),
    }
}

fn turn_away(connection: &Connection, Rejection { refusal, words }: Rejection) -> Refusal {
    connection.close(CLOSED, words.as_bytes());
    refusal
}

/// Opens both lanes, and writes the name of each as its first byte.
async fn open_lanes(connection: &Connection) -> Option<[(quinn::SendStream, quinn::RecvStream); 2]> {
    let mut streams = Vec::with_capacity(Lane::ALL.len());
    for lane in Lane::ALL {
        let (mut sending, receiving) = connection.open_bi().await.ok()?;
        sending.write_all(&[lane as u8]).await.ok()?;
        streams.push((sending, receiving));
    }
    streams.try_into().ok()
}
