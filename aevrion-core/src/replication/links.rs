//! The registry of links, one per neighbour.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conflicts;
use super::ends::{End, LinkEnd, TurnedAway};
use super::lanes::Lanes;
use super::link::{Command, Link};
use super::place::{Arrival, Place};
use super::status::Neighbour;
use super::{Members, Shared, lock};
use crate::agent::{Agent, Progress};
use crate::chance::random;
use crate::message::Message;
use crate::transport::{Connection, HANDSHAKE, Side, TransportError};
use crate::{Incarnation, NodeId, Timestamp, steady};

/// Commands queued for a link. A second comparison in the queue adds nothing.
const COMMANDS: usize = 4;

/// The registry of links.
#[derive(Default)]
pub(super) struct Links {
    entries: Mutex<BTreeMap<NodeId, Entry>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
    /// Counts new neighbours.
    entered: watch::Sender<u64>,
    /// Counts the connections refused since the limit was reached.
    turned_away: AtomicU64,
}

struct Entry {
    connection: Arc<dyn Connection>,
    address: String,
    /// The node that dialled.
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

impl Links {
    /// The connected neighbours, at `now` on the steady clock.
    pub(super) fn neighbours(&self, now: Duration) -> Vec<Neighbour> {
        let entries = lock(&self.entries);
        let describe = |(id, entry): (&NodeId, &Entry)| {
            let progress = entry.progress.borrow().clone();
            Neighbour::connected(*id, entry.address.clone(), entry.connection.traffic(), progress, now)
        };
        entries.iter().map(describe).collect()
    }

    /// For each node with a link, the time until which it agreed at the last comparison.
    pub(super) fn agreements(&self) -> BTreeMap<NodeId, Option<Timestamp>> {
        lock(&self.entries).iter().map(|(id, entry)| (*id, entry.agreed_until())).collect()
    }

    /// Whether there is a link to this node.
    pub(super) fn has(&self, neighbour: NodeId) -> bool {
        lock(&self.entries).contains_key(&neighbour)
    }

    /// The node connected from this address.
    pub(super) fn at(&self, address: &str) -> Option<NodeId> {
        let entries = lock(&self.entries);
        entries.iter().find(|(_, entry)| entry.address == address).map(|(id, _)| *id)
    }

