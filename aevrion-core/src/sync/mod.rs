//! Synchronisation as it runs: agents, one for each neighbour, over real connections and real time.
//!
//! ```text
//!             ┌ reader ─▶ ┐                ┌─▶ writer ┐
//! connection ─┤           ├─▶ link (agent) ─┤          ├─▶ connection
//!             └ reader ─▶ ┘    ▲      │     └─▶ writer ┘
//!                              │      ▼
//!                      feed of the replica
//! ```
//!
//! The [`agent`](crate::agent) decides, a link drives it, and this module keeps the links: it accepts whoever
//! a transport has authenticated, keeps on dialling the peers it was told of, and sees to it that two nodes have one
//! connection, not two. One link's trouble is its own: each is a task, with bounded memory, that waits for nobody.

pub(crate) mod clock_watch;
mod conflicts;
#[cfg(feature = "testkit")]
pub mod conformance;
mod counters;
mod dial;
mod frames;
mod lanes;
mod link;
mod links;
mod members;
mod peer;
mod removals;
mod settling;
mod status;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::{Budget, Desk, Terms};
use crate::bounds::{LISTENS, NEIGHBOURS, PUSHED_BYTES};
use crate::transport::{Refusal, Removal, Transport};
use crate::{NodeId, Replica, Timestamp};

pub use crate::agent::Patience;
use conflicts::Conflicts;
use counters::Counters;
pub use counters::{Flow, Totals};
use frames::Frames;
use links::{Arrival, Links};
pub use members::{Member, Members};
pub use peer::{NotAPeer, Peer};
pub use removals::RemovalError;
pub use status::{CatchUp, Neighbour, NeighbourState};

/// How a replica synchronises. The default suits everyone who does not know better.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// The space that is synchronised: neighbours that keep another are refused (`default`).
    pub space: String,
    /// How far back of the present comparisons end, at least (2 s): what is younger may still be on its way. Four round
    /// trips if that is longer.
    pub grace: Duration,
    /// Take local writes also while the neighbours' clocks say that this node's is wrong (no).
    pub write_despite_clocks: bool,
    /// Neighbours with a connection at once (128). More are turned away, told so, and counted; an alarm says so.
    pub most_neighbours: usize,
    /// The members that are known, which are dialled, and to which those are added that this node meets.
    pub members: Members,
    /// When a neighbour that takes little or says nothing is given up.
    pub patience: Patience,
    /// What may be read for one neighbour. What is beyond is not answered, and counted.
    pub budget: Budget,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            space: "default".to_owned(),
            grace: Duration::from_secs(2),
            write_despite_clocks: false,
            most_neighbours: NEIGHBOURS,
            members: Members::default(),
            patience: Patience::default(),
            budget: Budget::default(),
        }
    }
}

/// A replica that synchronises. Cloning gives another handle; it goes on until [closed](Sync::close), or until the last
/// handle is dropped.
#[derive(Clone)]
pub struct Sync {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// Ends everything with the last handle: the tasks themselves hold what they share.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.closing.send_replace(true);
        self.0.replica.heed_neighbours(None);
        self.0.links.dismiss();
        lock(&self.0.transports).clear();
        lock(&self.0.tasks).abort_all();
    }
}

/// What accepting, dialling and the links have in common.
struct Shared {
    replica: Replica,
    options: SyncOptions,
    began: Instant,
    desk: Arc<Desk>,
    counters: Arc<Counters>,
    frames: Arc<Frames>,
    links: Links,
    removals: removals::Registry,
    members: Members,
    conflicts: Conflicts,
    transports: Mutex<Vec<Arc<dyn Transport>>>,
    /// Counts them.
    served: watch::Sender<usize>,
    dialled: dial::Dialled,
    tasks: Mutex<JoinSet<()>>,
    closing: watch::Sender<bool>,
}

impl Replica {
    /// Begins to synchronise, so far with nobody: add transports and peers.
    pub fn sync(&self, options: SyncOptions) -> Sync {
        let shared = Shared {
            replica: self.clone(),
            members: options.members.clone(),
            desk: Arc::new(Desk::with_budget(options.budget)),
            options,
            began: Instant::now(),
            counters: Arc::default(),
            frames: Arc::default(),
            links: Links::default(),
            removals: removals::Registry::default(),
            conflicts: Conflicts::default(),
            transports: Mutex::default(),
            served: watch::Sender::default(),
            dialled: dial::Dialled::default(),
            tasks: Mutex::default(),
            closing: watch::Sender::new(false),
        };
        let shared = Arc::new(shared);
        clock_watch::begin(&shared);
        settling::begin(&shared);
        dial::begin(&shared);
        Sync { _alive: Arc::new(Alive(Arc::clone(&shared))), shared }
    }

