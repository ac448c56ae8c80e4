//! The transport suite finds faults: each kind, injected into a sound transport, breaks one promise and is caught by
//! it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aevrion_core::NodeId;
use aevrion_core::transport::memory::{MemoryNetwork, MemoryTransport};
use aevrion_core::transport::{
    Connection, Lane, Refusal, Side, Traffic, Transport, TransportError, conformance,
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    SwapsTwoFrames,
    DropsAFrame,
    RepeatsAFrame,
    MixesUpTheLanes,
    CutsLongFrames,
    LosesEmptyFrames,
    OneLaneBlocksTheOther,
    NeverHoldsBack,
    SendsInHalves,
    LosesAFrameOnAnAbandonedReceive,
    LosesAConnectionOnAnAbandonedAccept,
    CountsNothing,
    IgnoresTheLongest,
    RefusesAndGoesOn,
    LosesTheReason,
    BlamesTheWrongSide,
    ForgetsToEndReceives,
    MistakesTheNeighbour,
    CallsEveryAddressUnreachable,
    HangsOnNobody,
    AcceptsForever,
    DialsAfterClose,
    LeavesDialsWaiting,
    ClosesWithAnotherReason,
    InventsFramesOfTheDead,
}

struct Broken {
    inner: MemoryTransport,
    bug: Bug,
}

struct BrokenConnection {
    inner: Arc<dyn Connection>,
    node: NodeId,
    bug: Bug,
    sent: Mutex<Sent>,
    /// First halves that have arrived, by lane.
    halves: [Mutex<Option<Bytes>>; 2],
    /// The end of the endless queue.
    ended: Arc<OnceLock<TransportError>>,
    /// Frames for an endless queue, by lane.
    queues: [mpsc::UnboundedSender<Bytes>; 2],
    blocking: Mutex<()>,
}

/// The frames sent so far.
#[derive(Default)]
struct Sent {
    frames: u32,
    swapped: bool,
    /// The frame to be swapped with the next.
    waiting: Option<Bytes>,
}

impl Broken {
    fn wrap(&self, inner: Arc<dyn Connection>) -> Arc<dyn Connection> {
        let ended = Arc::new(OnceLock::new());
        let queue = |lane| {
            let (queue, mut waiting) = mpsc::unbounded_channel::<Bytes>();
            let (inner, ended) = (Arc::clone(&inner), Arc::clone(&ended));
            if self.bug == Bug::NeverHoldsBack {
                tokio::spawn(async move {
                    while let Some(frame) = waiting.recv().await {
                        if let Err(error) = inner.send(lane, frame).await {
                            let _ = ended.set(error);
                        }
                    }
                });
            }
            queue
        };
        let queues = Lane::ALL.map(queue);
        let (node, bug) = (self.inner.node(), self.bug);
        let (sent, halves, blocking) = Default::default();
        Arc::new(BrokenConnection { inner, node, bug, sent, halves, ended, queues, blocking })
    }
}

#[async_trait]
impl Transport for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn node(&self) -> NodeId {
        self.inner.node()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    async fn dial(&self, address: &str) -> Result<Arc<dyn Connection>, TransportError> {
        match (self.bug, self.inner.dial(address).await) {
            (_, Ok(connection)) => Ok(self.wrap(connection)),
            (Bug::CallsEveryAddressUnreachable, Err(TransportError::BadAddress { address, what })) => {
                Err(TransportError::Unreachable { address, what })
            }
            (Bug::LeavesDialsWaiting, Err(error @ TransportError::Unreachable { .. })) => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Err(error)
            }
            (Bug::HangsOnNobody, Err(TransportError::Unreachable { .. })) => std::future::pending().await,
            (Bug::DialsAfterClose, Err(TransportError::Closed { reason, .. })) => {
                Err(TransportError::Unreachable { address: address.to_owned(), what: reason })
            }
            (_, Err(error)) => Err(error),
        }
    }

    async fn accept(&self) -> Option<Arc<dyn Connection>> {
        let connection = self.inner.accept().await;
        if self.bug == Bug::LosesAConnectionOnAnAbandonedAccept {
            tokio::task::yield_now().await;
        }
        if self.bug == Bug::AcceptsForever && connection.is_none() {
            return std::future::pending().await;
        }
        connection.map(|connection| self.wrap(connection))
    }

    fn refusals(&self) -> Vec<(Refusal, u64)> {
        self.inner.refusals()
    }

    async fn close(&self, reason: &str) {
        let reason = if self.bug == Bug::ClosesWithAnotherReason { "something else" } else { reason };
        self.inner.close(reason).await;
    }
}

