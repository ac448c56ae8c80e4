//! The queue of the writer: requests, bounded in number and in bytes, and their answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::kept_sketch::KeptCells;
use super::operation::{Inserted, Operation};
use super::tree_changes::WalkGrant;
use crate::bounds::{QUEUE_BYTES, QUEUE_REQUESTS};
use crate::news::Origin;
use crate::store::{Durability, StoreError, WriteBatch};
use crate::{Event, EventKey, Timestamp, WriteError};

/// A request to the writer.
pub(super) enum Request {
    /// Store something.
    Submit(Submission),
    /// Grant a walk of the tree. A neighbour will be `told` of the events up to a time: nothing is stamped at or before it
    /// from now on.
    Walk { told: Option<Timestamp>, reply: oneshot::Sender<WalkGrant> },
    /// Commit these rows of derived tables, and correct the counts.
    Mend(WriteBatch, Option<CountCorrection>, oneshot::Sender<Result<(), StoreError>>),
    /// Correct the kept cells.
    MendSketch(SketchCorrection, oneshot::Sender<Result<(), StoreError>>),
    /// Write a local setting.
    WriteSetting(SettingWrite, oneshot::Sender<Result<(), StoreError>>),
    /// A read failed: publish a fresh view.
    Refresh,
    /// Stamp nothing at or before this time from now on, also after a restart.
    Settle(Timestamp, oneshot::Sender<Result<(), StoreError>>),
    /// Go on from the latest timestamp, however far ahead of the wall it is.
    ResumeClock(oneshot::Sender<Result<(), StoreError>>),
    /// Finish, and close the store.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// A local setting to write. Nothing is derived from it.
pub(super) struct SettingWrite {
    /// The key of its row in the table `meta`.
    pub(super) row: String,
    /// The new value; `None` removes the row.
    pub(super) value: Option<Bytes>,
}

/// A correction of the kept cells, to be added to them.
pub(super) struct SketchCorrection {
    pub(super) lacking: KeptCells,
    /// The number of reloads before the check: later cells are others.
    pub(super) reloads: u64,
}

/// Content to store.
pub(super) struct Submission {
    pub(super) content: Content,
    pub(super) durability: Durability,
    /// Given back when the submission is answered, or waits for the clock.
    pub(super) space: Option<OwnedSemaphorePermit>,
    /// The end of its wait for the clock, if it has to wait.
    pub(super) deadline: Option<Instant>,
}

/// A correction of the stored counts, to be added to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountCorrection {
    pub(super) events: i64,
    pub(super) indexed_keys: i64,
}

/// The content of a submission, and the way of its answer.
pub(super) enum Content {
    /// Writes that get their time from this node's clock.
    Operations(Vec<Operation>, oneshot::Sender<Result<Vec<EventKey>, WriteError>>),
    /// Events that have their time, and their origin.
    Events(Vec<Event>, Origin, oneshot::Sender<Result<Inserted, WriteError>>),
}

impl Content {
    /// The number of events, and of bytes of keys and values.
    pub(super) fn size(&self) -> (usize, usize) {
        match self {
            Self::Operations(operations, _) => (
                operations.len(),
                operations.iter().map(|operation| operation.key.len() + operation.value.len()).sum(),
            ),
            Self::Events(events, ..) => (events.len(), events.iter().map(Event::weight).sum()),
        }
    }

    /// The keys of local writes, which are stamped in order. Events have their time already.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let operations = match self {
            Self::Operations(operations, _) => &operations[..],
            Self::Events(..) => &[],
        };
        operations.iter().map(|operation| &operation.key)
    }

    /// Whether a local caller has gone away. Events of neighbours are stored all the same.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Operations(_, reply) => reply.is_closed(),
            Self::Events(_, origin, reply) => *origin == Origin::Local && reply.is_closed(),
        }
    }

    /// Answers that it was not stored.
    pub(super) fn refuse(self, error: WriteError) {
        match self {
            Self::Operations(_, reply) => drop(reply.send(Err(error))),
            Self::Events(.., reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The answer to a submission, sent when its content is stored.
pub(crate) struct Answer<T>(oneshot::Receiver<Result<T, WriteError>>);

impl<T> Answer<T> {
    /// A place for the answer, and the answer.
    pub(super) fn channel() -> (oneshot::Sender<Result<T, WriteError>>, Self) {
        let (reply, answer) = oneshot::channel();
        (reply, Self(answer))
    }

    /// Waits for the answer. Without a writer it is [`WriteError::Closed`].
    ///
    /// # Errors
    /// The reason why nothing was stored.
    pub(crate) async fn wait(self) -> Result<T, WriteError> {
        self.0.await.unwrap_or(Err(WriteError::Closed))
    }
}

/// The sending side.
#[derive(Clone)]
pub(super) struct Queue {
    requests: mpsc::Sender<Request>,
    space: Arc<Semaphore>,
}

/// Bytes of the queue for each permit of its semaphore.
const UNIT: usize = 1 << 10;

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS);
        (Self { requests, space: Arc::new(Semaphore::new(QUEUE_BYTES / UNIT)) }, queue)
    }

    /// Queues content of so many bytes as soon as there is room.
    pub(super) async fn submit(
        &self,
        content: Content,
        bytes: usize,
        durability: Durability,
    ) -> Result<(), WriteError> {
        let units = bytes.div_ceil(UNIT).clamp(1, QUEUE_BYTES / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let space = Arc::clone(&self.space).acquire_many_owned(units).await;
        let space = Some(space.map_err(|_| WriteError::Closed)?);
        let request = Request::Submit(Submission { content, durability, space, deadline: None });
        self.requests.send(request).await.map_err(|_| WriteError::Closed)
    }

    /// Sends any other request, and waits for the answer; `None` without a writer.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }

    /// As [`Queue::ask`], for a commit.
    ///
    /// # Errors
    /// [`WriteError::Store`] if the store does not take it, and [`WriteError::Closed`] without a writer.
    pub(super) async fn write(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Request,
    ) -> Result<(), WriteError> {
        match self.ask(request).await {
            Some(written) => written.map_err(WriteError::Store),
            None => Err(WriteError::Closed),
        }
    }

    /// Asks for a fresh view. If the queue is full, the writer will publish one anyway.
    pub(super) fn refresh(&self) {
        let _ = self.requests.try_send(Request::Refresh);
    }
}
