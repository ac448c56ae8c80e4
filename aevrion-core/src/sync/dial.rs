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
use crate::transport::{Refusal, Transport, TransportError, host_and_port};

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
    /// Whether it was one that the cluster's authority has removed.
    removed: bool,
    problem: Option<String>,
}

impl Attempt {
    /// Whether it was at one that was removed, as the certificate said then or as is known by now.
    fn is_removed(&self, removed: impl Fn(NodeId) -> bool) -> bool {
        self.removed || self.found.is_some_and(removed)
    }
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

    /// Those at which one was found that `removed` tells.
    pub(super) fn removed(&self, removed: impl Fn(NodeId) -> bool) -> Vec<Peer> {
        let peers = lock(&self.0);
        let is_removed = |attempt: &Attempt| attempt.is_removed(&removed);
        peers.iter().filter(|(_, attempt)| is_removed(attempt)).map(|(peer, _)| peer.clone()).collect()
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
    /// whatever it says of a connection of its own; what was removed is not, for nobody misses it.
    pub(super) fn unreached(
        &self,
        connected: &[Neighbour],
        serves: impl Fn(&Peer) -> bool,
        removed: impl Fn(NodeId) -> bool,
    ) -> Vec<Neighbour> {
        let peers = lock(&self.0);
        let reached = |peer: &Peer, attempt: &Attempt| {
            let is_there = |one: &Neighbour| one.id == attempt.found || one.address == peer.to_string();
            attempt.myself || connected.iter().any(is_there)
        };
        peers
            .iter()
            .filter(|(peer, attempt)| !attempt.is_removed(&removed) && !reached(peer, attempt))
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
    /// It was removed from the cluster.
    Removed,
    /// This node was, and has no more to say to anyone.
    OwnRemoval(String),
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
    let (myself, removed) = (matches!(outcome, Outcome::Myself), matches!(outcome, Outcome::Removed));
    shared.dialled.note(peer, |attempt| {
        attempt.myself = myself;
        // Until another one answers there.
        attempt.removed |= removed;
    });
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
        // Another one may listen there one day.
        Outcome::Removed => {
            shared.links.note_change();
            *pause = LONGEST_PAUSE;
            Some(next_pause(pause))
        }
        Outcome::OwnRemoval(reason) => {
            shared.dialled.note_problem(peer, reason);
            None
        }
        Outcome::Failed(error) => {
            tracing::debug!(%peer, %error, "dialling failed");
            shared.counters.failed_dial();
            if is_told_of_removal(shared, &error) {
                *pause = LONGEST_PAUSE;
            }
            shared.dialled.note_problem(peer, error.to_string());
            Some(next_pause(pause))
        }
        // It may get one.
        Outcome::NoTransport => Some(LONGEST_PAUSE),
    }
}

/// Whether a node of the cluster says that this one was removed. What would it help to ask again soon?
fn is_told_of_removal(shared: &Shared, error: &TransportError) -> bool {
    let TransportError::Refused { reason, by: Some(node), .. } = error else { return false };
    let told = shared.removals.hear(*node, reason);
    if told {
        shared.links.note_change();
    }
    told
}

/// Whether it is the address of a machine, and no name.
fn is_literal(peer: &Peer) -> bool {
    host_and_port(peer.address()).is_ok_and(|(host, _)| host.parse::<IpAddr>().is_ok())
}

async fn attempt(shared: &Arc<Shared>, peer: &Peer) -> Outcome {
    let Some(transport) = transport_for(shared, peer) else { return Outcome::NoTransport };
    // The sender lives as long as what is shared.
    let _ = shared.removals.reading().wait_for(|reading| *reading == 0).await;
    if let Some(removal) = shared.removals.of(transport.node()) {
        return Outcome::OwnRemoval(removal.own_words());
    }
    let address = format!("{}://{}", transport.name(), peer.address());
    let dialled = tokio::select! {
        biased;
        () = connected_otherwise(shared, peer, &address) => return Outcome::Elsewhere,
        dialled = transport.dial(peer.address()) => dialled,
    };
    let connection = match dialled {
        Ok(connection) => connection,
        Err(TransportError::NotTrusted { refusal: Refusal::Removed, .. }) => return Outcome::Removed,
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
        Err(TurnedAway::Removed(_)) => Outcome::Removed,
        Err(TurnedAway::OwnRemoval(reason)) => Outcome::OwnRemoval(reason),
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
