//! The links that stand, one for each neighbour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::link::{self, Command, LinkEnd, Setup};
use super::status::{Neighbour, Progress};
use super::{Shared, lock};
use crate::agent::{Agent, Terms};
use crate::transport::{Connection, HANDSHAKE, Side, TransportError};
use crate::{NodeId, Timestamp};

/// Why a connection was not taken into service. The other side is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnedAway {
    /// Whoever dialled it need not worry.
    #[error("there is a connection already")]
    Duplicate,
    /// There is no place for one more.
    #[error("this node has as many neighbours as it takes")]
    Full,
    /// Both ends are here.
    #[error("this is the node itself")]
    Myself,
    /// The other one was removed from the cluster.
    #[error("{0}")]
    Removed(String),
    /// This node was.
    #[error("{0}")]
    OwnRemoval(String),
}

/// Commands that wait for a link. Another one to compare says nothing new.
const COMMANDS: usize = 4;

/// The registry.
#[derive(Default)]
pub(super) struct Links {
    entries: Mutex<BTreeMap<NodeId, Entry>>,
    /// Until when those whose link has ended had agreed with this node. As many as the cluster has nodes.
    parted: Mutex<BTreeMap<NodeId, Option<Timestamp>>>,
    /// Counts changes, for whoever waits for one.
    changed: watch::Sender<u64>,
    /// Counts those that came.
    entered: watch::Sender<u64>,
}

struct Entry {
    connection: Arc<dyn Connection>,
    address: String,
    /// Which of the two dialled.
    dialler: NodeId,
    since: Instant,
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<Progress>,
}

impl Entry {
    fn agreed_until(&self) -> Option<Timestamp> {
        self.progress.borrow().agreement.until
    }
}

/// A connection that was taken into service.
pub(super) struct Attended {
    /// Resolves with the reason when it ends.
    pub(super) end: tokio::sync::oneshot::Receiver<String>,
}

impl Links {
    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        let entries = lock(&self.entries);
        let describe = |(id, entry): (&NodeId, &Entry)| {
            let progress = entry.progress.borrow().clone();
            Neighbour::connected(*id, entry.address.clone(), entry.connection.traffic(), progress)
        };
        entries.iter().map(describe).collect()
    }

    /// Until when each node that has or had a link agreed with this one when they last compared.
    pub(super) fn agreements(&self) -> BTreeMap<NodeId, Option<Timestamp>> {
        let entries = lock(&self.entries);
        let mut agreements = lock(&self.parted).clone();
        agreements.extend(entries.iter().map(|(id, entry)| (*id, entry.agreed_until())));
        agreements
    }

    /// Whether there is a link to this node.
    pub(super) fn has(&self, neighbour: NodeId) -> bool {
        lock(&self.entries).contains_key(&neighbour)
    }

    /// Who is connected from this address.
    pub(super) fn at(&self, address: &str) -> Option<NodeId> {
        let entries = lock(&self.entries);
        entries.iter().find(|(_, entry)| entry.address == address).map(|(id, _)| *id)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes whenever a neighbour has come.
    pub(super) fn entered(&self) -> watch::Receiver<u64> {
        self.entered.subscribe()
    }

    pub(super) fn compare(&self) {
        for entry in lock(&self.entries).values() {
            let _ = entry.commands.try_send(Command::Compare);
        }
    }

    /// Ends the links with these neighbours, who are told why; says whether there were any. What has come from them and
    /// is not handled yet is void.
    pub(super) fn cut_off(&self, whom: impl Fn(NodeId) -> bool, why: &str) -> bool {
        let mut any = false;
        lock(&self.entries).retain(|neighbour, entry| {
            let cut = whom(*neighbour);
            if cut {
                entry.connection.close(why);
            }
            any |= cut;
            !cut
        });
        // Also without a link: who waits for a change may wait for what is known of nodes.
        self.note_change();
        any
    }

    /// Lets all links end.
    pub(super) fn dismiss(&self) {
        lock(&self.entries).clear();
        self.note_change();
    }

    pub(super) fn note_change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Enters a link, unless the one that stands is the better one. Both nodes must decide alike: of two that were
    /// dialled at the same moment, by one each, that of the smaller id stays, and otherwise the newer. Whoever dials
    /// while a connection stands for longer than a handshake takes does not know of it, for it was started anew: then
    /// the old one leads nowhere.
    fn enter(&self, neighbour: NodeId, entry: Entry, most: usize) -> Result<(), TurnedAway> {
        let mut entries = lock(&self.entries);
        match entries.get(&neighbour) {
            Some(standing) if standing.dialler < entry.dialler && standing.since.elapsed() < HANDSHAKE => {
                return Err(TurnedAway::Duplicate);
            }
            None if entries.len() >= most => return Err(TurnedAway::Full),
            _ => {}
        }
        if let Some(replaced) = entries.insert(neighbour, entry) {
            replaced.connection.close("a newer connection takes its place");
        }
        drop(entries);
        self.entered.send_modify(|entered| *entered += 1);
        self.note_change();
        Ok(())
    }

    /// Strikes a link off, unless another one has taken its place.
    fn leave(&self, neighbour: NodeId, connection: &Arc<dyn Connection>) {
        let mut entries = lock(&self.entries);
        let this = entries.get(&neighbour).filter(|entry| Arc::ptr_eq(&entry.connection, connection));
        if let Some(until) = this.map(Entry::agreed_until) {
            entries.remove(&neighbour);
            lock(&self.parted).insert(neighbour, until);
        }
        drop(entries);
        self.note_change();
    }
}