    /// Begins to synchronise over `transport` with whoever connects, and with the peers that are added.
    pub fn sync_over(&self, transport: impl Transport) -> Sync {
        let sync = self.sync(SyncOptions::default());
        sync.over(transport);
        sync
    }
}

impl Sync {
    /// Accepts neighbours over this transport, too, and dials those whose address names it. The first one is for
    /// addresses that name none. Whom the cluster's authority has removed it meets no longer, as far as the replica holds
    /// or comes to hold the statement.
    pub fn over(&self, transport: impl Transport) -> &Self {
        let transport: Arc<dyn Transport> = Arc::new(transport);
        lock(&self.shared.transports).push(Arc::clone(&transport));
        removals::follow(&self.shared, &*transport);
        self.shared.served.send_modify(|served| *served += 1);
        let shared = Arc::downgrade(&self.shared);
        let mut reading = self.shared.removals.reading();
        self.shared.spawn(async move {
            // The sender goes with what would be accepted for.
            let _ = reading.wait_for(|reading| *reading == 0).await;
            while let Some(connection) = transport.accept().await {
                let Some(shared) = shared.upgrade() else { return };
                let address = format!("{}://{}", transport.name(), connection.address());
                let arrival = Arrival { node: transport.node(), connection, address, dialled: false };
                // The dialling side is told how it ends.
                drop(links::attend(&shared, arrival));
            }
        });
        self
    }

    /// Stays connected to this peer from now on, dialling again whenever the connection ends. Knowing it already is no
    /// error.
    #[expect(clippy::needless_pass_by_value, reason = "a peer is made for this call")]
    pub fn add_peer(&self, peer: Peer) {
        self.shared.members.expect(&peer);
    }

    /// No longer dials this peer. A connection that stands stays.
    pub fn remove_peer(&self, peer: &Peer) {
        self.shared.members.strike(peer);
    }

