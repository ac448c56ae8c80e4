//! The links that stand, one for each neighbour.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::conflicts::{self, ADVICE};
use super::link::{self, Command, LinkEnd, Setup};
use super::peer::claimed;
use super::status::{Neighbour, Progress};
use super::{Members, Peer, Shared, lock};
use crate::agent::{Agent, Introduction};
use crate::message::Message;
use crate::transport::{Connection, HANDSHAKE, Side, TransportError};
use crate::{Incarnation, NodeId, Timestamp};

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
    /// Another machine with the same identity was there before.
    #[error("another machine at {0} has this node's identity: {ADVICE}")]
    Conflict(String),
}

/// Commands that wait for a link. Another one to compare says nothing new.
const COMMANDS: usize = 4;

/// The registry.
#[derive(Default)]
pub(super) struct Links {
    entries: Mutex<BTreeMap<NodeId, Entry>>,
    /// Counts changes, for whoever waits for one.
    changed: watch::Sender<u64>,
    /// Counts those that came.
    entered: watch::Sender<u64>,
    /// Counts those for which there was no place, since there is none.
    turned_away: AtomicU64,
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

/// A connection that was made, and is not in service yet.
pub(super) struct Arrival {
    /// This node's identity for the other end.
    pub(super) node: NodeId,
    pub(super) connection: Arc<dyn Connection>,
    pub(super) address: String,
    /// Whether this node dialled it.
    pub(super) dialled: bool,
}

/// How a connection ended that was in service, or why it never was.
pub(super) type End = oneshot::Receiver<Result<String, TurnedAway>>;

impl Links {
    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        let entries = lock(&self.entries);
        let describe = |(id, entry): (&NodeId, &Entry)| {
            let progress = entry.progress.borrow().clone();
            Neighbour::connected(*id, entry.address.clone(), entry.connection.traffic(), progress)
        };
        entries.iter().map(describe).collect()
    }

    /// Until when each node that has a link agreed with this one when they last compared.
    pub(super) fn agreements(&self) -> BTreeMap<NodeId, Option<Timestamp>> {
        lock(&self.entries).iter().map(|(id, entry)| (*id, entry.agreed_until())).collect()
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

    /// How many were turned away because as many as there may be have been here since; nothing if there are fewer.
    pub(super) fn turned_away(&self, most: usize) -> Option<u64> {
        let full = lock(&self.entries).len() >= most;
        Some(self.turned_away.load(Ordering::Relaxed)).filter(|count| full && *count > 0)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes whenever a neighbour has come.
    pub(super) fn entered(&self) -> watch::Receiver<u64> {
        self.entered.subscribe()
    }

    /// Which incarnation of a node is connected, if it has said so already.
    pub(super) fn incarnation(&self, neighbour: NodeId) -> Option<Incarnation> {
        lock(&self.entries).get(&neighbour)?.progress.borrow().incarnation
    }

    /// Has the link to a node tell it of another machine with its identity.
    pub(super) fn warn(&self, neighbour: NodeId) {
        if let Some(entry) = lock(&self.entries).get(&neighbour) {
            let _ = entry.commands.try_send(Command::Warn);
        }
        self.note_change();
    }

    /// Has every link compare what has happened until `now`, the same for all.
    pub(super) fn compare(&self, now: Timestamp) {
        for entry in lock(&self.entries).values() {
            let _ = entry.commands.try_send(Command::Compare(now));
        }
    }

    /// Ends the links with these neighbours, who are told why; says whether there were any. What has come from them and
    /// is not handled yet is void.
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

    /// Strikes a link off, unless another one has taken its place. Then the neighbour is away: a caller finds it
    /// either here or among those.
    fn leave(&self, place: &Place, members: &Members, now: Timestamp) {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(&place.neighbour).filter(|entry| place.is_of(entry)) {
            members.parted(place.neighbour, entry.agreed_until(), now);
            entries.remove(&place.neighbour);
            self.turned_away.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a link has its place still.
    fn has_place(&self, place: &Place) -> bool {
        lock(&self.entries).get(&place.neighbour).is_some_and(|entry| place.is_of(entry))
    }
}

/// Takes a connection into service, unless there is a reason not to: it is closed then.
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
            Ok(greeting) => serve(&shared, arrival, greeting, ended),
            Err(reason) => turn_away(&arrival, reason, ended),
        }
    });
    end
}

