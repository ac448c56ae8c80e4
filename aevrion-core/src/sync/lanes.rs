//! The lanes of a connection as the link sees them: frames become messages on the way in, messages frames on the way
//! out, and neither the reading nor the writing ever blocks the link itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::Patience;
use super::counters::Counters;
use crate::Parameters;
use crate::agent::Fault;
use crate::bounds::LANE_BYTES;
use crate::message::{Message, decode, longest_frame};
use crate::transport::{Connection, Lane, TransportError};

/// Messages read ahead on one lane: one to work on, one on its way.
const READ_AHEAD: usize = 2;

/// What comes in.
pub(super) enum Incoming {
    /// A message.
    Message(Message),
    /// The neighbour's last word: what it sent is not one.
    Fault(Fault),
    /// The connection is at its end.
    End(Option<TransportError>),
}

/// Messages on their way to the neighbour.
pub(super) struct Outgoing {
    frames: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<Waiting>,
    most: usize,
}

/// Bytes waiting on a lane beyond which nobody can claim to be merely slow: a full one, one answer (a window of events,
/// the lists beside it, and what was asked meanwhile: a lane's worth each), and the longest event.
fn most_waiting(parameters: &Parameters) -> usize {
    (LANE_BYTES * 4).saturating_add(longest_frame(parameters))
}

/// What a frame costs beside its bytes.
const FRAME_COST: usize = 64;

/// Bytes that wait to be sent. The queue has no bound of its own: whoever fills it asks for room first, and one answer
/// is bounded.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    drained: Notify,
}

impl Outgoing {
    /// Queues a frame.
    pub(super) fn send(&self, frame: Bytes) {
        self.waiting.bytes.fetch_add(frame.len() + FRAME_COST, Ordering::AcqRel);
        // If nobody sends any more the connection is at its end, which the link learns from its lanes.
        let _ = self.frames.send(frame);
    }

    /// Whether another answer may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.bytes.load(Ordering::Acquire) < LANE_BYTES
    }

    /// Whether more waits than any honest exchange leaves waiting.
    pub(super) fn is_overfull(&self) -> bool {
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

/// Sends what is queued on a lane, until the connection ends. Where a frame is not taken in time, `stalled` is told, and
/// nothing more is sent.
pub(super) fn send_on(
    connection: Arc<dyn Connection>,
    lane: Lane,
    parameters: &Parameters,
    patience: Patience,
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
            // The transport may still be busy with the frame before: it takes one on, and then gets rid of it.
            let limit = patience.time_for(before + len);
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

/// Reads and decodes what comes on a lane, a little ahead.
pub(super) fn receive_on(
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
