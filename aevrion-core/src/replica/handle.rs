//! The handle of a replica: writes, reads, the tree, the clock, local settings and closing. Each write goes through
//! the queue to the writer; each read begins from the state that the writer published last.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::feed::FeedReader;
use super::operation::{Inserted, Operation, check_batch, check_density};
use super::queue::{Answer, Content, Queue, Request, SettingWrite};
use super::state::Shared;
use super::tree_walk::TreeWalk;
use crate::bounds::SETTING_BYTES;
use crate::event::is_reserved;
use crate::fault_injection::{Bug, injected};
use crate::index::{AsOf, Entries, EntryQuery, KeySpan, VersionQuery, Versions};
use crate::news::Origin;
use crate::store::{Durability, StoreError, Table};
use crate::tables::name;
use crate::tree::{Node, Root};
use crate::{ClockFault, Event, EventKey, Hash, ReadError, TimeSpan, Timestamp, Value, WriteError};

/// A key-value store in which each write is an event on a time axis. Cloning gives another handle to the same replica,
/// which ends when it is [closed](Replica::close) or the last handle is dropped.
///
/// Dropping the future of a write cancels the write, unless it is being stored already.
#[derive(Clone)]
pub struct Replica {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Queue,
}

impl Replica {
    /// Gives `key` a value. Answers with the key of the event once the write is durable.
    ///
    /// # Errors
    /// [`WriteError`] about the key or the value, if the clock cannot be trusted, or if the store does not take it:
    /// nothing was written then.
    pub async fn put(&self, key: impl AsRef<[u8]>, data: impl Into<Bytes>) -> Result<EventKey, WriteError> {
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
    ) -> Result<EventKey, WriteError> {
        let value = Value::Expiring { data: data.into(), expires_at };
        let key = Bytes::copy_from_slice(key.as_ref());
        self.write(Operation { key, value }, Durability::Immediate).await
    }

