//! Synchronisation at run time: one agent per neighbour, over real connections and the real clock.
//!
//! ```text
//!             ┌ reader ─▶ ┐                ┌─▶ writer ┐
//! connection ─┤           ├─▶ link (agent) ─┤          ├─▶ connection
//!             └ reader ─▶ ┘    ▲      │     └─▶ writer ┘
//!                              │      ▼
//!                      feed of the replica
//! ```
//!
//! The [`agent`](crate::agent) decides, a link drives it, and this module manages the links. It accepts the nodes that
//! a transport has authenticated, keeps dialling the known peers, and keeps one connection per pair of nodes. A fault
//! in one link does not affect the others: each link is a task with bounded memory that waits for no other link.

pub(crate) mod clock_watch;
mod conflicts;
#[cfg(feature = "testkit")]
pub mod conformance;
mod counters;
mod dial;
mod ends;
mod frames;
mod lanes;
mod link;
mod links;
mod members;
mod peer;
mod place;
mod removals;
mod settling;
mod status;
pub(crate) mod storing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::{AgentConfig, Budget, RepairCoordinator};
use crate::bounds::{LISTENS, NEIGHBOURS, PUSHED_BYTES};
use crate::transport::{Refusal, Removal, Transport};
use crate::{NodeId, Replica, Timestamp, steady};

pub use crate::agent::{CatchUp, StallTimeouts};
use conflicts::Conflicts;
use counters::Counters;
pub use counters::{Flow, Totals};
use frames::Frames;
use links::Links;
pub use members::{Member, Members};
pub use peer::{NotAPeer, Peer};
use place::Arrival;
pub use removals::RemovalError;
pub use status::{Neighbour, NeighbourState};

/// The options of replication. The defaults suit most clusters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReplicationOptions {
    /// The name of the synchronised space (`default`). Neighbours with another space are refused.
    pub space: String,
    /// The minimum distance of a comparison's end from the present (2 s), as younger events may still be in transit.
    /// Four round trips if that is longer.
    pub grace: Duration,
    /// Whether to accept local writes while the neighbours' clocks contradict this node's clock (no).
    pub write_despite_clocks: bool,
    /// The maximum number of connected neighbours (128). Further ones are refused with a reason and counted, and an
    /// alarm is raised.
    pub most_neighbours: usize,
    /// The known members. This node dials them, and adds the members that it meets.
    pub members: Members,
    /// The timeouts after which a stalled or silent neighbour is dropped.
    pub timeouts: StallTimeouts,
    /// The read budget per neighbour. Questions beyond it are counted and not answered.
    pub budget: Budget,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self {
            space: "default".to_owned(),
            grace: Duration::from_secs(2),
            write_despite_clocks: false,
            most_neighbours: NEIGHBOURS,
            members: Members::default(),
            timeouts: StallTimeouts::default(),
            budget: Budget::default(),
        }
    }
}

impl ReplicationOptions {
    /// Sets [`space`](Self::space).
    #[must_use]
    pub fn space(mut self, space: impl Into<String>) -> Self {
        self.space = space.into();
        self
    }

    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets [`write_despite_clocks`](Self::write_despite_clocks).
    #[must_use]
    pub fn write_despite_clocks(mut self, write_despite_clocks: bool) -> Self {
        self.write_despite_clocks = write_despite_clocks;
        self
    }

    /// Sets [`most_neighbours`](Self::most_neighbours).
    #[must_use]
    pub fn most_neighbours(mut self, most_neighbours: usize) -> Self {
        self.most_neighbours = most_neighbours;
        self
    }

    /// Sets [`members`](Self::members).
    #[must_use]
    pub fn members(mut self, members: Members) -> Self {
        self.members = members;
        self
    }

    /// Sets [`timeouts`](Self::timeouts).
    #[must_use]
    pub fn timeouts(mut self, timeouts: StallTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets [`budget`](Self::budget).
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }
}