impl BrokenConnection {
    /// The frames to send instead of `frame`.
    async fn changed(&self, lane: Lane, frame: Bytes) -> Vec<Bytes> {
        let mut sent = self.sent.lock().await;
        sent.frames += 1;
        match self.bug {
            Bug::SwapsTwoFrames if lane == Lane::Repair && sent.frames > 60 && !sent.swapped => {
                sent.swapped = true;
                sent.waiting = Some(frame);
                Vec::new()
            }
            Bug::SwapsTwoFrames if lane == Lane::Repair => {
                [Some(frame), sent.waiting.take()].into_iter().flatten().collect()
            }
            Bug::DropsAFrame if sent.frames == 60 => Vec::new(),
            Bug::RepeatsAFrame if sent.frames == 60 => vec![frame.clone(), frame],
            Bug::CutsLongFrames if frame.len() > 8 << 20 => vec![frame.slice(..8 << 20)],
            Bug::LosesEmptyFrames if frame.is_empty() => Vec::new(),
            _ => vec![frame],
        }
    }
}

impl BrokenConnection {
    /// Cancelling it loses nothing: the bug is in the sending.
    async fn receive_halves(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError> {
        let mut first = self.halves[lane as usize].lock().await;
        loop {
            let Some(half) = self.inner.receive(lane, longest).await? else { return Ok(None) };
            match first.take() {
                None => *first = Some(half),
                Some(first) => return Ok(Some([first, half].concat().into())),
            }
        }
    }
}

#[async_trait]
impl Connection for BrokenConnection {
    fn neighbour(&self) -> NodeId {
        if self.bug == Bug::MistakesTheNeighbour { self.node } else { self.inner.neighbour() }
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    async fn send(&self, lane: Lane, frame: Bytes) -> Result<(), TransportError> {
        let _blocking = match self.bug {
            Bug::OneLaneBlocksTheOther => Some(self.blocking.lock().await),
            _ => None,
        };
        match self.bug {
            Bug::NeverHoldsBack => {
                let _ = self.queues[lane as usize].send(frame);
                self.ended.get().map_or(Ok(()), |error| Err(error.clone()))
            }
            Bug::SendsInHalves => {
                let mut frame = frame;
                let first = frame.split_to(frame.len() / 2);
                self.inner.send(lane, first).await?;
                tokio::task::yield_now().await;
                self.inner.send(lane, frame).await
            }
            Bug::MixesUpTheLanes if frame.len() == 100 => {
                let other = if lane == Lane::Live { Lane::Repair } else { Lane::Live };
                self.inner.send(other, frame).await
            }
            _ => {
                for frame in self.changed(lane, frame).await {
                    self.inner.send(lane, frame).await?;
                }
                Ok(())
            }
        }
    }

    async fn receive(&self, lane: Lane, longest: usize) -> Result<Option<Bytes>, TransportError> {
        if self.bug == Bug::SendsInHalves {
            return self.receive_halves(lane, longest).await;
        }
        let unlimited = matches!(self.bug, Bug::IgnoresTheLongest | Bug::RefusesAndGoesOn);
        let received = self.inner.receive(lane, if unlimited { usize::MAX } else { longest }).await;
        match (self.bug, received) {
            (Bug::RefusesAndGoesOn, Ok(Some(frame))) if frame.len() > longest => {
                Err(TransportError::FrameTooLong { len: frame.len() as u64, most: longest })
            }
            (Bug::LosesAFrameOnAnAbandonedReceive, received) => {
                tokio::task::yield_now().await;
                received
            }
            (Bug::ForgetsToEndReceives, Err(TransportError::Closed { by: Side::There, .. })) => {
                std::future::pending().await
            }
            (Bug::BlamesTheWrongSide, Err(TransportError::Closed { by: Side::There, reason })) => {
                Err(TransportError::Closed { by: Side::Network, reason })
            }
            (Bug::InventsFramesOfTheDead, Err(TransportError::Closed { by: Side::Network, .. })) => {
                Ok(Some(Bytes::new()))
            }
            (_, received) => received,
        }
    }

    fn close(&self, reason: &str) {
        self.inner.close(if self.bug == Bug::LosesTheReason { "closed" } else { reason });
    }

    fn traffic(&self) -> Traffic {
        if self.bug == Bug::CountsNothing { Traffic::default() } else { self.inner.traffic() }
    }

    fn round_trip(&self) -> Option<Duration> {
        self.inner.round_trip()
    }
}

/// The suite's complaint about a transport with `bug`; `None` if it finds nothing.
fn complaint(bug: Bug) -> Option<String> {
    let network = MemoryNetwork::new();
    let suite = conformance::run(move || {
        let inner = network.bind(NodeId::random());
        async move { Ok::<_, Infallible>(Broken { inner, bug }) }
    });
    // Time passes only while all tasks wait, so that a vain wait takes none. The last promise uses its own thread, for
    // which such a clock would not wait.
    let paused = bug != Bug::InventsFramesOfTheDead;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(paused).build().expect("a runtime");
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
}

macro_rules! catches {
    ($($name:ident: $bug:ident, $promise:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let complaint = complaint(Bug::$bug).expect("the suite finds the bug");
                assert!(complaint.contains($promise), "the suite names the promise, instead: {complaint}");
            }
        )*
    };
}

catches! {
    two_frames_swapped: SwapsTwoFrames, "frames arrive once, whole and in the order";
    a_frame_dropped: DropsAFrame, "frames arrive once, whole and in the order";
    a_frame_repeated: RepeatsAFrame, "frames arrive once, whole and in the order";
    lanes_mixed_up: MixesUpTheLanes, "still waiting";
    a_long_frame_cut: CutsLongFrames, "frames of every size arrive";
    an_empty_frame_lost: LosesEmptyFrames, "frames arrive once, whole and in the order";
    a_lane_that_blocks: OneLaneBlocksTheOther, "a lane that nobody reads does not block the other";
    a_sender_never_held_back: NeverHoldsBack, "a sender is held back";
    a_frame_in_halves: SendsInHalves, "a frame whose send was dropped is sent whole or not at all";
    a_frame_lost_with_its_receive: LosesAFrameOnAnAbandonedReceive, "a receive that is dropped loses nothing";
    a_connection_lost_with_its_accept: LosesAConnectionOnAnAbandonedAccept, "an accept that is dropped loses no connection";
    nothing_counted: CountsNothing, "traffic counts at least what was carried";
    a_limit_ignored: IgnoresTheLongest, "a frame that is too long closes the connection";
    a_refusal_without_an_end: RefusesAndGoesOn, "a frame that is too long closes the connection";
    a_reason_lost: LosesTheReason, "the reason of a close reaches the other side";
    the_wrong_side_blamed: BlamesTheWrongSide, "closes the connection with that error on both sides";
    a_receive_that_never_ends: ForgetsToEndReceives, "still waiting";
    the_wrong_neighbour: MistakesTheNeighbour, "who is at the other end is said rightly";
    a_bad_address_unreachable: CallsEveryAddressUnreachable, "an address that is none is an error that says so";
    a_dial_that_hangs: HangsOnNobody, "a dial to nobody fails in bounded time";
    an_accept_that_never_ends: AcceptsForever, "a closed transport accepts nobody";
    a_dial_after_close: DialsAfterClose, "a closed transport dials nobody";
    a_dial_left_waiting: LeavesDialsWaiting, "a dial is refused at once";
    a_close_with_another_reason: ClosesWithAnotherReason, "its connections end with the reason";
    frames_of_the_dead: InventsFramesOfTheDead, "a killed neighbour is noticed in bounded time";
}
