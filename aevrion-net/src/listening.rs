//! Listening: places for arrivals, their admission, and the refusal of strangers.

use std::net::SocketAddr;
use std::sync::Arc;

use aevrion_core::NodeId;
use aevrion_core::identity::{Admission, Member};
use aevrion_core::transport::{Connection, Refusal};

use crate::accept_queue::Accepted;
use crate::connections::ConnectionPlace;
use crate::handshakes::HandshakePlace;
use crate::network::Network;
use crate::state::TransportState;

/// Accepts connections until the transport is closed.
pub(crate) async fn listen<N: Network>(network: Arc<N>, state: Arc<TransportState>, accepted: Accepted) {
    loop {
        let arrival = tokio::select! {
            biased;
            _ = state.close_reason.wait() => return,
            arrival = network.arrival(&state) => arrival,
        };
        let Some((arrival, from)) = arrival else { return };
        let place = state.handshakes.enter(from.ip());
        let (network, state, accepted) = (Arc::clone(&network), Arc::clone(&state), accepted.clone());
        tokio::spawn(async move { meet(&*network, &state, arrival, from, place, &accepted).await });
    }
}

/// Runs the handshake of an arrival, or refuses and counts it. The handshake ends at its timeout, when another one
/// needs its place, or when the transport closes.
async fn meet<N: Network>(
    network: &N,
    state: &TransportState,
    arrival: N::Arrival,
    from: SocketAddr,
    place: HandshakePlace,
    accepted: &Accepted,
) {
    let handshake = handshake(network, state, arrival, from);
    let met = tokio::select! {
        biased;
        _ = state.close_reason.wait() => return,
        () = place.leave() => Err(Refusal::TooMany),
        met = tokio::time::timeout(state.limits.handshake, handshake) => met.unwrap_or(Err(Refusal::TooSlow)),
    };
    match met {
        // If nothing accepts connections any more, dropping this one closes it.
        Ok(Some(connection)) => drop(accepted.send(connection)),
        Ok(None) => {}
        Err(refusal) => state.refusals.refuse(&from.to_string(), refusal),
    }
}

/// The connection of a neighbour; `None` for an answered join or renewal.
async fn handshake<N: Network>(
    network: &N,
    state: &TransportState,
    arrival: N::Arrival,
    from: SocketAddr,
) -> Result<Option<Arc<dyn Connection>>, Refusal> {
    let client = network.secure(arrival, from).await?;
    let admission = state.credentials.admit(client.protocol(), client.certificates());
    match admission.and_then(|admission| Ok(room_for(state, admission)?)) {
        Ok(Room::Neighbour(member, place)) => client.welcome(state, member, place).await.map(Some),
        Ok(Room::Asking(node)) => client.answer(&state.joins, node, &from.to_string()).await.map(|()| None),
        Err(rejection) => {
            client.turn_away(&rejection.words).await;
            Err(rejection.refusal)
        }
    }
}

/// An admitted client. One that joins or renews needs no connection place: it is done within the handshake's time
/// limit.
enum Room {
    Neighbour(Member, ConnectionPlace),
    Asking(Option<NodeId>),
}

fn room_for(state: &TransportState, admission: Admission) -> Result<Room, Refusal> {
    match admission {
        Admission::Neighbour(member) => {
            Ok(Room::Neighbour(member, state.connections.admit(member.node).ok_or(Refusal::TooMany)?))
        }
        Admission::Asking(node) => Ok(Room::Asking(node)),
    }
}
