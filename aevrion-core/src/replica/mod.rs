//! The replica: the embeddable database, and the one place where the order of things is decided.
//!
//! One [writer](writer) task takes what is to be written, many requests at a time, and makes one commit of them: it
//! stamps the clock, drops what is known already, encodes, marks the tree, and answers when the commit is safe.
//! Readers never wait for it: each reads the [`ReadState`] that the writer published last.

mod close;
mod derived;
mod export;
mod feed;
mod holdings;
mod import;
mod lot;
mod open;
mod options;
mod queue;
mod rebuild;
mod recover;
mod settings;
mod state;
mod status;
mod submissions;
mod tree_access;
mod verify;
mod watch;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::agent::Origin;
use crate::event::is_reserved;
use crate::index::{Entries, EntryQuery, KeySpan, VersionQuery, Versions};
use crate::store::Durability;
use crate::{Address, Event, Parameters, ReadError, Timestamp, Value, WallClock, WriteError};

pub use export::Export;
pub(crate) use feed::{FeedReader, News};
pub use import::{Import, Inserted};
pub use options::Options;
pub use rebuild::Rebuilt;
pub use status::Status;
pub use verify::{Progress, Verification};
pub use watch::{Cursor, NotACursor, Watch, Watched};

use queue::{Content, Queue};
pub(crate) use state::{ReadState, Shared};

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

/// A key-value store whose every write is an event on a time axis. Cloning gives another handle to the same replica,
/// which ends when it is [closed](Replica::close) or the last handle is dropped.
///
/// Dropping the future of a write does not take the write back once it is queued.
#[derive(Clone)]
pub struct Replica {
    shared: Arc<Shared>,
    queue: Queue,
}

impl Replica {
    /// Gives `key` a value. Answers when the write is durable, with where the event stands.
    ///
    /// # Errors
    /// [`WriteError`] about the key or the value, or if the store does not take it: nothing was written then.
    pub async fn put(&self, key: impl AsRef<[u8]>, data: impl Into<Bytes>) -> Result<Address, WriteError> {
        self.write(Operation::put(key, data), Durability::Immediate).await
    }

    /// As [`Replica::put`]; from `expires_at` on the key has no value again.
    ///
    /// # Errors
    /// As [`Replica::put`].
    pub async fn put_until(
        &self,
        key: impl AsRef<[u8]>,
        data: impl Into<Bytes>,
        expires_at: Timestamp,
    ) -> Result<Address, WriteError> {
        let value = Value::Expiring { data: data.into(), expires_at };
        let key = Bytes::copy_from_slice(key.as_ref());
        self.write(Operation { key, value }, Durability::Immediate).await
    }

