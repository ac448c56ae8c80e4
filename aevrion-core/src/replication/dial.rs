//! Dialling: each peer is dialled until it is connected, and again after each connection ends, with growing pauses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::ends::TurnedAway;
use super::links;
use super::place::Arrival;
use super::status::{Neighbour, NeighbourState};
use super::{Member, Peer, Shared, lock};
use crate::chance::random;
use crate::transport::{Refusal, Transport, TransportError, host_and_port};
use crate::{NodeId, steady};

/// The first pause after a failure. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After a connection of at least this length, the pause starts again at the first.
const LASTED: Duration = Duration::from_secs(10);

/// The head start of the more reliable one of two addresses of a node (RFC 8305, 5). A node dialled over both
/// transports at once has two connections for a moment, which interrupts the traffic on the first.
const HEAD_START: Duration = Duration::from_millis(250);

/// How often a peer that is connected in another way is checked.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The problem of a peer whose address names a missing transport.
const NO_TRANSPORT: &str = "this node has no such transport: add it to those it serves";

/// The problem of a member without a known address.
const NO_ADDRESS: &str = "no address of it is known: it has to connect by itself";

/// The dialled addresses: those of the members.
#[derive(Default)]
pub(super) struct Dialled(Mutex<BTreeMap<Peer, Attempt>>);

/// The result of the last attempt.
#[derive(Clone, Default)]
struct Attempt {
    /// The node found there.
    found: Option<NodeId>,
    /// Whether it is this node itself.
    myself: bool,
    /// Whether it is a node removed by the cluster's authority.
    removed: bool,
    problem: Option<String>,
}

impl Dialled {
    /// Adds an address. Returns false if a task dials it already.
    fn add(&self, peer: &Peer) -> bool {
        let mut peers = lock(&self.0);
        let new = !peers.contains_key(peer);
        peers.entry(peer.clone()).or_default();
        new
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

    /// Removes an address unless it is wanted. `is_wanted` runs under the lock, so that nobody can add the address
    /// meanwhile.
    fn drop_unless(&self, is_wanted: impl FnOnce() -> bool, peer: &Peer) -> bool {
        let mut peers = lock(&self.0);
        let wanted = is_wanted();
        if !wanted {
            peers.remove(peer);
        }
        wanted
    }

    /// Whether this node itself was found there.
    pub(super) fn is_myself(&self, peer: &Peer) -> bool {
        lock(&self.0).get(peer).is_some_and(|attempt| attempt.myself)
    }

    /// Whether a removed node is or was at one of these addresses.
    fn is_removed<'p>(&self, mut peers: impl Iterator<Item = &'p Peer>) -> bool {
        let attempts = lock(&self.0);
        peers.any(|peer| attempts.get(peer).is_some_and(|attempt| attempt.removed))
    }

    /// Why none of these addresses is connected.
    fn problem<'p>(&self, mut peers: impl Iterator<Item = &'p Peer>) -> Option<String> {
        let attempts = lock(&self.0);
        peers.find_map(|peer| attempts.get(peer)?.problem.clone())
    }
}

/// The members that are not connected, and the addresses where no connected neighbour is known to be. Removed nodes are
/// left out, as nobody waits for them.
pub(super) fn unreached(shared: &Shared, connected: &[Neighbour]) -> Vec<Neighbour> {
    let serves = |peer: &&Peer| transport_for(shared, peer).is_some();
    let is_there = |member: &Member| match member.id {
        Some(id) => shared.removals.of(id).is_some() || connected.iter().any(|one| one.id == Some(id)),
        None if shared.dialled.is_removed(member.addresses()) => true,
        None => member.addresses().any(|peer| {
            shared.dialled.is_myself(peer) || connected.iter().any(|one| one.address == peer.to_string())
        }),
    };
    let away = shared.members.away().into_iter().filter(|(member, _)| !is_there(member));
    let describe = |(member, time): (Member, Duration)| {
        let (state, problem) = match (member.addresses().find(serves), member.addresses().next()) {
            (Some(_), _) => (NeighbourState::Unreachable, shared.dialled.problem(member.addresses())),
            (None, Some(_)) if member.last_seen.is_none() => {
                (NeighbourState::Unserved, Some(NO_TRANSPORT.to_owned()))
            }
            (None, Some(_)) => (NeighbourState::Unreachable, Some(NO_TRANSPORT.to_owned())),
            (None, None) => (NeighbourState::Unreachable, Some(NO_ADDRESS.to_owned())),
        };
        let address = member.addresses().find(serves).or_else(|| member.addresses().next());
        let address = address.map(ToString::to_string).unwrap_or_default();
        Neighbour::expected(address, &member, state, problem, time)
    };
    away.map(describe).collect()
}

