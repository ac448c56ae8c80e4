//! The state of a simulation, shared by its tasks.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::disk::Disk;
use super::ledger::Ledger;
use super::plan::Plan;
use super::random::Random;
use super::traffic::Traffic;
use super::wall::SkewedWall;
use super::wire::{Path, Wire};
use crate::agent::{AgentConfig, Now, RepairCoordinator, StallTimeouts};
use crate::clock_fault::judge_by_neighbours;
use crate::replication::clock_watch::heed;
use crate::store::{Durability, StoreError};
use crate::{
    ClockFault, Event, Incarnation, NodeId, OpenError, Options, ReadError, Replica, Timestamp, WallClock,
};

/// A machine: its disk, its clock, and its present process.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: Arc<Disk>,
    pub(super) wall: Arc<SkewedWall>,
    process: Mutex<Option<Process>>,
    /// The number of starts of the program.
    starts: AtomicU64,
    /// Held during a start: the lock of a directory would prevent two processes on one disk.
    starting: tokio::sync::Mutex<()>,
    /// Outstanding requests of clients.
    clients: Mutex<JoinSet<()>>,
}

/// One run of the program on a machine.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) replica: Replica,
    pub(super) coordinator: Arc<RepairCoordinator>,
    /// Its knowledge of each neighbour.
    neighbours: Arc<Mutex<BTreeMap<usize, Known>>>,
}

/// A process's knowledge of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Milliseconds by which the neighbour's clock is ahead, while connected.
    pub(super) offset: Option<i64>,
    /// The time until which the two have agreed.
    pub(super) agreed_until: Option<Timestamp>,
    /// Whether no difference from the neighbour is known.
    pub(super) agrees: bool,
}

impl Node {
    fn new(number: usize, plan: &Plan, began: Instant) -> Self {
        let mut random = Random::new(plan.seed, &[4, number as u64]);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&random.draw().to_be_bytes());
        let skew = plan.skews.get(number).copied().unwrap_or(0);
        Self {
            id: NodeId::from_bytes(id),
            disk: Arc::new(Disk::new(random)),
            wall: Arc::new(SkewedWall::new(began, skew)),
            process: Mutex::new(None),
            starts: AtomicU64::new(0),
            starting: tokio::sync::Mutex::default(),
            clients: Mutex::default(),
        }
    }

    /// An incarnation for each start, the same in each run of the simulation.
    fn incarnation(&self) -> Incarnation {
        Incarnation::from_bytes(self.starts.fetch_add(1, Ordering::SeqCst).to_be_bytes())
    }

    /// The process on this node, if any.
    pub(super) fn process(&self) -> Option<Process> {
        lock(&self.process).clone()
    }

    /// Starts the program on the contents of the disk, unless it runs.
    pub(super) async fn start(&self, plan: &Plan) -> Result<(), OpenError> {
        let _starting = self.starting.lock().await;
        if self.process().is_some() {
            return Ok(());
        }
        let Plan { parameters, max_drift, index_batch, budget, .. } = plan;
        // Small trees reach more states in less time: `joins` allows them.
        let options = Options::default()
            .parameters(*parameters)
            .joins()
            .node(self.id)
            .incarnation(self.incarnation())
            .max_drift(*max_drift)
            .wall(Arc::clone(&self.wall))
            .index_batch(*index_batch);
        let crashes = self.disk.crashes();
        let replica = Replica::open(self.disk.mount(), options).await?;
        if self.disk.crashes() > crashes {
            return Err(OpenError::Store(StoreError::Closed));
        }
        let coordinator = Arc::new(RepairCoordinator::with_budget(*budget));
        *lock(&self.process) = Some(Process { replica, coordinator, neighbours: Arc::default() });
        Ok(())
    }

    /// Runs a client's request, and waits for the answer while the process lives.
    pub(super) fn client(&self, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.clients).spawn(work);
    }

    /// Whether the node knows of no difference from any neighbour.
    pub(super) fn agrees(&self) -> bool {
        self.process().is_some_and(|process| lock(&process.neighbours).values().all(|known| known.agrees))
    }

    /// The number of waiting clients; an error if one of them has died.
    pub(super) fn waiting(&self) -> Result<usize, String> {
        let mut clients = lock(&self.clients);
        while let Some(done) = clients.try_join_next() {
            done.map_err(|error| format!("a client died: {error}"))?;
        }
        Ok(clients.len())
    }

    /// Cuts the power: everything not on the disk is lost.
    pub(super) fn crash(&self) {
        *lock(&self.process) = None;
        *lock(&self.clients) = JoinSet::new();
        self.disk.crash();
    }
}

/// The link between two nodes.
pub(super) struct Link {
    /// The two nodes.
    pub(super) ends: [usize; 2],
    /// The paths from the first to the second, and back.
    pub(super) paths: [Arc<Path>; 2],
    /// The present connection.
    pub(super) wires: Mutex<Option<[Arc<Wire>; 2]>>,
}

impl Link {
    fn new(ends: (usize, usize), plan: &Plan) -> Self {
        let mut random = Random::new(plan.seed, &[5, ends.0 as u64, ends.1 as u64]);
        let longest = u64::try_from(plan.latency.as_millis()).unwrap_or(u64::MAX);
        let mut path = |back| {
            let least = random.between(1, longest);
            let own = Random::new(plan.seed, &[6, ends.0 as u64, ends.1 as u64, back]);
            Arc::new(Path::new((least, random.between(least, longest)), plan.bandwidth, plan.weather, own))
        };
        Self { ends: ends.into(), paths: [path(0), path(1)], wires: Mutex::new(None) }
    }