/// A synchronising replica. A clone is another handle. Synchronisation runs until [closed](Replication::close), or until the
/// last handle is dropped.
#[derive(Clone)]
pub struct Replication {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// Stops synchronisation with the last handle. The tasks hold [`Shared`] themselves and cannot do it.
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

/// The state shared by accepting, dialling and the links.
struct Shared {
    replica: Replica,
    options: ReplicationOptions,
    began: Instant,
    coordinator: Arc<RepairCoordinator>,
    counters: Arc<Counters>,
    frames: Arc<Frames>,
    links: Links,
    removals: removals::Registry,
    members: Members,
    conflicts: Conflicts,
    transports: Mutex<Vec<Arc<dyn Transport>>>,
    /// Changes when a transport is added. The value is the number added so far.
    served: watch::Sender<usize>,
    dialled: dial::Dialled,
    tasks: Mutex<JoinSet<()>>,
    closing: watch::Sender<bool>,
}

impl Replica {
    /// Starts synchronisation. There are no neighbours until a transport and peers are added.
    pub fn replicate(&self, options: ReplicationOptions) -> Replication {
        let shared = Shared {
            replica: self.clone(),
            members: options.members.clone(),
            coordinator: Arc::new(RepairCoordinator::with_budget(options.budget)),
            options,
            began: steady::now(),
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
        Replication { _alive: Arc::new(Alive(Arc::clone(&shared))), shared }
    }

    /// Starts synchronisation over `transport`, with every node that connects and every peer that is added.
    pub fn replicate_over(&self, transport: impl Transport) -> Replication {
        let replication = self.replicate(ReplicationOptions::default());
        replication.over(transport);
        replication
    }
}

impl Replication {
    /// Adds a transport: this node accepts neighbours over it and dials the peers whose address names it. The first
    /// transport serves the addresses that name none. The transport refuses nodes removed by the cluster's authority,
    /// once the replica holds the removal.
    pub fn over(&self, transport: impl Transport) -> &Self {
        let transport: Arc<dyn Transport> = Arc::new(transport);
        lock(&self.shared.transports).push(Arc::clone(&transport));
        removals::follow(&self.shared, &*transport);
        self.shared.served.send_modify(|served| *served += 1);
        let shared = Arc::downgrade(&self.shared);
        let mut reading = self.shared.removals.reading();
        self.shared.spawn(async move {
            // The sender is dropped only with the state that connections are accepted for.
            let _ = reading.wait_for(|reading| *reading == 0).await;
            while let Some(connection) = transport.accept().await {
                let Some(shared) = shared.upgrade() else { return };
                let address = format!("{}://{}", transport.name(), connection.address());
                let arrival = Arrival { node: transport.node(), connection, address, dialled: false };
                // The dialling side receives the outcome.
                drop(links::attend(&shared, arrival));
            }
        });
        self
    }

    /// Stays connected to this peer from now on, and redials whenever the connection ends. Adding a known peer is no
    /// error.
    #[expect(clippy::needless_pass_by_value, reason = "a peer is made for this call")]
    pub fn add_peer(&self, peer: Peer) {
        self.shared.members.expect(&peer);
    }

    /// Stops dialling this peer. An existing connection stays open.
    pub fn remove_peer(&self, peer: &Peer) {
        self.shared.members.strike(peer);
    }

    /// The addresses that this node dials. They are listening addresses, unlike the address of a neighbour that dialled
    /// this node.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.members.peers()
    }

    /// The known members as of now, to be passed to [`ReplicationOptions::members`] after a restart.
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

    /// The neighbours: connected ones first, then all other members and the addresses without a known node.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.shared.neighbours()
    }