    /// Leaves `key` without a value. The versions before stay in its history.
    ///
    /// # Errors
    /// As [`Replica::put`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Address, WriteError> {
        self.write(Operation::delete(key), Durability::Immediate).await
    }

    /// One write, as durable as asked.
    ///
    /// # Errors
    /// As [`Replica::put`].
    pub async fn write(&self, operation: Operation, durability: Durability) -> Result<Address, WriteError> {
        let addresses = self.batch(vec![operation], durability).await?;
        addresses.first().copied().ok_or(WriteError::Closed)
    }

    /// All of these writes or, if the process or the power dies, none. Answers with an address for each, in order.
    /// On other nodes they may become visible one by one.
    ///
    /// # Errors
    /// As [`Replica::put`], and [`WriteError::BatchTooLarge`].
    pub async fn batch(
        &self,
        operations: Vec<Operation>,
        durability: Durability,
    ) -> Result<Vec<Address>, WriteError> {
        let bytes = operations.iter().map(|operation| operation.key.len() + operation.value.len()).sum();
        check_batch(operations.len(), bytes)?;
        if let Some(by) = self.shared.ahead.load().as_deref() {
            return Err(WriteError::ClockAhead { by: *by });
        }
        for operation in &operations {
            self.check(&operation.key, &operation.value)?;
        }
        let (reply, answer) = oneshot::channel();
        self.queue.submit(Content::Operations(operations, reply), bytes, durability).await?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Writes an event with a given time, for imports: past, present or future.
    ///
    /// # Errors
    /// As [`Replica::put`].
    pub async fn put_at(
        &self,
        key: impl AsRef<[u8]>,
        value: Value,
        timestamp: Timestamp,
    ) -> Result<Address, WriteError> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.check(&key, &value)?;
        let event = Event::new(key, value, timestamp)?;
        let address = event.address();
        self.insert(vec![event], Durability::Immediate).await?;
        Ok(address)
    }

    /// Stores these events, all in one atomic write, but for those that are stored already.
    ///
    /// # Errors
    /// As [`Replica::batch`].
    pub async fn insert(&self, events: Vec<Event>, durability: Durability) -> Result<Inserted, WriteError> {
        if events.iter().any(|event| is_reserved(event.key())) {
            return Err(WriteError::ReservedKey);
        }
        self.submit(events, Origin::Local, durability).await?.await.map_err(|_| WriteError::Closed)?
    }

    /// Queues events for insertion; the answer comes when they are stored.
    pub(crate) async fn submit(
        &self,
        events: Vec<Event>,
        origin: Origin,
        durability: Durability,
    ) -> Result<oneshot::Receiver<Result<Inserted, WriteError>>, WriteError> {
        let bytes = events.iter().map(Event::weight).sum();
        check_batch(events.len(), bytes)?;
        for event in &events {
            self.shared.parameters.check(event.key(), event.value())?;
        }
        let (reply, answer) = oneshot::channel();
        self.queue.submit(Content::Events(events, origin, reply), bytes, durability).await?;
        Ok(answer)
    }

    fn check(&self, key: &[u8], value: &Value) -> Result<(), WriteError> {
        if is_reserved(key) {
            return Err(WriteError::ReservedKey);
        }
        self.shared.parameters.check(key, value)
    }

    /// The value of `key` now.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read, or what it holds cannot be trusted.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, ReadError> {
        self.get_at(key, self.now()).await
    }

    /// The value that `key` had, or will have as far as is known, at `at`.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn get_at(&self, key: impl AsRef<[u8]>, at: Timestamp) -> Result<Option<Bytes>, ReadError> {
        let event = self.get_event(key, at).await?;
        Ok(event.and_then(|event| event.value().data().cloned()))
    }

    /// The event that gives `key` its value at `at`; `None` if it has none, be it never written, deleted or expired.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn get_event(&self, key: impl AsRef<[u8]>, at: Timestamp) -> Result<Option<Event>, ReadError> {
        let key = key.as_ref();
        if is_reserved(key) {
            return Ok(None);
        }
        let winner = self.noting(self.shared.winner(key, at).await)?;
        Ok(winner.filter(|event| event.value().visible_at(at).is_some()))
    }

    /// Whether `key` has a value at `at`.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn exists(&self, key: impl AsRef<[u8]>, at: Timestamp) -> Result<bool, ReadError> {
        Ok(self.get_event(key, at).await?.is_some())
    }

    /// A page of the versions of `key`, newest first unless asked otherwise.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn history(&self, key: impl AsRef<[u8]>, query: &VersionQuery) -> Result<Versions, ReadError> {
        let key = key.as_ref();
        if is_reserved(key) {
            return Ok(Versions { events: Vec::new(), next: None });
        }
        let until = query.until.unwrap_or_else(|| self.now());
        let state = self.shared.state()?;
        self.noting(state.index().versions(key, until, query).await)
    }

    /// A page of the keys that have a value, in byte order.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn scan(&self, query: &EntryQuery) -> Result<Entries, ReadError> {
        let at = query.at.unwrap_or_else(|| self.now());
        let state = self.shared.state()?;
        self.noting(state.index().entries(at, query).await)
    }

    /// How many keys of a span have a value at `at`. Cost: one or two searches for each of them.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn count(&self, span: KeySpan, at: Timestamp) -> Result<u64, ReadError> {
        let mut query = EntryQuery { span, at: Some(at), ..EntryQuery::default() };
        let mut count = 0;
        loop {
            let entries = self.scan(&query).await?;
            count += entries.events.iter().map(|_| 1).sum::<u64>();
            match entries.next {
                Some(next) => query.after = Some(next),
                None => return Ok(count),
            }
        }
    }

    /// Passes a read's answer on. If the store failed it, the writer is asked for a fresh view, so that an engine
    /// that had to be reopened is read again.
    fn noting<T>(&self, answer: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(ReadError::Store(error)) = &answer {
            tracing::warn!(%error, "a read failed");
            self.queue.refresh();
        }
        answer
    }

    /// The time at which reads happen: the wall clock's, or the latest that this node has seen if that is later.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// How far ahead of the wall clock an event may be and still count as the present.
    pub fn max_drift(&self) -> Duration {
        self.shared.max_drift
    }

    /// Refuses local writes while this node's clock is so far ahead of its neighbours', or takes them again.
    pub(crate) fn refuse_writes_ahead(&self, by: Option<Duration>) {
        let before = self.shared.ahead.swap(by.map(Arc::new));
        match (before.is_some(), by) {
            (false, Some(by)) => {
                tracing::error!(
                    ?by,
                    "this node's clock is ahead of its neighbours': local writes are refused"
                );
            }
            (true, None) => {
                tracing::info!("this node's clock agrees with its neighbours': local writes are taken again");
            }
            _ => {}
        }
    }

    /// Rows that one commit of the store takes without trouble.
    pub(crate) fn rows_at_once(&self) -> usize {
        self.shared.capabilities.rows_at_once
    }

    /// What the neighbours are to hear of, from now on.
    pub(crate) fn feed(&self) -> FeedReader {
        self.shared.feed.read()
    }

    /// Where the time comes from.
    pub(crate) fn wall(&self) -> Arc<dyn WallClock> {
        Arc::clone(&self.shared.wall)
    }

    /// What the cluster of this replica shares.
    pub fn parameters(&self) -> Parameters {
        self.shared.parameters
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("node", &self.shared.node).finish_non_exhaustive()
    }
}

fn check_batch(operations: usize, bytes: usize) -> Result<(), WriteError> {
    use crate::bounds::{BATCH_BYTES, BATCH_OPERATIONS};
    // One event of the cluster's greatest size is always a batch of its own.
    if operations > BATCH_OPERATIONS || (operations > 1 && bytes > BATCH_BYTES) {
        return Err(WriteError::BatchTooLarge { operations, bytes });
    }
    Ok(())
}