    /// The peers that are dialled: where they listen, which the address of a neighbour that has dialled does not say.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.members.peers()
    }

    /// The members that are known, as of now: what a restart should [know](SyncOptions::members) of them.
    pub fn members(&self) -> Vec<Member> {
        let (connected, now) = (self.shared.links.agreements(), self.shared.replica.wall().now());
        let mut members = self.shared.members.list();
        for member in &mut members {
            if let Some(agreed) = member.id.and_then(|id| connected.get(&id)) {
                member.agreed_until = member.agreed_until.max(*agreed);
                member.last_seen = Some(now);
            }
        }
        members
    }

    /// The neighbours, connected ones first, then all other members and addresses at which somebody is expected.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.shared.neighbours()
    }

    /// The names of the transports, in the order in which they were added.
    pub fn transports(&self) -> Vec<&'static str> {
        lock(&self.shared.transports).iter().map(|transport| transport.name()).collect()
    }

    /// Where this node can be reached: the addresses of its transports.
    pub fn addresses(&self) -> Vec<Peer> {
        self.shared.addresses()
    }

    /// The nodes that were removed from the cluster, as far as this node has heard.
    pub fn removed(&self) -> Vec<Removal> {
        self.shared.removals.all()
    }

    /// That this node itself was removed, and when, in words; with who says so, unless it has the authority's own word.
    pub fn own_removal(&self) -> Option<String> {
        let transports = lock(&self.shared.transports);
        let own: Vec<NodeId> = transports.iter().map(|transport| transport.node()).collect();
        drop(transports);
        self.shared.removals.own(own)
    }

    /// What was done so far.
    pub fn totals(&self) -> Totals {
        Totals { declined: self.shared.desk.declined(), ..self.shared.counters.totals() }
    }

    /// Connections that the transports refused, by reason.
    pub fn refusals(&self) -> Vec<(&'static str, Refusal, u64)> {
        let transports = lock(&self.shared.transports);
        let each = transports.iter().map(|transport| (transport.name(), transport.refusals()));
        each.flat_map(|(name, refusals)| refusals.into_iter().map(move |(refusal, n)| (name, refusal, n)))
            .collect()
    }

    /// Requests to join or to renew that were refused, by transport and reason.
    pub fn join_refusals(&self) -> Vec<(&'static str, &'static str, u64)> {
        let transports = lock(&self.shared.transports);
        let each = transports.iter().map(|transport| (transport.name(), transport.join_refusals()));
        each.flat_map(|(name, refusals)| refusals.into_iter().map(move |(reason, n)| (name, reason, n)))
            .collect()
    }

    /// The time before which this node and every member have agreed on every event; `None` while one of them has not
    /// been compared with since this began, or there are none. Members that are away count, too, until they are
    /// [forgotten](Members::forget) or removed: what they write meanwhile will come. What is read after asking for it,
    /// and is of an earlier time, can no longer change by ordinary lateness.
    pub fn stable_until(&self) -> Option<Timestamp> {
        settling::stable_until(&self.shared)
    }

    /// Changes whenever something is learned of a neighbour.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.links.changes()
    }

    /// Why this node's clock is an alarm, if it is.
    pub fn clock_alarm(&self) -> Option<String> {
        clock_watch::alarm(&self.shared)
    }

    /// Which machines have one identity, and what to do about it, if there are any.
    pub fn identity_alarm(&self) -> Option<String> {
        self.shared.conflicts.alarm()
    }

    /// Why neighbours are turned away, if there is no place for more.
    pub fn full_alarm(&self) -> Option<String> {
        let most = self.shared.options.most_neighbours;
        let turned_away = self.shared.links.turned_away(most)?;
        Some(format!(
            "this node has {most} neighbours, as many as it takes, and has turned away {turned_away} connections since: \
             have some of the nodes connect to others"
        ))
    }

    /// Compares with every connected neighbour now, and repairs what differs.
    pub fn compare(&self) {
        self.shared.links.compare(self.shared.replica.wall().now());
    }

    /// Waits until every connected neighbour agrees with this node on everything up to the moment of the call, the
    /// future included. Waits for ever if they never do, and while there is none.
    pub async fn agreement(&self) {
        // Events of the near future are compared with the rest of it: what counts is what has happened.
        let from = self.shared.replica.wall().now();
        let mut changes = self.shared.links.changes();
        self.compare();
        let mut again = tokio::time::interval(Duration::from_secs(1));
        again.tick().await;
        loop {
            let neighbours = self.shared.links.neighbours();
            let agrees = |one: &Neighbour| {
                one.state == NeighbourState::Agrees && one.agreed_until.is_some_and(|until| until > from)
            };
            if !neighbours.is_empty() && neighbours.iter().all(agrees) {
                return settling::promise(&self.shared).await;
            }
            tokio::select! {
                _ = changes.changed() => {}
                // Someone may have joined, or a repair have come to its end without a comparison.
                _ = again.tick() => self.compare(),
            }
        }
    }

    /// Ends all connections and stops listening. The replica goes on.
    pub async fn close(&self) {
        self.shared.closing.send_replace(true);
        let transports = std::mem::take(&mut *lock(&self.shared.transports));
        self.shared.links.dismiss();
        for transport in transports {
            transport.close("this node is shutting down").await;
        }
        let mut tasks = std::mem::take(&mut *lock(&self.shared.tasks));
        tasks.shutdown().await;
        self.shared.replica.heed_neighbours(None);
    }
}

impl Shared {
    fn neighbours(&self) -> Vec<Neighbour> {
        let now = self.replica.wall().now();
        let known = |neighbour: Neighbour| {
            let member = neighbour.id.and_then(|id| self.members.get(id));
            neighbour.known_as(member, now)
        };
        let connected: Vec<_> = self.links.neighbours().into_iter().map(known).collect();
        let away = dial::unreached(self, &connected);
        connected.into_iter().chain(away).collect()
    }

    /// Ends the links of whom is meant, telling them why; says whether there was one.
    fn cut_off(&self, whom: impl Fn(NodeId) -> bool, why: &str) -> bool {
        self.links.cut_off(whom, why, &self.members, self.replica.wall().now())
    }

    fn addresses(&self) -> Vec<Peer> {
        let transports = lock(&self.transports);
        transports.iter().map(|transport| Peer::over(transport.name(), transport.address())).collect()
    }

    /// Where this node listens, for its neighbours.
    fn listens(&self) -> Vec<String> {
        self.addresses().iter().take(LISTENS).map(ToString::to_string).collect()
    }

    /// On what terms agents speak for this node.
    fn terms(&self, node: NodeId) -> Terms {
        Terms {
            node,
            incarnation: self.replica.incarnation(),
            listens: self.listens(),
            parameters: self.replica.parameters(),
            space: self.options.space.clone(),
            grace: self.options.grace,
            max_drift: self.replica.max_drift(),
            pushed: PUSHED_BYTES,
            patience: self.options.patience,
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        if *self.closing.borrow() {
            return;
        }
        // What has ended is forgotten.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that is kept under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
