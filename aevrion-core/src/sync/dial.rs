//! Dialling: whoever is to be a neighbour is tried until there, and again whenever gone, ever more patiently.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::links::{self, TurnedAway};
use super::status::{Neighbour, NeighbourState};
use super::{Peer, Shared, lock};
use crate::NodeId;
use crate::transport::{Transport, TransportError, host_and_port};

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A connection that lasted this long begins anew with the first pause.
const LASTED: Duration = Duration::from_secs(10);

/// How often a peer that is connected in some other way is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What is said of a peer at an address of a transport that there is not.
const NO_TRANSPORT: &str = "this node has no such transport: add it to those it serves";

/// The peers that are dialled.
#[derive(Default)]
pub(super) struct Dialled(Mutex<BTreeMap<Peer, Attempt>>);

/// How the last attempt went.
#[derive(Clone, Default)]
struct Attempt {
    /// Who was there.
    found: Option<NodeId>,
    /// Whether that was this node itself.
    myself: bool,
    problem: Option<String>,
}

impl Dialled {
    fn add(&self, peer: &Peer) -> bool {
        let mut peers = lock(&self.0);
        let new = !peers.contains_key(peer);
        peers.entry(peer.clone()).or_default();
        new
    }

    pub(super) fn remove(&self, peer: &Peer) {
        lock(&self.0).remove(peer);
    }

    pub(super) fn all(&self) -> Vec<Peer> {
        lock(&self.0).keys().cloned().collect()
    }

    fn note(&self, peer: &Peer, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = lock(&self.0).get_mut(peer) {
            change(attempt);
        }
    }

    fn note_problem(&self, peer: &Peer, problem: String) {
        self.note(peer, |attempt| attempt.problem = Some(problem));
    }

    fn found(&self, peer: &Peer) -> Option<NodeId> {
        lock(&self.0).get(peer)?.found
    }

    fn is_wanted(&self, peer: &Peer) -> bool {
        lock(&self.0).contains_key(peer)
    }

    /// Where a connected neighbour listens, if it was found at an address of the transport it is connected by. Whoever
    /// has dialled over TCP comes from a port that leads nowhere.
    pub(super) fn listens_at(&self, neighbour: &Neighbour) -> Option<String> {
        let transport = neighbour.address.split_once("://").map(|(name, _)| name);
        let peers = lock(&self.0);
        let is_there = |(peer, attempt): &(&Peer, &Attempt)| {
            attempt.found == neighbour.id && peer.transport() == transport
        };
        peers.iter().find(is_there).map(|(peer, _)| peer.to_string())
    }

    /// Those at which no connected neighbour is known to be. What was found there once and is gone is among them,
    /// whatever it says of a connection of its own.
    pub(super) fn unreached(
        &self,
        connected: &[Neighbour],
        serves: impl Fn(&Peer) -> bool,
    ) -> Vec<Neighbour> {
        let peers = lock(&self.0);
        let reached = |peer: &Peer, attempt: &Attempt| {
            let is_there = |one: &Neighbour| one.id == attempt.found || one.address == peer.to_string();
            attempt.myself || connected.iter().any(is_there)
        };
        peers
            .iter()
            .filter(|(peer, attempt)| !reached(peer, attempt))
            .map(|(peer, attempt)| {
                let (state, problem) = match serves(peer) {
                    true => (NeighbourState::Unreachable, attempt.problem.clone()),
                    false => (NeighbourState::Unserved, Some(NO_TRANSPORT.to_owned())),
                };
                Neighbour::expected(peer.to_string(), attempt.found, state, problem)
            })
            .collect()
    }
}

/// Keeps a peer connected from now on.
pub(super) fn keep(shared: &Arc<Shared>, peer: Peer) {
    if shared.dialled.add(&peer) {
        shared.spawn(dial_for_ever(Arc::downgrade(shared), peer));
    }
}

/// What came of one attempt.
enum Outcome {
    /// It was connected, and no longer is.
    Ended(String),
    /// It is connected in some other way.
    Elsewhere,
    /// It is this node itself.
    Myself,
    /// This node has no place for it.
    TurnedAway(TurnedAway),
    Failed(TransportError),
    NoTransport,
}

async fn dial_for_ever(shared: Weak<Shared>, peer: Peer) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let outcome = {
            let Some(strong) = shared.upgrade() else { return };
            if !strong.dialled.is_wanted(&peer) {
                return;
            }
            attempt(&strong, &peer).await
        };
        if began.elapsed() >= LASTED && matches!(outcome, Outcome::Ended(_)) {
            pause = FIRST_PAUSE;
        }
        let Some(strong) = shared.upgrade() else { return };
        let Some(wait) = conclude(&strong, &peer, outcome, &mut pause) else { return };
        let mut entered = strong.links.entered();
        drop(strong);
        if tokio::time::timeout(wait, entered.changed()).await.is_ok() {
            // Somebody came: most likely this one, from an address that does not say so.
            tokio::time::sleep(wait.min(FIRST_PAUSE)).await;
        }
    }
}