    /// Ends the connection, if there is one.
    pub(super) fn cut(&self) {
        for wire in lock(&self.wires).iter().flatten() {
            wire.close();
        }
    }

    /// Blocks or opens the path in each direction.
    pub(super) fn block(&self, blocked: [bool; 2]) {
        for (path, blocked) in self.paths.iter().zip(blocked) {
            path.block(blocked);
        }
        for wire in lock(&self.wires).iter().flatten() {
            wire.release(Instant::now());
        }
    }
}

/// The whole simulation.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) nodes: Vec<Node>,
    pub(super) links: Vec<Link>,
    pub(super) began: Instant,
    ledger: Mutex<Ledger>,
    traffic: Mutex<Traffic>,
    /// The first violation.
    wrong: Mutex<Option<String>>,
    /// Whether the last trouble is over.
    healed: AtomicBool,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let began = Instant::now();
        Self {
            nodes: (0..plan.nodes).map(|number| Node::new(number, &plan, began)).collect(),
            links: plan.links().into_iter().map(|ends| Link::new(ends, &plan)).collect(),
            began,
            ledger: Mutex::default(),
            traffic: Mutex::new(Traffic::new(began)),
            wrong: Mutex::new(None),
            healed: AtomicBool::new(false),
            plan,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        lock(&self.traffic)
    }

    /// Records a violation. Only the first one counts.
    pub(super) fn wrong(&self, what: String) {
        lock(&self.wrong).get_or_insert(what);
    }

    /// The verdict so far.
    pub(super) fn verdict(&self) -> Result<(), String> {
        lock(&self.wrong).clone().map_or(Ok(()), Err)
    }

    /// The time on a node.
    pub(super) fn moment(&self, node: usize) -> Now {
        Now { steady: self.began.elapsed(), wall: self.nodes[node].wall.now() }
    }

    /// The configuration of a node's agents.
    pub(super) fn config(&self, node: usize) -> AgentConfig {
        AgentConfig {
            node: self.nodes[node].id,
            incarnation: Incarnation::from_bytes([0; 8]),
            listens: Vec::new(),
            parameters: self.plan.parameters,
            space: "default".to_owned(),
            grace: self.plan.grace,
            max_drift: self.plan.max_drift,
            pushed: self.plan.pushed,
            timeouts: StallTimeouts::default(),
        }
    }

    /// Records an acknowledged write of a node. A buffered one may still be lost in a power cut.
    pub(super) fn promised(&self, node: usize, event: Event, stamped: bool, durability: Durability) {
        if durability == Durability::Immediate
            && let Err(what) = self.ledger().promise(node, event, stamped)
        {
            self.wrong(what);
        }
    }

    /// Updates a process's knowledge of a neighbour: it judges its clock by it, and then declares the settled time.
    pub(super) fn learn(self: &Arc<Self>, (node, neighbour): (usize, usize), known: Known) {
        let Some(Process { replica, neighbours, .. }) = self.nodes[node].process() else { return };
        let mut neighbours = lock(&neighbours);
        neighbours.insert(neighbour, known);
        let offsets: Vec<_> = neighbours.values().filter_map(|known| known.offset).collect();
        heed(&replica, &offsets, self.plan.write_despite_clocks);
        let links = self.links.iter().filter(|link| link.ends.contains(&node)).count();
        let agreed = neighbours.values().map(|known| known.agreed_until).min().flatten();
        let Some(until) = agreed.filter(|_| neighbours.len() == links) else { return };
        let world = Arc::clone(self);
        self.nodes[node].client(async move {
            if replica.settle(until).await.is_ok() {
                world.ledger().settle(node, until.min(replica.settled()));
            }
        });
    }

    /// The verdict on a node's clock by the wall clocks of all neighbours that it has measured.
    pub(super) fn true_verdict(&self, node: usize, max_drift: Duration) -> Option<ClockFault> {
        let Process { neighbours, .. } = self.nodes[node].process()?;
        let own = self.nodes[node].wall.offset();
        let measured = lock(&neighbours);
        let measured = measured.iter().filter(|(_, known)| known.offset.is_some());
        let offsets: Vec<_> = measured.map(|(other, _)| self.nodes[*other].wall.offset() - own).collect();
        judge_by_neighbours(&offsets, max_drift)
    }

    /// Ends all troubles from now on.
    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Whether new events overflow at the moment.
    pub(super) fn overflows(&self) -> bool {
        self.plan.troubles.overflows && !self.healed.load(Ordering::SeqCst)
    }

    /// Ends the process of a node and all its connections.
    pub(super) fn crash(&self, node: usize) {
        self.traffic().redundancy.crashed(node);
        self.nodes[node].crash();
        for link in self.links.iter().filter(|link| link.ends.contains(&node)) {
            link.cut();
        }
    }

    /// Starts a node again.
    pub(super) async fn restart(&self, node: usize) {
        loop {
            match self.nodes[node].start(&self.plan).await {
                Ok(()) => return,
                // The disk fails at the moment: the start is retried.
                Err(OpenError::Store(_) | OpenError::Read(ReadError::Store(_))) => {
                    self.pass(START_AGAIN).await;
                }
                Err(error) => return self.wrong(format!("node {node} does not open again: {error}")),
            }
        }
    }

    /// Waits in the time of the simulation.
    pub(super) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The pause before a failed start is retried.
const START_AGAIN: Duration = Duration::from_millis(100);

/// No state behind these locks is ever left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
