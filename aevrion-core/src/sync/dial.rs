//! Dialling: whoever is to be a neighbour is tried until there, and again whenever gone, ever more patiently.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::links::DUPLICATE;
use super::status::Neighbour;
use super::{Peer, Shared, lock};
use crate::NodeId;
use crate::transport::{Transport, TransportError};

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A connection that lasted this long begins anew with the first pause.
const LASTED: Duration = Duration::from_secs(10);

/// How often a peer that is connected in some other way is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The peers that are dialled.
#[derive(Default)]
pub(super) struct Dialled(Mutex<BTreeMap<Peer, Attempt>>);

/// How the last attempt went.
#[derive(Clone, Default)]
struct Attempt {
    /// Who was there.
    found: Option<NodeId>,
    /// Whether it had a connection to this node already, by another way.
    elsewhere: bool,
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

    fn note(&self, peer: &Peer, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = lock(&self.0).get_mut(peer) {
            change(attempt);
        }
    }

    fn found(&self, peer: &Peer) -> Option<NodeId> {
        lock(&self.0).get(peer)?.found
    }

    fn is_wanted(&self, peer: &Peer) -> bool {
        lock(&self.0).contains_key(peer)
    }

    /// Those that are not among the connected neighbours.
    pub(super) fn unreached(&self, connected: &[Neighbour]) -> Vec<Neighbour> {
        let peers = lock(&self.0);
        let reached = |peer: &Peer, attempt: &Attempt| {
            let by_id = |one: &Neighbour| attempt.found.is_some() && one.id == attempt.found;
            let address = peer.to_string();
            attempt.elsewhere || connected.iter().any(|one| by_id(one) || one.address == address)
        };
        peers
            .iter()
            .filter(|(peer, attempt)| !reached(peer, attempt))
            .map(|(peer, attempt)| {
                Neighbour::expected(peer.to_string(), attempt.found, attempt.problem.clone())
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
        let Some(strong) = shared.upgrade() else { return };
        let elsewhere = matches!(outcome, Outcome::Elsewhere);
        strong.dialled.note(&peer, |attempt| attempt.elsewhere = elsewhere);
        let wait = match outcome {
            Outcome::Myself => {
                strong.dialled.remove(&peer);
                return;
            }
            Outcome::Elsewhere => LOOK_AFTER,
            Outcome::Ended(reason) => {
                strong.dialled.note(&peer, |attempt| attempt.problem = Some(reason));
                if began.elapsed() >= LASTED {
                    pause = FIRST_PAUSE;
                }
                next_pause(&mut pause)
            }
            Outcome::Failed(error) => {
                tracing::debug!(%peer, %error, "dialling failed");
                strong.counters.failed_dial();
                strong.dialled.note(&peer, |attempt| attempt.problem = Some(error.to_string()));
                next_pause(&mut pause)
            }
            Outcome::NoTransport => {
                let what = "this node has no such transport: add it to those it serves".to_owned();
                strong.dialled.note(&peer, |attempt| attempt.problem = Some(what));
                LONGEST_PAUSE
            }
        };
        drop(strong);
        tokio::time::sleep(wait).await;
    }
}

async fn attempt(shared: &Arc<Shared>, peer: &Peer) -> Outcome {
    if shared.dialled.found(peer).is_some_and(|node| shared.links.has(node)) {
        return Outcome::Elsewhere;
    }
    let Some(transport) = transport_for(shared, peer) else { return Outcome::NoTransport };
    let connection = match transport.dial(peer.address()).await {
        Ok(connection) => connection,
        Err(TransportError::Refused { reason, .. }) if reason == DUPLICATE => return Outcome::Elsewhere,
        Err(error) => return Outcome::Failed(error),
    };
    let neighbour = connection.neighbour();
    if neighbour == transport.node() {
        connection.close("this is the node itself");
        return Outcome::Myself;
    }
    shared.dialled.note(peer, |attempt| *attempt = Attempt { found: Some(neighbour), ..Attempt::default() });
    let address = format!("{}://{}", transport.name(), peer.address());
    match Shared::attend(shared, transport.node(), connection, address, true) {
        Some(attended) => match attended.end.await {
            Ok(reason) if reason.ends_with(DUPLICATE) => Outcome::Elsewhere,
            Ok(reason) => Outcome::Ended(reason),
            Err(_) => Outcome::Ended("this node ended it".to_owned()),
        },
        None => Outcome::Elsewhere,
    }
}

fn transport_for(shared: &Shared, peer: &Peer) -> Option<Arc<dyn Transport>> {
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
