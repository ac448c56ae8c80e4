//! A network in memory for tests: any number of nodes, and links that can be cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::{
    CloseReason, Connection, Lane, Limits, Refusal, Side, Traffic, Transport, TransportError, host_and_port,
};
use crate::NodeId;

/// An in-memory network. A clone shares it.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    hub: Arc<Mutex<Hub>>,
}

#[derive(Default)]
struct Hub {
    last_address: u64,
    listeners: BTreeMap<String, Listener>,
    /// Pairs that cannot reach each other, the smaller id first.
    parted: BTreeSet<(NodeId, NodeId)>,
    links: Vec<Weak<Link>>,
}

struct Listener {
    node: NodeId,
    queue: mpsc::UnboundedSender<Arc<MemoryConnection>>,
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl MemoryNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `node` to the network, with an address of its own.
    pub fn bind(&self, node: NodeId) -> MemoryTransport {
        let (queue, arriving) = mpsc::unbounded_channel();
        let mut hub = self.lock();
        hub.last_address += 1;
        let address = format!("memory:{}", hub.last_address);
        hub.listeners.insert(address.clone(), Listener { node, queue });
        MemoryTransport {
            network: self.clone(),
            node,
            address,
            arriving: tokio::sync::Mutex::new(arriving),
            closed: watch::Sender::new(false),
            limits: Limits::default(),
        }
    }

    /// Ends all connections between the two nodes, like a broken cable. They may connect again.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        let links: Vec<_> = self.lock().links.iter().filter_map(Weak::upgrade).collect();
        for link in links.iter().filter(|link| pair(link.nodes[0], link.nodes[1]) == pair(one, other)) {
            link.end(Side::Network, "the link was cut");
        }
    }

    /// [Cuts](MemoryNetwork::cut) the two nodes off from each other until they are [healed](MemoryNetwork::heal).
    pub fn part(&self, one: NodeId, other: NodeId) {
        self.lock().parted.insert(pair(one, other));
        self.cut(one, other);
    }

    /// Lets the two nodes connect again.
    pub fn heal(&self, one: NodeId, other: NodeId) {
        self.lock().parted.remove(&pair(one, other));
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").field("nodes", &self.lock().listeners.len()).finish_non_exhaustive()
    }
}

/// The transport of one node of a [`MemoryNetwork`].
#[derive(Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    node: NodeId,
    address: String,
    arriving: tokio::sync::Mutex<mpsc::UnboundedReceiver<Arc<MemoryConnection>>>,
    closed: watch::Sender<bool>,
    limits: Limits,
}

impl MemoryTransport {
    fn leave(&self, by: Side, reason: &str) {
        let mut hub = self.network.lock();
        hub.listeners.remove(&self.address);
        let links: Vec<_> = hub.links.iter().filter_map(Weak::upgrade).collect();
        drop(hub);
        for (link, end) in links.iter().flat_map(|link| [(link, 0), (link, 1)]) {
            if link.homes[end] == self.address {
                match by {
                    Side::Here => link.close(end, reason),
                    _ => link.end(by, reason),
                }
            }
        }
        self.closed.send_replace(true);
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError> {
        host_and_port(address)?;
        if *self.closed.borrow() {
            return Err(TransportError::Closed { by: Side::Here, reason: "the transport is closed".into() });
        }
        let unreachable =
            |what: &str| TransportError::Unreachable { address: address.into(), what: what.into() };
        let mut hub = self.network.lock();
        let Some(listener) = hub.listeners.get(address) else { return Err(unreachable("nobody is there")) };
        let nodes = [self.node, listener.node];
        if hub.parted.contains(&pair(nodes[0], nodes[1])) {
            return Err(unreachable("the network is parted"));
        }
        let link = Arc::new(Link::new(nodes, [self.address.clone(), address.to_owned()], &self.limits));
        let accepted = Arc::new(MemoryConnection { link: Arc::clone(&link), end: 1 });
        listener.queue.send(accepted).map_err(|_| unreachable("nobody is there"))?;
        hub.links.retain(|link| link.strong_count() > 0);
        hub.links.push(Arc::downgrade(&link));
        Ok(Arc::new(MemoryConnection { link, end: 0 }))
    }

    async fn accept(&self) -> Option<Arc<dyn Connection>> {
        let mut closed = self.closed.subscribe();
        let mut arriving = self.arriving.lock().await;
        let connection = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => None,
            connection = arriving.recv() => connection,
        };
        connection.map(|connection| connection as Arc<dyn Connection>)
    }