/// Dials the addresses of all members from now on, also of members that become known later.
pub(super) fn begin(shared: &Arc<Shared>) {
    let mut changes = shared.members.changes();
    changes.mark_changed();
    let weak = Arc::downgrade(shared);
    shared.spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(shared) = weak.upgrade() else { return };
            for peer in shared.members.peers() {
                if shared.dialled.add(&peer) {
                    shared.spawn(dial_for_ever(Weak::clone(&weak), peer));
                }
            }
        }
    });
}

/// The result of one attempt.
enum Outcome {
    /// The peer was connected, and the connection has ended.
    Ended(String),
    /// The peer is connected in another way.
    Elsewhere,
    /// The peer is this node itself.
    Myself,
    /// This node refused the peer.
    TurnedAway(TurnedAway),
    /// The peer was removed from the cluster.
    Removed,
    /// This node was removed from the cluster, and dials nobody any more.
    OwnRemoval(String),
    Failed(TransportError),
    NoTransport,
}

async fn dial_for_ever(shared: Weak<Shared>, peer: Peer) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = steady::now();
        let (outcome, mut served) = {
            let Some(strong) = shared.upgrade() else { return };
            if !strong.dialled.drop_unless(|| strong.members.is_wanted(&peer), &peer) {
                return;
            }
            // Subscribed before the attempt: a transport added meanwhile may be the missing one.
            let served = strong.served.subscribe();
            (attempt(&strong, &peer).await, served)
        };
        if steady::since(began) >= LASTED && matches!(outcome, Outcome::Ended(_)) {
            pause = FIRST_PAUSE;
        }
        let Some(strong) = shared.upgrade() else { return };
        let wait = conclude(&strong, &peer, outcome, &mut pause);
        let mut entered = strong.links.entered();
        drop(strong);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = served.changed() => {}
            // A neighbour connected: probably this peer, from an address that does not identify it.
            Ok(()) = entered.changed() => tokio::time::sleep(wait.min(FIRST_PAUSE)).await,
        }
    }
}

/// Records the result of an attempt, and returns the pause before the next one.
fn conclude(shared: &Shared, peer: &Peer, outcome: Outcome, pause: &mut Duration) -> Duration {
    let (myself, removed) = (matches!(outcome, Outcome::Myself), matches!(outcome, Outcome::Removed));
    shared.dialled.note(peer, |attempt| {
        attempt.myself = myself;
        // Stays set until another node answers there.
        attempt.removed |= removed;
    });
    match outcome {
        // An IP address stays this node's own. A name may resolve to another node later.
        Outcome::Myself if is_literal(peer) => {
            tracing::info!(%peer, "this is the node itself: it is not dialled any more");
            shared.members.strike(peer);
            Duration::ZERO
        }
        Outcome::Myself => {
            tracing::debug!(%peer, "at present this is the node itself");
            LONGEST_PAUSE
        }
        // The peer has another connection, so the reason for the end of this one does not matter.
        _ if shared.dialled.found(peer).is_some_and(|node| shared.links.has(node)) => {
            *pause = FIRST_PAUSE;
            LOOK_AFTER
        }
        Outcome::Elsewhere => {
            *pause = FIRST_PAUSE;
            *pause
        }
        Outcome::Ended(reason) => {
            shared.dialled.note_problem(peer, reason);
            next_pause(pause)
        }
        Outcome::TurnedAway(reason) => {
            shared.dialled.note_problem(peer, reason.to_string());
            next_pause(pause)
        }
        // Another node may listen there later.
        Outcome::Removed => {
            shared.links.note_change();
            *pause = LONGEST_PAUSE;
            next_pause(pause)
        }
        Outcome::OwnRemoval(reason) => {
            shared.dialled.note_problem(peer, reason);
            LONGEST_PAUSE
        }
        Outcome::Failed(error) => {
            tracing::debug!(%peer, %error, "dialling failed");
            shared.counters.failed_dial();
            if is_told_of_removal(shared, &error) {
                *pause = LONGEST_PAUSE;
            }
            shared.dialled.note_problem(peer, error.to_string());
            next_pause(pause)
        }
        // The transport may be added later.
        Outcome::NoTransport => LONGEST_PAUSE,
    }
}