    /// Leaves `key` without a value. The versions before stay in its history.
    ///
    /// # Errors
    /// As [`Replica::put`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<EventKey, WriteError> {
        self.write(Operation::delete(key), Durability::Immediate).await
    }

    /// One write, as durable as asked.
    ///
    /// # Errors
    /// As [`Replica::put`].
    pub async fn write(&self, operation: Operation, durability: Durability) -> Result<EventKey, WriteError> {
        let event_keys = self.batch(vec![operation], durability).await?;
        event_keys.first().copied().ok_or(WriteError::Closed)
    }

    /// All of these writes or, if the process or the power dies, none. Answers with an event key for each, in order.
    /// On other nodes they may become visible one by one.
    ///
    /// # Errors
    /// As [`Replica::put`], [`WriteError::BatchTooLarge`] and [`WriteError::BatchTooDense`].
    pub async fn batch(
        &self,
        operations: Vec<Operation>,
        durability: Durability,
    ) -> Result<Vec<EventKey>, WriteError> {
        let bytes = operations.iter().map(|operation| operation.key.len() + operation.value.len()).sum();
        check_batch(operations.len(), bytes)?;
        if let Some(fault) = self.shared.refuse_by_clock() {
            return Err(WriteError::Clock(fault));
        }
        for operation in &operations {
            self.check(&operation.key, &operation.value)?;
        }
        check_density(&operations, self.shared.max_drift)?;
        let (reply, answer) = Answer::channel();
        self.queue.submit(Content::Operations(operations, reply), bytes, durability).await?;
        answer.wait().await
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
    ) -> Result<EventKey, WriteError> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.check(&key, &value)?;
        let event = Event::new(key, value, timestamp)?;
        let event_key = event.event_key();
        self.insert(vec![event], Durability::Immediate).await?;
        Ok(event_key)
    }

    /// Stores these events in one atomic write, except those that are stored already.
    ///
    /// # Errors
    /// As [`Replica::batch`].
    pub async fn insert(&self, events: Vec<Event>, durability: Durability) -> Result<Inserted, WriteError> {
        if events.iter().any(|event| is_reserved(event.key())) {
            return Err(WriteError::ReservedKey);
        }
        self.submit(events, Origin::Local, durability).await?.wait().await
    }

    /// Queues events for insertion; the answer comes when they are stored.
    pub(crate) async fn submit(
        &self,
        events: Vec<Event>,
        origin: Origin,
        durability: Durability,
    ) -> Result<Answer<Inserted>, WriteError> {
        let bytes = events.iter().map(Event::weight).sum();
        check_batch(events.len(), bytes)?;
        for event in &events {
            self.shared.parameters.check(event.key(), event.value())?;
        }
        let (reply, answer) = Answer::channel();
        self.queue.submit(Content::Events(events, origin, reply), bytes, durability).await?;
        Ok(answer)
    }

    /// Stores an event of the system's own as one of this node: durable here, then told to the neighbours.
    pub(crate) async fn insert_system(&self, event: Event) -> Result<Inserted, WriteError> {
        debug_assert!(is_reserved(event.key()), "clients have their own way in");
        self.submit(vec![event], Origin::Local, Durability::Immediate).await?.wait().await
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
    /// [`ReadError`] if the store cannot be read, or a row that the answer needs is damaged.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, ReadError> {
        let event = self.get_event(key, self.present()).await?;
        Ok(event.and_then(|event| event.value().data().cloned()))
    }

    /// The value of `key` at `at`, a moment of the past or the future.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn get_at(&self, key: impl AsRef<[u8]>, at: Timestamp) -> Result<Option<Bytes>, ReadError> {
        let event = self.get_event(key, at).await?;
        Ok(event.and_then(|event| event.value().data().cloned()))
    }

    /// The event that gives `key` its value as of a moment, or of the [present](Replica::present); `None` if the key
    /// was never written, or its value was deleted or has expired.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn get_event(
        &self,
        key: impl AsRef<[u8]>,
        as_of: impl Into<AsOf>,
    ) -> Result<Option<Event>, ReadError> {
        let (key, as_of) = (key.as_ref(), as_of.into());
        if is_reserved(key) {
            return Ok(None);
        }
        let winner = self.noting(self.shared.winner(key, as_of.visible).await)?;
        Ok(winner.filter(|event| event.value().visible_at(as_of.expiry).is_some()))
    }

    /// Whether `key` has a value as of a moment.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn exists(&self, key: impl AsRef<[u8]>, as_of: impl Into<AsOf>) -> Result<bool, ReadError> {
        Ok(self.get_event(key, as_of).await?.is_some())
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
        let as_of = query.as_of.unwrap_or_else(|| self.present());
        let state = self.shared.state()?;
        self.noting(state.index().entries(as_of, query).await)
    }

    /// How many keys of a span have a value as of a moment. Cost: one or two searches for each of them.
    ///
    /// # Errors
    /// As [`Replica::get`].
    pub async fn count(&self, span: KeySpan, as_of: impl Into<AsOf>) -> Result<u64, ReadError> {
        let mut query = EntryQuery { span, as_of: Some(as_of.into()), ..EntryQuery::default() };
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

    /// Hash and count of all events. Cost: a few lookups, and the hashing of the events written since the last call;
    /// the first call reads the top row of the tree, and every call does if that has more than
    /// [`TOP_ROW_NODES`](crate::bounds::TOP_ROW_NODES) nodes.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn root(&self) -> Result<Root, ReadError> {
        self.root_of(TimeSpan::ALL).await
    }

    /// Hash and count of the events before `moment`. Replicas compare these, so that events in flight are no
    /// difference. Cost: as [`Replica::root`], and one path of the tree.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn root_at(&self, moment: Timestamp) -> Result<Root, ReadError> {
        match TimeSpan::before(moment) {
            Some(span) => self.root_of(span).await,
            None => Ok(Root { count: 0, hash: Hash::EMPTY }),
        }
    }

    async fn root_of(&self, span: TimeSpan) -> Result<Root, ReadError> {
        let walk = TreeWalk::begin(&self.shared, &self.queue, None).await?;
        self.noting(walk.root(span).await)
    }

    /// The non-empty nodes of a level with these indexes, ascending.
    ///
    /// # Errors
    /// As [`Replica::root`].
    pub async fn nodes(
        &self,
        level: u8,
        indexes: RangeInclusive<u64>,
    ) -> Result<Vec<(u64, Node)>, ReadError> {
        let walk = TreeWalk::begin(&self.shared, &self.queue, None).await?;
        let (mut pass, _) = walk.pass(TimeSpan::ALL);
        self.noting(pass.nodes(level, indexes).await)
    }

    /// Passes a read's answer on. After a failure of the store the writer is asked for a fresh view, so that an engine
    /// that had to be reopened is read again. A damaged event goes on the list.
    pub(super) fn noting<T>(&self, answer: Result<T, ReadError>) -> Result<T, ReadError> {
        match &answer {
            Err(ReadError::Store(error)) => {
                tracing::warn!(%error, "a read failed");
                self.queue.refresh();
            }
            Err(error) => self.shared.note_damage(error),
            Ok(_) => {}
        }
        answer
    }

    /// The time at which reads happen: the wall clock's, or the latest that this node has seen if that is later.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// The moment of a read of the present: versions count until [now](Replica::now), expiry by the wall clock. So a
    /// write that is ahead of the wall ends no lease early.
    pub fn present(&self) -> AsOf {
        let visible = self.now();
        let expiry = if injected(Bug::ExpiryByLogicalClock) { visible } else { self.shared.wall.now() };
        AsOf { visible, expiry }
    }

    /// Takes local writes again although the wall clock was set back, with timestamps after the latest one of this
    /// node: they lie in the future until the wall has caught up, and other nodes show them only then. It lasts until
    /// then, also over a restart. Call it if the wall clock was wrong before and is right now.
    ///
    /// # Errors
    /// [`WriteError::Store`] if the change cannot be stored.
    pub async fn resume_clock(&self) -> Result<(), WriteError> {
        self.queue.write(Request::ResumeClock).await
    }

    /// Promises that this node stamps nothing at or before `until` any more, also after a restart. It does not bind
    /// events of other nodes. Cost: a durable commit, unless an earlier promise goes as far.
    ///
    /// # Errors
    /// [`WriteError::Store`] if the promise cannot be stored.
    pub(crate) async fn settle(&self, until: Timestamp) -> Result<(), WriteError> {
        if until <= self.settled() {
            return Ok(());
        }
        self.queue.write(|reply| Request::Settle(until, reply)).await
    }

    /// The end of the time at which this node has promised to stamp nothing.
    pub(crate) fn settled(&self) -> Timestamp {
        Timestamp::from_millis(self.shared.settled.load(Ordering::Acquire))
    }

    /// Refuses local writes because of the neighbours' clocks, or takes them again.
    pub(crate) fn heed_neighbours(&self, verdict: Option<ClockFault>) {
        let before = self.shared.neighbours_verdict.swap(verdict.map(Arc::new));
        match (before, verdict) {
            (None, Some(fault)) => tracing::error!("{fault}: local writes are refused"),
            (Some(_), None) => {
                tracing::info!("this node's clock agrees with its neighbours': local writes are taken again");
            }
            _ => {}
        }
    }

    /// The events that are stored from now on, for a neighbour.
    pub(crate) fn feed(&self) -> FeedReader {
        self.shared.feed.read()
    }
}