    fn refusals(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL.into_iter().map(|refusal| (refusal, 0)).collect()
    }

    async fn close(&self, reason: &str) {
        self.leave(Side::Here, reason);
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.leave(Side::Network, "the other side is gone");
    }
}

/// The shared state of a connection's two ends: 0 dialled, 1 accepted.
struct Link {
    nodes: [NodeId; 2],
    homes: [String; 2],
    endings: [CloseReason; 2],
    /// By sending end, then by lane.
    pipes: [[Pipe; 2]; 2],
}

struct Pipe {
    state: Mutex<PipeState>,
    window: usize,
    space: Notify,
    data: Notify,
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Default)]
struct PipeState {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

/// Added to the length of each frame, so that empty frames count against the window, too.
const FRAME_COST: usize = 16;

impl Pipe {
    fn new(window: usize) -> Self {
        let (space, data, sent, received) = Default::default();
        Self { state: Mutex::default(), window, space, data, sent, received }
    }

    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, frame: Bytes) {
        loop {
            {
                let mut state = self.lock();
                if state.bytes < self.window {
                    state.bytes += frame.len() + FRAME_COST;
                    self.sent.fetch_add((frame.len() + FRAME_COST) as u64, Ordering::Relaxed);
                    state.frames.push_back(frame);
                    self.data.notify_one();
                    return;
                }
            }
            self.space.notified().await;
        }
    }

    async fn take(&self) -> Bytes {
        loop {
            {
                let mut state = self.lock();
                if let Some(frame) = state.frames.pop_front() {
                    state.bytes -= frame.len() + FRAME_COST;
                    self.received.fetch_add((frame.len() + FRAME_COST) as u64, Ordering::Relaxed);
                    self.space.notify_one();
                    return frame;
                }
            }
            self.data.notified().await;
        }
    }
}

impl Link {
    fn new(nodes: [NodeId; 2], homes: [String; 2], limits: &Limits) -> Self {
        let pipe = |_| Pipe::new(limits.window);
        let pipes = std::array::from_fn(|_| std::array::from_fn(pipe));
        Self { nodes, homes, endings: Default::default(), pipes }
    }

    /// Ends the connection for both ends, with `by` seen from either.
    fn end(&self, by: Side, reason: &str) {
        for close_reason in &self.endings {
            close_reason.end(by, reason);
        }
    }

    /// Ends the connection on behalf of `end`.
    fn close(&self, end: usize, reason: &str) {
        self.endings[end].end(Side::Here, reason);
        self.endings[1 - end].end(Side::There, reason);
    }

    /// Ends the connection because of the other end's error.
    fn fail(&self, end: usize, error: TransportError) {
        let reason = error.to_string();
        self.endings[end].fail(error);
        self.endings[1 - end].end(Side::There, &reason);
    }
}

struct MemoryConnection {
    link: Arc<Link>,
    end: usize,
}

impl MemoryConnection {
    fn pipe(&self, from: usize, lane: Lane) -> &Pipe {
        &self.link.pipes[from][lane as usize]
    }

    fn close_reason(&self) -> &CloseReason {
        &self.link.endings[self.end]
    }
}

#[async_trait]
impl Connection for MemoryConnection {
    fn neighbour(&self) -> NodeId {
        self.link.nodes[1 - self.end]
    }

    fn address(&self) -> String {
        self.link.homes[1 - self.end].clone()
    }

    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError> {
        tokio::select! {
            biased;
            error = self.close_reason().wait() => Err(error),
            () = self.pipe(self.end, lane).put(frame) => Ok(()),
        }
    }

    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError> {
        let frame = tokio::select! {
            biased;
            error = self.close_reason().wait() => return CloseReason::received(error),
            frame = self.pipe(1 - self.end, lane).take() => frame,
        };
        if frame.len() > longest {
            let error = TransportError::FrameTooLong { len: frame.len() as u64, most: longest };
            self.link.fail(self.end, error.clone());
            return Err(error);
        }
        Ok(Some(frame))
    }

    fn close(&self, reason: &str) {
        self.link.close(self.end, reason);
    }

    fn traffic(&self) -> Traffic {
        let sum = |from: usize, count: fn(&Pipe) -> &AtomicU64| {
            self.link.pipes[from].iter().map(|pipe| count(pipe).load(Ordering::Relaxed)).sum()
        };
        Traffic { sent: sum(self.end, |pipe| &pipe.sent), received: sum(1 - self.end, |pipe| &pipe.received) }
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.link.close(self.end, "the other side is gone");
    }
}