/// Enters a connection and runs its link. Its neighbour may have said a greeting already.
fn serve(
    shared: &Arc<Shared>,
    arrival: Arrival,
    greeting: Option<Message>,
    ended: oneshot::Sender<Result<String, TurnedAway>>,
) {
    let (node, neighbour) = (arrival.node, arrival.connection.neighbour());
    let (commands, told) = mpsc::channel(COMMANDS);
    let (progress, seen) = watch::channel(Progress::default());
    let entry = Entry {
        connection: Arc::clone(&arrival.connection),
        address: arrival.address.clone(),
        dialler: if arrival.dialled { node } else { neighbour },
        since: Instant::now(),
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
    // Now that it is in its place: a removal learned of from here on finds it there.
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
    let place =
        Place { shared: Arc::downgrade(shared), neighbour, connection: Arc::clone(&connection), address };
    let setup = Setup {
        agent: Agent::new(shared.terms(node), neighbour, Arc::clone(&shared.desk), seed()),
        connection,
        greeting,
        replica: shared.replica.clone(),
        feed: shared.replica.feed(),
        damage: shared.replica.damage_changes(),
        wall: shared.replica.wall(),
        began: shared.began,
        patience: shared.options.patience,
        counters: Arc::clone(&shared.counters),
        frames: Arc::clone(&shared.frames),
        commands: told,
        progress,
        place: Arc::new(place),
    };
    shared.spawn(tell_changes(Arc::downgrade(shared), seen));
    shared.spawn(async move {
        let place = Arc::clone(&setup.place);
        let reason = link::run(setup).await;
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

fn turn_away(arrival: &Arrival, reason: TurnedAway, ended: oneshot::Sender<Result<String, TurnedAway>>) {
    let neighbour = arrival.connection.neighbour();
    tracing::debug!(%neighbour, address = %arrival.address, %reason, "a connection was turned away");
    arrival.connection.close(&reason.to_string());
    let _ = ended.send(Err(reason));
}

/// A link's place in the registry, given up however the link ends.
pub(super) struct Place {
    shared: std::sync::Weak<Shared>,
    neighbour: NodeId,
    connection: Arc<dyn Connection>,
    address: String,
}

impl Place {
    fn is_of(&self, entry: &Entry) -> bool {
        Arc::ptr_eq(&entry.connection, &self.connection)
    }

    /// The neighbour is there, answers, and may be spoken with.
    pub(super) fn settled(&self, introduction: &Introduction) {
        let Some(shared) = self.shared.upgrade() else { return };
        // What was said on a connection that has been replaced may be long ago.
        if !shared.links.has_place(self) {
            return;
        }
        let Introduction { incarnation, listens, .. } = introduction;
        let own = shared.addresses();
        let listens = claimed(listens, &self.address).into_iter().filter(|peer| !own.contains(peer));
        let from = self.address.parse().ok();
        shared.members.met(self.neighbour, from.as_ref(), listens.collect(), shared.replica.wall().now());
        let place = conflicts::place_of(&introduction.listens, &self.address);
        if shared.conflicts.met(self.neighbour, *incarnation, &place) {
            let neighbour = self.neighbour;
            tracing::error!(%neighbour, "two machines have the identity of this node; one of them is at {place}");
            shared.links.note_change();
        }
    }

    /// The neighbour knows of another machine with this node's identity.
    pub(super) fn told_of_conflict(&self, there: &str) {
        let Some(shared) = self.shared.upgrade() else { return };
        // Nothing else is an address, and it is shown to people.
        if let Ok(there) = there.parse::<Peer>() {
            shared.conflicts.told(&there.to_string());
            shared.links.note_change();
        }
    }

    /// Where another machine with the neighbour's identity is, if there is one.
    pub(super) fn conflict(&self, incarnation: Incarnation) -> Option<String> {
        self.shared.upgrade()?.conflicts.other_than(self.neighbour, incarnation)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.close("this node ended the connection");
        if let Some(shared) = self.shared.upgrade() {
            shared.links.leave(self, &shared.members, shared.replica.wall().now());
            shared.links.note_change();
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

/// Randomness for one agent.
fn seed() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *NodeId::random().as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