/// Local settings: small rows of this store alone. They are no events, so they neither replicate nor enter the tree.
impl Replica {
    /// The value of the setting `name`.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn setting(&self, name: &str) -> Result<Option<Bytes>, ReadError> {
        let state = self.shared.state()?;
        let found = state.view.get(Table::Meta, name::setting(name).as_bytes()).await;
        self.noting(found.map_err(ReadError::from))
    }

    /// Stores `value` under `name`, durably; removes the setting if `None`.
    ///
    /// # Errors
    /// [`WriteError::ValueTooLong`] beyond 1 MiB, or the failure of the store: the old value stands then.
    pub async fn remember(&self, name: &str, value: Option<Bytes>) -> Result<(), WriteError> {
        let len = value.as_ref().map_or(0, Bytes::len);
        if len > SETTING_BYTES {
            return Err(WriteError::ValueTooLong {
                len,
                most: u32::try_from(SETTING_BYTES).unwrap_or(u32::MAX),
            });
        }
        let setting = SettingWrite { row: name::setting(name), value };
        self.queue.write(|reply| Request::WriteSetting(setting, reply)).await
    }
}

impl Replica {
    /// Finishes the queued requests, makes everything durable and closes the store. Later requests are refused, on
    /// any handle, and so are writes that wait for the clock. Dropping the last handle does the same in the
    /// background, and logs an error.
    ///
    /// # Errors
    /// The failure of the store, which counts as closed all the same. Closing twice is no error.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.queue.ask(Request::Close).await.unwrap_or(Ok(()))
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("node", &self.shared.node).finish_non_exhaustive()
    }
}