/// Takes note of what came of an attempt, and says how long to wait for the next; `None` if there is to be none.
fn conclude(shared: &Shared, peer: &Peer, outcome: Outcome, pause: &mut Duration) -> Option<Duration> {
    let myself = matches!(outcome, Outcome::Myself);
    shared.dialled.note(peer, |attempt| attempt.myself = myself);
    match outcome {
        // An address stays what it is. A name may stand for another node tomorrow.
        Outcome::Myself if is_literal(peer) => {
            tracing::info!(%peer, "this is the node itself: it is not dialled any more");
            shared.dialled.remove(peer);
            None
        }
        Outcome::Myself => {
            tracing::debug!(%peer, "at present this is the node itself");
            Some(LONGEST_PAUSE)
        }
        // Whatever was said at the end of this connection: there is another one.
        _ if shared.dialled.found(peer).is_some_and(|node| shared.links.has(node)) => {
            *pause = FIRST_PAUSE;
            Some(LOOK_AFTER)
        }
        Outcome::Elsewhere => {
            *pause = FIRST_PAUSE;
            Some(*pause)
        }
        Outcome::Ended(reason) => {
            shared.dialled.note_problem(peer, reason);
            Some(next_pause(pause))
        }
        Outcome::TurnedAway(reason) => {
            shared.dialled.note_problem(peer, reason.to_string());
            Some(next_pause(pause))
        }
        Outcome::Failed(error) => {
            tracing::debug!(%peer, %error, "dialling failed");
            shared.counters.failed_dial();
            shared.dialled.note_problem(peer, error.to_string());
            Some(next_pause(pause))
        }
        // It may get one.
        Outcome::NoTransport => Some(LONGEST_PAUSE),
    }
}

/// Whether it is the address of a machine, and no name.
fn is_literal(peer: &Peer) -> bool {
    host_and_port(peer.address()).is_ok_and(|(host, _)| host.parse::<IpAddr>().is_ok())
}

async fn attempt(shared: &Arc<Shared>, peer: &Peer) -> Outcome {
    let Some(transport) = transport_for(shared, peer) else { return Outcome::NoTransport };
    let address = format!("{}://{}", transport.name(), peer.address());
    let dialled = tokio::select! {
        biased;
        () = connected_otherwise(shared, peer, &address) => return Outcome::Elsewhere,
        dialled = transport.dial(peer.address()) => dialled,
    };
    let connection = match dialled {
        Ok(connection) => connection,
        Err(error) => {
            if let TransportError::Refused { by: Some(node), .. } = &error {
                shared.dialled.note(peer, |attempt| attempt.found = Some(*node));
            }
            return Outcome::Failed(error);
        }
    };
    let found = Some(connection.neighbour());
    shared.dialled.note(peer, |attempt| *attempt = Attempt { found, ..Attempt::default() });
    match links::attend(shared, transport.node(), connection, address, true) {
        Ok(attended) => {
            let end = attended.end.await;
            Outcome::Ended(end.unwrap_or_else(|_| "this node ended it".to_owned()))
        }
        Err(TurnedAway::Myself) => Outcome::Myself,
        Err(TurnedAway::Duplicate) => Outcome::Elsewhere,
        Err(reason @ TurnedAway::Full) => Outcome::TurnedAway(reason),
    }
}

/// Until the peer is connected without having been dialled: it is who was found there before, or it has dialled from
/// where it listens. A second connection would take the place of that one, in the middle of whatever goes over it.
async fn connected_otherwise(shared: &Shared, peer: &Peer, address: &str) {
    let mut entered = shared.links.entered();
    loop {
        let known = shared.dialled.found(peer).filter(|node| shared.links.has(*node));
        if let Some(node) = known.or_else(|| shared.links.at(address)) {
            shared.dialled.note(peer, |attempt| attempt.found = Some(node));
            return;
        }
        if entered.changed().await.is_err() {
            // The registry outlives whoever asks it.
            std::future::pending::<()>().await;
        }
    }
}

pub(super) fn transport_for(shared: &Shared, peer: &Peer) -> Option<Arc<dyn Transport>> {
    let transports = lock(&shared.transports);
    match peer.transport() {
        None => transports.first().cloned(),
        Some(name) => transports.iter().find(|transport| transport.name() == name).cloned(),
    }
}

/// The pause before the next attempt: between half and all of what it has grown to, so that many nodes that lost the
/// same neighbour do not come back at the same moment.
fn next_pause(pause: &mut Duration) -> Duration {
    let [random, ..] = *NodeId::random().as_bytes();
    let this = pause.mul_f64(0.5 + f64::from(random) / 510.0);
    *pause = (*pause * 2).min(LONGEST_PAUSE);
    this
}