    /// The names of the transports, in the order in which they were added.
    pub fn transports(&self) -> Vec<&'static str> {
        lock(&self.shared.transports).iter().map(|transport| transport.name()).collect()
    }

    /// The addresses of this node's transports.
    pub fn addresses(&self) -> Vec<Peer> {
        self.shared.addresses()
    }

    /// The nodes removed from the cluster, as far as this node knows.
    pub fn removed(&self) -> Vec<Removal> {
        self.shared.removals.all()
    }

    /// A message about the removal of this node itself, with its time. It names the reporting node unless the
    /// authority's own statement is here.
    pub fn own_removal(&self) -> Option<String> {
        let transports = lock(&self.shared.transports);
        let own: Vec<NodeId> = transports.iter().map(|transport| transport.node()).collect();
        drop(transports);
        self.shared.removals.own(own)
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        Totals { declined: self.shared.coordinator.declined(), ..self.shared.counters.totals() }
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

    /// The time before which this node and every member agree on every event. `None` if there are no members, or if one
    /// has not been compared with since the start. Members that are away count until they are
    /// [forgotten](Members::forget) or removed, as the events that they write meanwhile will arrive. A later read of
    /// data from before this time can no longer change because of ordinary delay.
    pub fn stable_until(&self) -> Option<Timestamp> {
        settling::stable_until(&self.shared)
    }

    /// Changes whenever the status of a neighbour changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.links.changes()
    }

    /// The alarm about this node's clock, if there is one.
    pub fn clock_alarm(&self) -> Option<String> {
        clock_watch::alarm(&self.shared)
    }

    /// The alarm about machines that share one identity, with advice, if there are any.
    pub fn identity_alarm(&self) -> Option<String> {
        self.shared.conflicts.alarm()
    }

    /// The alarm about refused neighbours, if the limit on connected neighbours is reached.
    pub fn full_alarm(&self) -> Option<String> {
        let most = self.shared.options.most_neighbours;
        let turned_away = self.shared.links.turned_away(most)?;
        Some(format!(
            "this node has {most} neighbours, as many as it takes, and has turned away {turned_away} connections since: \
             have some of the nodes connect to others"
        ))
    }

    /// Compares with every connected neighbour now, and repairs the differences.
    pub fn compare(&self) {
        self.shared.links.compare(self.shared.replica.wall().now());
    }

    /// Waits until every connected neighbour agrees with this node on all events up to the moment of the call, and on
    /// future ones. Waits for ever if they never agree, or while no neighbour is connected.
    pub async fn agreement(&self) {
        // The near future is compared with the rest of the future: the condition is agreement up to now.
        let from = self.shared.replica.wall().now();
        let mut changes = self.shared.links.changes();
        self.compare();
        let mut again = tokio::time::interval(Duration::from_secs(1));
        again.tick().await;
        loop {
            let neighbours = self.shared.links.neighbours(steady::since(self.shared.began));
            let agrees = |one: &Neighbour| {
                one.state == NeighbourState::Agrees && one.agreed_until.is_some_and(|until| until > from)
            };
            if !neighbours.is_empty() && neighbours.iter().all(agrees) {
                return settling::promise(&self.shared).await;
            }
            tokio::select! {
                _ = changes.changed() => {}
                // A neighbour may have joined, or a repair may have ended without a comparison.
                _ = again.tick() => self.compare(),
            }
        }
    }

    /// Closes all connections and stops listening. The replica stays open.
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
        let connected: Vec<_> =
            self.links.neighbours(steady::since(self.began)).into_iter().map(known).collect();
        let away = dial::unreached(self, &connected);
        connected.into_iter().chain(away).collect()
    }

    /// Ends the links to the selected nodes with this reason. Returns whether there was one.
    fn cut_off(&self, whom: impl Fn(NodeId) -> bool, why: &str) -> bool {
        self.links.cut_off(whom, why, &self.members, self.replica.wall().now())
    }

    fn addresses(&self) -> Vec<Peer> {
        let transports = lock(&self.transports);
        transports.iter().map(|transport| Peer::over(transport.name(), transport.address())).collect()
    }

    /// The listening addresses that this node tells its neighbours.
    fn listens(&self) -> Vec<String> {
        self.addresses().iter().take(LISTENS).map(ToString::to_string).collect()
    }

    /// The configuration of an agent that speaks for this node.
    fn config(&self, node: NodeId) -> AgentConfig {
        AgentConfig {
            node,
            incarnation: self.replica.incarnation(),
            listens: self.listens(),
            parameters: self.replica.parameters(),
            space: self.options.space.clone(),
            grace: self.options.grace,
            max_drift: self.replica.max_drift(),
            pushed: PUSHED_BYTES,
            timeouts: self.options.timeouts,
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        if *self.closing.borrow() {
            return;
        }
        // Drops the finished tasks.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No state under these locks can be left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