    /// The number of connections refused since the limit `most` was reached. `None` below the limit.
    pub(super) fn turned_away(&self, most: usize) -> Option<u64> {
        let full = lock(&self.entries).len() >= most;
        Some(self.turned_away.load(Ordering::Relaxed)).filter(|count| full && *count > 0)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes whenever a neighbour connects.
    pub(super) fn entered(&self) -> watch::Receiver<u64> {
        self.entered.subscribe()
    }

    /// The incarnation of a connected node, if it has announced it.
    pub(super) fn incarnation(&self, neighbour: NodeId) -> Option<Incarnation> {
        lock(&self.entries).get(&neighbour)?.progress.borrow().incarnation
    }

    /// Makes the link to a node tell it of another machine with its identity.
    pub(super) fn warn(&self, neighbour: NodeId) {
        if let Some(entry) = lock(&self.entries).get(&neighbour) {
            let _ = entry.commands.try_send(Command::Warn);
        }
        self.note_change();
    }

    /// Makes every link compare the events up to `now`, the same time for all.
    pub(super) fn compare(&self, now: Timestamp) {
        for entry in lock(&self.entries).values() {
            let _ = entry.commands.try_send(Command::Compare(now));
        }
    }

    /// Ends the links with the selected neighbours and tells them why. Returns whether there were any. Received input
    /// that is not handled yet is discarded.
    pub(super) fn cut_off(
        &self,
        whom: impl Fn(NodeId) -> bool,
        why: &str,
        members: &Members,
        now: Timestamp,
    ) -> bool {
        let mut any = false;
        lock(&self.entries).retain(|neighbour, entry| {
            let cut = whom(*neighbour);
            if cut {
                members.parted(*neighbour, entry.agreed_until(), now);
                entry.connection.close(why);
            }
            any |= cut;
            !cut
        });
        if any {
            self.turned_away.store(0, Ordering::Relaxed);
        }
        // Also without a link: waiters may wait for changes of the known nodes.
        self.note_change();
        any
    }

    /// Ends all links.
    pub(super) fn dismiss(&self) {
        lock(&self.entries).clear();
        self.note_change();
    }

    pub(super) fn note_change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Enters a link, unless the existing one is to be kept. Both nodes must decide alike. If both dialled at the same
    /// moment, the connection dialled by the smaller id is kept, otherwise the newer one. A node that dials while a
    /// connection is older than the handshake timeout has restarted and does not know that connection, which is then
    /// dead.
    fn enter(&self, neighbour: NodeId, entry: Entry, most: usize) -> Result<(), TurnedAway> {
        let mut entries = lock(&self.entries);
        match entries.get(&neighbour) {
            Some(standing)
                if standing.dialler < entry.dialler && steady::since(standing.since) < HANDSHAKE =>
            {
                return Err(TurnedAway::Duplicate);
            }
            None if entries.len() >= most => {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                self.note_change();
                return Err(TurnedAway::Full);
            }
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

    /// Removes a link, unless another one has replaced it. The neighbour becomes absent under the same lock, so that a
    /// caller finds it either here or among the absent members.
    pub(super) fn leave(&self, place: &Place, members: &Members, now: Timestamp) {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(&place.neighbour).filter(|entry| place.is_over(&entry.connection)) {
            members.parted(place.neighbour, entry.agreed_until(), now);
            entries.remove(&place.neighbour);
            self.turned_away.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a link is still the registered one.
    pub(super) fn has_place(&self, place: &Place) -> bool {
        lock(&self.entries).get(&place.neighbour).is_some_and(|entry| place.is_over(&entry.connection))
    }
}

/// Starts a link for a connection, or closes the connection with a reason.
pub(super) fn attend(shared: &Arc<Shared>, arrival: Arrival) -> End {
    let (ended, end) = oneshot::channel();
    if !conflicts::is_doubtful(shared, &arrival) {
        serve(shared, arrival, None, ended);
        return end;
    }
    let weak = Arc::downgrade(shared);
    shared.spawn(async move {
        let Some(shared) = weak.upgrade() else { return };
        match conflicts::examine(&shared, &arrival).await {
            Ok(hello) => serve(&shared, arrival, hello, ended),
            Err(reason) => turn_away(&arrival, reason, ended),
        }
    });
    end
}

/// Registers a connection and runs its link. The neighbour's handshake message may have been read already.
fn serve(
    shared: &Arc<Shared>,
    arrival: Arrival,
    hello: Option<Message>,
    ended: oneshot::Sender<Result<String, TurnedAway>>,
) {
    let (node, neighbour) = (arrival.node, arrival.connection.neighbour());
    let (commands, told) = mpsc::channel(COMMANDS);
    let (progress, seen) = watch::channel(Progress::default());
    let entry = Entry {
        connection: Arc::clone(&arrival.connection),
        address: arrival.address.clone(),
        dialler: if arrival.dialled { node } else { neighbour },
        since: steady::now(),
        commands,
        progress: seen.clone(),
    };
    if let Err(reason) = shared.links.enter(neighbour, entry, shared.options.most_neighbours) {
        if reason == TurnedAway::Full && !arrival.dialled {
            shared.counters.fault("too_many_neighbours");
            tracing::warn!(%neighbour, address = %arrival.address, %reason, "a neighbour was turned away");
        }
        return turn_away(&arrival, reason, ended);
    }
    // Checked after registration, so that a later removal finds the link.
    let removal = shared.removals.of(neighbour);
    let reason = removal.map(|removal| TurnedAway::Removed(removal.words()));
    let own = || shared.removals.of(node).map(|removal| TurnedAway::OwnRemoval(removal.own_words()));
    if let Some(reason) = reason.or_else(own) {
        shared.cut_off(|one| one == neighbour, &reason.to_string());
        let _ = ended.send(Err(reason));
        return;
    }
    shared.removals.let_in();
    let Arrival { connection, address, .. } = arrival;
    tracing::info!(%neighbour, %address, "connected");
    let place = Arc::new(Place {
        shared: Arc::downgrade(shared),
        neighbour,
        connection: Arc::clone(&connection),
        address,
    });
    let link = link_of(shared, node, connection, Arc::clone(&place), told, progress);
    shared.spawn(tell_changes(Arc::downgrade(shared), seen));
    shared.spawn(async move {
        let reason = link.run(hello).await;
        tell_end(&reason, neighbour, &place.address);
        if let LinkEnd::Transport(TransportError::Closed { by: Side::There, reason }) = &reason
            && let Some(shared) = place.shared.upgrade()
        {
            shared.removals.hear(neighbour, reason);
        }
        drop(place);
        let _ = ended.send(Ok(reason.to_string()));
    });
}

/// The link over a connection of this node, which is called `node` on it.
fn link_of(
    shared: &Shared,
    node: NodeId,
    connection: Arc<dyn Connection>,
    place: Arc<Place>,
    commands: mpsc::Receiver<Command>,
    progress: watch::Sender<Progress>,
) -> Link {
    let agent = Agent::new(
        shared.config(node),
        connection.neighbour(),
        Arc::clone(&shared.coordinator),
        u64::from_be_bytes(random()),
    );
    let wall = shared.replica.wall();
    Link {
        agent: match connection.proven_until() {
            Some(until) => {
                agent.proven_until(steady::since(shared.began).saturating_add(until.ahead_of(wall.now())))
            }
            None => agent,
        },
        lanes: Lanes::open(
            &connection,
            shared.replica.parameters(),
            shared.options.timeouts,
            &shared.counters,
        ),
        connection,
        replica: shared.replica.clone(),
        feed: shared.replica.feed(),
        damage: shared.replica.damage_changes(),
        wall,
        began: shared.began,
        counters: Arc::clone(&shared.counters),
        frames: Arc::clone(&shared.frames),
        commands,
        stores: JoinSet::new(),
        progress,
        place,
        is_introduced: false,
    }
}

fn turn_away(arrival: &Arrival, reason: TurnedAway, ended: oneshot::Sender<Result<String, TurnedAway>>) {
    let neighbour = arrival.connection.neighbour();
    tracing::debug!(%neighbour, address = %arrival.address, %reason, "a connection was turned away");
    arrival.connection.close(&reason.to_string());
    let _ = ended.send(Err(reason));
}

/// Reports the changes of one link as changes of the registry.
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
