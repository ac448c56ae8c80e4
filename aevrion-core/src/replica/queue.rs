//! The way to the writer: bounded in requests and in bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::read_state::ReadState;
use super::top_row::Touched;
use crate::bounds::{QUEUE_BYTES, QUEUE_REQUESTS};
use crate::news::Origin;
use crate::store::{Durability, StoreError, WriteBatch};
use crate::tree::{Node, NodePosition};
use crate::{Event, EventKey, Timestamp, Value, WriteError};

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The key.
    pub key: Bytes,
    /// What it is to have from now on.
    pub value: Value,
}

impl Operation {
    /// Gives `key` the value `data`.
    pub fn put(key: impl AsRef<[u8]>, data: impl Into<Bytes>) -> Self {
        Self { key: Bytes::copy_from_slice(key.as_ref()), value: Value::Data(data.into()) }
    }

    /// Leaves `key` without a value.
    pub fn delete(key: impl AsRef<[u8]>) -> Self {
        Self { key: Bytes::copy_from_slice(key.as_ref()), value: Value::Deletion }
    }
}

/// What an insertion brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inserted {
    /// Events that were not stored before.
    pub new: u64,
    /// Events that were.
    pub known: u64,
}

/// What the writer can be asked for.
pub(super) enum Request {
    /// Store something.
    Submit(Submission),
    /// Let someone walk the tree, who has last heard of the walk of the number `known`. If a neighbour is to be `told`
    /// what was written up to a time, nothing is stamped at or before that time from now on.
    Walk { told: Option<Timestamp>, known: u64, reply: oneshot::Sender<Walk> },
    /// Commit these rows of derived tables, and correct the counts.
    Mend(WriteBatch, Option<Counted>, oneshot::Sender<Result<(), StoreError>>),
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

/// Something to store, and where the answer goes.
pub(super) struct Submission {
    pub(super) content: Content,
    pub(super) durability: Durability,
    /// Given back when the submission is answered, or waits for the clock.
    pub(super) space: Option<OwnedSemaphorePermit>,
    /// Until when it waits for the clock, once it does.
    pub(super) deadline: Option<Instant>,
}

/// By how much the stored counts were wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) events: i64,
    pub(super) indexed_keys: i64,
}

/// What a submission brings.
pub(super) enum Content {
    /// Writes that get their time from this node's clock.
    Operations(Vec<Operation>, oneshot::Sender<Result<Vec<EventKey>, WriteError>>),
    /// Events that have theirs, and from whom they come.
    Events(Vec<Event>, Origin, oneshot::Sender<Result<Inserted, WriteError>>),
}

impl Content {
    /// How many events it brings, and bytes of keys and values.
    pub(super) fn size(&self) -> (usize, usize) {
        match self {
            Self::Operations(operations, _) => (
                operations.len(),
                operations.iter().map(|operation| operation.key.len() + operation.value.len()).sum(),
            ),
            Self::Events(events, ..) => (events.len(), events.iter().map(Event::weight).sum()),
        }
    }

    /// The keys of local writes, which are stamped in order; an event has its time.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let operations = match self {
            Self::Operations(operations, _) => &operations[..],
            Self::Events(..) => &[],
        };
        operations.iter().map(|operation| &operation.key)
    }

    /// Whether nobody waits for the answer any more. What neighbours bring is wanted all the same.
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

/// The answer to a submission, which comes when its content is stored.
pub(crate) struct Answer<T>(oneshot::Receiver<Result<T, WriteError>>);

impl<T> Answer<T> {
    /// A place for the answer, and the answer.
    pub(super) fn channel() -> (oneshot::Sender<Result<T, WriteError>>, Self) {
        let (reply, answer) = oneshot::channel();
        (reply, Self(answer))
    }

    /// Waits for the answer. A writer that is gone answers [`WriteError::Closed`].
    ///
    /// # Errors
    /// The reason why nothing was stored.
    pub(crate) async fn wait(self) -> Result<T, WriteError> {
        self.0.await.unwrap_or(Err(WriteError::Closed))
    }
}

/// Computed nodes, children before their parents.
pub(super) type Nodes = Vec<(NodePosition, Node)>;

/// Leave to walk the tree, until dropped.
pub(super) struct Walk {
    /// What to walk. It stays as it is until the end of the walk, even in a store without isolated views.
    pub(super) state: Arc<ReadState>,
    /// Where computed nodes go.
    pub(super) nodes: mpsc::Sender<Nodes>,
    /// Which walk it is.
    pub(super) number: u64,
    /// The nodes of the top row that were written to since the last walk that was heard of.
    pub(super) touched: Touched,
}

/// The sending side.
#[derive(Clone)]
pub(super) struct Queue {
    requests: mpsc::Sender<Request>,
    space: Arc<Semaphore>,
}

/// The queue's bytes are counted in units of this, because a semaphore's permits are.
const UNIT: usize = 1 << 10;

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS);
        (Self { requests, space: Arc::new(Semaphore::new(QUEUE_BYTES / UNIT)) }, queue)
    }

    /// Queues something of `bytes` to store, as soon as there is room.
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

    /// Asks the writer for something else; `None` if it is gone.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Asks the writer for a commit.
    ///
    /// # Errors
    /// [`WriteError::Store`] if the store does not take it, and [`WriteError::Closed`] if the writer is gone.
    pub(super) async fn write(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Request,
    ) -> Result<(), WriteError> {
        match self.ask(request).await {
            Some(written) => written.map_err(WriteError::Store),
            None => Err(WriteError::Closed),
        }
    }

    /// Asks for a fresh view. If the queue is full the writer will publish one anyway.
    pub(super) fn refresh(&self) {
        let _ = self.requests.try_send(Request::Refresh);
    }
}

/// A channel for computed nodes: two messages in flight are enough to keep both sides busy.
pub(super) fn node_channel() -> (mpsc::Sender<Nodes>, mpsc::Receiver<Nodes>) {
    mpsc::channel(2)
}
