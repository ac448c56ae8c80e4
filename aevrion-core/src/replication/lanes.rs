//! The lanes of a connection as seen by the link: received frames become messages, sent messages become frames, and
//! neither reading nor writing blocks the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::StallTimeouts;
use super::counters::Counters;
use crate::Parameters;
use crate::agent::{ByLane, Fault, LineState, most_waiting};
use crate::bounds::LANE_BYTES;
use crate::message::{Message, decode, longest_frame};
use crate::transport::{Connection, Lane, TransportError};

/// Messages read ahead on one lane: one being handled, one being read.
const READ_AHEAD: usize = 2;

/// Both lanes of a connection, and the tasks that read and write them. They end with it.
pub(super) struct Lanes {
    connection: Arc<dyn Connection>,
    received: u64,
    pub(super) outgoing: ByLane<Outgoing>,
    pub(super) incoming: ByLane<mpsc::Receiver<Incoming>>,
    /// Notified when either lane stalls.
    pub(super) stalled: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Lanes {
    pub(super) fn open(
        connection: &Arc<dyn Connection>,
        parameters: Parameters,
        timeouts: StallTimeouts,
        counters: &Arc<Counters>,
    ) -> Self {
        let (mut tasks, stalled) = (JoinSet::new(), Arc::new(Notify::new()));
        let mut open = |lane| {
            let out = send_on(
                Arc::clone(connection),
                lane,
                &parameters,
                timeouts,
                Arc::clone(&stalled),
                &mut tasks,
            );
            let into = receive_on(Arc::clone(connection), lane, parameters, Arc::clone(counters), &mut tasks);
            (out, into)
        };
        let (live, repair) = (open(Lane::Live), open(Lane::Repair));
        Self {
            connection: Arc::clone(connection),
            received: 0,
            outgoing: ByLane { live: live.0, repair: repair.0 },
            incoming: ByLane { live: live.1, repair: repair.1 },
            stalled,
            _tasks: tasks,
        }
    }

    /// The state of the line. The received bytes are as of the last [`count_received`](Self::count_received).
    pub(super) fn state(&self) -> LineState {
        let Self { outgoing, incoming, received, .. } = self;
        LineState {
            has_room: ByLane { live: outgoing.live.has_room(), repair: outgoing.repair.has_room() },
            is_overfull: outgoing.live.is_overfull() || outgoing.repair.is_overfull(),
            unread: ByLane { live: !incoming.live.is_empty(), repair: !incoming.repair.is_empty() },
            received: *received,
        }
    }

    /// Asks the transport for the received bytes, which may take the lock of the connection.
    pub(super) fn count_received(&mut self) {
        self.received = self.connection.traffic().received;
    }

    /// Queues a frame on a lane.
    pub(super) fn send(&self, lane: Lane, frame: Bytes) {
        self.outgoing.as_ref().of(lane).send(frame);
    }
}

/// The input of a lane.
pub(super) enum Incoming {
    /// A decoded message.
    Message(Message),
    /// The frame is not a message. Nothing follows.
    Fault(Fault),
    /// The connection has ended.
    End(Option<TransportError>),
}

/// Messages queued for the neighbour.
pub(super) struct Outgoing {
    frames: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<Waiting>,
    most: usize,
}

/// The cost of a frame beside its bytes.
const FRAME_COST: usize = 64;

/// Bytes waiting to be sent. The queue itself is unbounded: the sender checks for room first, and one answer is
/// bounded.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    drained: Notify,
}

impl Outgoing {
    /// Queues a frame.
    fn send(&self, frame: Bytes) {
        self.waiting.bytes.fetch_add(frame.len() + FRAME_COST, Ordering::AcqRel);
        // Without a receiver the connection has ended, which the link learns from its lanes.
        let _ = self.frames.send(frame);
    }

    /// Whether another answer may be queued.
    fn has_room(&self) -> bool {
        self.waiting.bytes.load(Ordering::Acquire) < LANE_BYTES
    }

    /// Whether more bytes wait than any honest repair session leaves waiting.
    fn is_overfull(&self) -> bool {
        self.waiting.bytes.load(Ordering::Acquire) > self.most
    }

    /// Waits for room.
    pub(super) async fn room(&self) {
        loop {
            let drained = self.waiting.drained.notified();
            if self.has_room() {
                return;
            }
            drained.await;
        }
    }
}

/// Sends the queued frames of a lane until the connection ends. If a frame is not taken in time, notifies `stalled` and
/// stops sending.
fn send_on(
    connection: Arc<dyn Connection>,
    lane: Lane,
    parameters: &Parameters,
    timeouts: StallTimeouts,
    stalled: Arc<Notify>,
    tasks: &mut JoinSet<()>,
) -> Outgoing {
    let (frames, mut queue) = mpsc::unbounded_channel::<Bytes>();
    let waiting = Arc::new(Waiting::default());
    let drained = Arc::clone(&waiting);
    tasks.spawn(async move {
        let mut before = 0;
        while let Some(frame) = queue.recv().await {
            let len = frame.len() + FRAME_COST;
            // The transport may still hold the previous frame: it accepts a frame before it has sent it.
            let limit = timeouts.time_for(before + len);
            match tokio::time::timeout(limit, connection.send(lane, frame)).await {
                Ok(Ok(())) => before = len,
                Ok(Err(_)) => return,
                Err(_) => return stalled.notify_one(),
            }
            drained.bytes.fetch_sub(len, Ordering::AcqRel);
            drained.drained.notify_waiters();
        }
    });
    Outgoing { frames, waiting, most: most_waiting(parameters) }
}

/// Reads and decodes the frames of a lane, a little ahead.
fn receive_on(
    connection: Arc<dyn Connection>,
    lane: Lane,
    parameters: Parameters,
    counters: Arc<Counters>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Receiver<Incoming> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let longest = longest_frame(&parameters);
    tasks.spawn(async move {
        loop {
            let incoming = match connection.receive(lane, longest).await {
                Ok(Some(frame)) => match decode(&frame, &parameters) {
                    Ok(message) => {
                        counters.received(&message, frame.len());
                        Incoming::Message(message)
                    }
                    Err(malformed) => Incoming::Fault(malformed.into()),
                },
                Ok(None) => Incoming::End(None),
                Err(error) => Incoming::End(Some(error)),
            };
            let last = !matches!(incoming, Incoming::Message(_));
            if sender.send(incoming).await.is_err() || last {
                return;
            }
        }
    });
    receiver
}