/// Whether a node of the cluster reports that this one was removed. Dialling again soon is then useless.
fn is_told_of_removal(shared: &Shared, error: &TransportError) -> bool {
    let TransportError::Refused { reason, by: Some(node), .. } = error else { return false };
    let told = shared.removals.hear(*node, reason);
    if told {
        shared.links.note_change();
    }
    told
}

/// Whether the peer's host is an IP address and not a name.
fn is_literal(peer: &Peer) -> bool {
    host_and_port(peer.address()).is_ok_and(|(host, _)| host.parse::<IpAddr>().is_ok())
}

async fn attempt(shared: &Arc<Shared>, peer: &Peer) -> Outcome {
    let Some(transport) = transport_for(shared, peer) else { return Outcome::NoTransport };
    // The sender lives as long as `shared`.
    let _ = shared.removals.reading().wait_for(|reading| *reading == 0).await;
    if let Some(removal) = shared.removals.of(transport.node()) {
        return Outcome::OwnRemoval(removal.own_words());
    }
    let address = format!("{}://{}", transport.name(), peer.address());
    let surer = shared.members.surer(peer, |peer| transport_for(shared, peer).is_some());
    let wait = HEAD_START.saturating_mul(u32::try_from(surer).unwrap_or(u32::MAX));
    let dialled = tokio::select! {
        biased;
        () = connected_otherwise(shared, peer, &address) => return Outcome::Elsewhere,
        dialled = async {
            tokio::time::sleep(wait).await;
            transport.dial(peer.address()).await
        } => dialled,
    };
    let connection = match dialled {
        Ok(connection) => connection,
        Err(TransportError::NotTrusted { refusal: Refusal::Removed, .. }) => return Outcome::Removed,
        Err(error) => {
            if let TransportError::Refused { by: Some(node), .. } = &error {
                shared.dialled.note(peer, |attempt| attempt.found = Some(*node));
                if shared.removals.of(*node).is_none() {
                    shared.members.found(*node, peer);
                }
            }
            return Outcome::Failed(error);
        }
    };
    let found = connection.neighbour();
    shared.dialled.note(peer, |attempt| *attempt = Attempt { found: Some(found), ..Attempt::default() });
    if found != transport.node() && shared.removals.of(found).is_none() {
        shared.members.found(found, peer);
    }
    let arrival = Arrival { node: transport.node(), connection, address, dialled: true };
    match links::attend(shared, arrival).await {
        Ok(Ok(reason)) => Outcome::Ended(reason),
        Ok(Err(TurnedAway::Myself)) => Outcome::Myself,
        Ok(Err(TurnedAway::Duplicate)) => Outcome::Elsewhere,
        Ok(Err(TurnedAway::Removed(_))) => Outcome::Removed,
        Ok(Err(TurnedAway::OwnRemoval(reason))) => Outcome::OwnRemoval(reason),
        Ok(Err(reason @ (TurnedAway::Full | TurnedAway::Conflict(_)))) => Outcome::TurnedAway(reason),
        Err(_) => Outcome::Ended("this node ended it".to_owned()),
    }
}

/// Waits until the peer is connected without having been dialled: the node found there before has connected, or a node
/// has dialled from its listening address. A second connection would replace that one and interrupt its traffic.
async fn connected_otherwise(shared: &Shared, peer: &Peer, address: &str) {
    let mut entered = shared.links.entered();
    loop {
        let may_be_there = shared.dialled.found(peer).into_iter().chain(shared.members.at(peer));
        let known = may_be_there.into_iter().find(|node| shared.links.has(*node));
        if let Some(node) = known.or_else(|| shared.links.at(address)) {
            shared.dialled.note(peer, |attempt| attempt.found = Some(node));
            return;
        }
        if entered.changed().await.is_err() {
            // The registry outlives this future.
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

/// The pause before the next attempt: a random time between half and all of the current pause, so that nodes that lost
/// the same neighbour do not redial at the same moment.
fn next_pause(pause: &mut Duration) -> Duration {
    let [part] = random();
    let this = pause.mul_f64(0.5 + f64::from(part) / 510.0);
    *pause = (*pause * 2).min(LONGEST_PAUSE);
    this
}