/// Takes a connection into service, or says why not: it is closed then.
pub(super) fn attend(
    shared: &Arc<Shared>,
    node: NodeId,
    connection: Arc<dyn Connection>,
    address: String,
    dialled: bool,
) -> Result<Attended, TurnedAway> {
    let neighbour = connection.neighbour();
    if neighbour == node {
        connection.close(&TurnedAway::Myself.to_string());
        return Err(TurnedAway::Myself);
    }
    let (commands, told) = mpsc::channel(COMMANDS);
    let (progress, seen) = watch::channel(Progress::default());
    let dialler = if dialled { node } else { neighbour };
    let entry = Entry {
        connection: Arc::clone(&connection),
        address: address.clone(),
        dialler,
        since: Instant::now(),
        commands,
        progress: seen.clone(),
    };
    if let Err(reason) = shared.links.enter(neighbour, entry, shared.options.most_neighbours) {
        if reason == TurnedAway::Full && !dialled {
            shared.counters.fault("too_many_neighbours");
            tracing::warn!(%neighbour, %address, %reason, "a neighbour was turned away");
        }
        tracing::debug!(%neighbour, %address, %reason, "a connection was turned away");
        connection.close(&reason.to_string());
        return Err(reason);
    }
    // Now that it is in its place: whoever learns of a removal from here on finds it there.
    let removal = shared.removals.of(neighbour);
    let reason = removal.map(|removal| TurnedAway::Removed(removal.words()));
    let own = || shared.removals.of(node).map(|removal| TurnedAway::OwnRemoval(removal.own_words()));
    if let Some(reason) = reason.or_else(own) {
        shared.links.cut_off(|one| one == neighbour, &reason.to_string());
        return Err(reason);
    }
    shared.removals.let_in_by(neighbour);
    tracing::info!(%neighbour, %address, "connected");
    let setup = Setup {
        agent: Agent::new(terms(shared, node), neighbour, Arc::clone(&shared.desk), seed()),
        connection: Arc::clone(&connection),
        replica: shared.replica.clone(),
        feed: shared.replica.feed(),
        damage: shared.replica.damage_changes(),
        wall: shared.replica.wall(),
        began: shared.began,
        patience: shared.options.patience,
        counters: Arc::clone(&shared.counters),
        commands: told,
        progress,
    };
    let (ended, end) = tokio::sync::oneshot::channel();
    let place = Place { shared: Arc::downgrade(shared), neighbour, connection };
    shared.spawn(tell_changes(Arc::downgrade(shared), seen));
    shared.spawn(async move {
        let reason = link::run(setup).await;
        tell_end(&reason, neighbour, &address);
        if let LinkEnd::Transport(TransportError::Closed { by: Side::There, reason }) = &reason
            && let Some(shared) = place.shared.upgrade()
        {
            shared.removals.hear(neighbour, reason);
        }
        drop(place);
        let _ = ended.send(reason.to_string());
    });
    Ok(Attended { end })
}

/// A link's place in the registry, given up however the link ends.
struct Place {
    shared: std::sync::Weak<Shared>,
    neighbour: NodeId,
    connection: Arc<dyn Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.close("this node ended the connection");
        if let Some(shared) = self.shared.upgrade() {
            shared.links.leave(self.neighbour, &self.connection);
        }
    }
}

/// Wakes whoever waits for a change of any link.
async fn tell_changes(shared: std::sync::Weak<Shared>, mut progress: watch::Receiver<Progress>) {
    while progress.changed().await.is_ok() {
        match shared.upgrade() {
            Some(shared) => shared.links.note_change(),
            None => return,
        }
    }
}

fn tell_end(end: &LinkEnd, neighbour: NodeId, address: &str) {
    match end.fault() {
        Some(_) => tracing::warn!(%neighbour, %address, reason = %end, "a neighbour was cut off"),
        None => tracing::info!(%neighbour, %address, reason = %end, "disconnected"),
    }
}

fn terms(shared: &Shared, node: NodeId) -> Terms {
    Terms {
        node,
        incarnation: shared.replica.incarnation(),
        listens: shared.listens(),
        parameters: shared.replica.parameters(),
        space: shared.options.space.clone(),
        grace: shared.options.grace,
        max_drift: shared.replica.max_drift(),
    }
}

/// Randomness for one agent.
fn seed() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *NodeId::random().as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
