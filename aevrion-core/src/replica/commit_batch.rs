//! A commit in the making: new events, encoded, with the rows that are derived from them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::read_state::ReadState;
use super::state::Shared;
use crate::arrivals::{Effect, encode_run, runs_before};
use crate::bounds::{ARRIVAL_RUN, INLINE_DATA};
use crate::coop::charge;
use crate::event::is_reserved;
use crate::fault_injection::{Bug, injected};
use crate::index::{IndexReader, Pending};
use crate::news::{NewEvent, Origin};
use crate::store::{StoreError, Table, View, WriteBatch};
use crate::tables::{
    Checkpoint, EVENT_KEY_LEN, IndexRow, encode_event, encode_event_key, expiry_key, has_key, name, node_key,
    sequence_key,
};
use crate::tree::NodePosition;
use crate::{Clock, Event, EventKey, ReadError, Timestamp};

/// A commit in the making. Dropping it leaves everything as it was.
pub(super) struct CommitBatch {
    /// The state that the commit builds on.
    pub(super) base: Arc<ReadState>,
    pub(super) writes: WriteBatch,
    pub(super) pending: Pending,
    pub(super) checkpoint: Checkpoint,
    /// The greatest timestamp stored, this batch included.
    pub(super) greatest: Option<Timestamp>,
    /// The new events in the order of arrival, or those whose values have expired, and their keys.
    pub(super) arrived: Vec<(EventKey, Bytes)>,
    /// Whether the arrivals were stored, or have expired.
    pub(super) effect: Effect,
    /// The first expiry added to the timetable.
    pub(super) next_expiry: Option<Timestamp>,
    /// The tree nodes above new events: their stored hashes become stale.
    pub(super) touched: BTreeSet<NodePosition>,
    /// The new events, for the neighbours.
    pub(super) news: Vec<NewEvent>,
    /// Known events written anew because their stored copy was damaged, each with its key.
    pub(super) mended: Vec<(EventKey, Bytes)>,
    /// Known events on the list of damaged ones whose stored copy is sound.
    pub(super) sound: Vec<EventKey>,
    /// For membership only: never iterated.
    event_keys: HashSet<EventKey>,
    shared: Arc<Shared>,
    rows: BytesMut,
    index_rows: BytesMut,
}

impl CommitBatch {
    /// An empty batch on top of `base`, where `greatest` is the greatest timestamp.
    pub(super) fn new(shared: Arc<Shared>, base: Arc<ReadState>, greatest: Option<Timestamp>) -> Self {
        Self {
            writes: WriteBatch::new(),
            pending: base.pending.clone(),
            checkpoint: base.checkpoint,
            greatest,
            arrived: Vec::new(),
            effect: Effect::Stored,
            next_expiry: None,
            touched: BTreeSet::new(),
            news: Vec::new(),
            mended: Vec::new(),
            sound: Vec::new(),
            event_keys: HashSet::new(),
            base,
            shared,
            rows: BytesMut::new(),
            index_rows: BytesMut::new(),
        }
    }

    /// The sequence of the batch's first arrival.
    fn first_arrival(&self) -> u64 {
        self.base.checkpoint.next_arrival
    }

    fn view(&self) -> &dyn View {
        &*self.base.view
    }

    /// Adds an event, unless the batch or the store holds it already. Returns whether it was added.
    pub(super) async fn add(&mut self, event: &Event) -> Result<bool, StoreError> {
        let event_key = event.event_key();
        let key = encode_event_key(event_key);
        // An event later than all that are stored cannot be among them.
        let may_be_known = self.greatest.is_some_and(|greatest| event_key.timestamp <= greatest);
        let may_be_known = may_be_known && !injected(Bug::KnownIsNew);
        if may_be_known {
            if self.event_keys.contains(&event_key) {
                return Ok(false);
            }
            if let Some(stored) = self.view().get(Table::Events, &key).await? {
                self.mend_if_damaged(event, &key, &stored).await?;
                return Ok(false);
            }
        }
        self.event_keys.insert(event_key);
        self.greatest = self.greatest.max(Some(event_key.timestamp));
        self.arrived.push((event_key, event.key().clone()));
        let hidden = injected(Bug::TieByArrival)
            && self.has_version_at(event.key(), event_key.timestamp).await.unwrap_or(false);
        self.put_rows(event, &key, hidden);
        self.put_expiry(event);
        self.checkpoint.events += 1;
        self.checkpoint.next_arrival += 1;
        self.touch(event_key.timestamp);
        Ok(true)
    }

    /// Keeps an added event for the neighbours, if there are any.
    pub(super) fn tell(&mut self, event: &Event, origin: Origin) {
        if self.shared.feed.is_read() {
            self.news.push(NewEvent { event: event.clone(), origin });
        }
    }

    /// Writes a known event anew if its stored copy differs.
    async fn mend_if_damaged(&mut self, event: &Event, key: &[u8], stored: &[u8]) -> Result<(), StoreError> {
        self.reserve_row(event);
        let body = encode_event(event, &mut self.rows);
        let row = self.rows.split().freeze();
        let body_is_sound = match body {
            Some(body) => self.view().get(Table::Bodies, key).await?.is_some_and(|stored| stored == body),
            None => true,
        };
        if row == stored && body_is_sound {
            if self.shared.damage.contains(event.event_key()) {
                self.sound.push(event.event_key());
            }
            return Ok(());
        }
        tracing::warn!(event_key = %event.event_key(), "a damaged event was mended from a sound copy");
        self.event_keys.insert(event.event_key());
        self.mended.push((event.event_key(), event.key().clone()));
        self.index_mended(event).await?;
        let key = Bytes::copy_from_slice(key);
        self.writes.put(Table::Events, key.clone(), row);
        if let Some(body) = body {
            self.writes.put(Table::Bodies, key, body.clone());
        }
        Ok(())
    }

    /// Writes the index row of a mended event if it is missing: a key that was damaged before it was indexed has its
    /// row under another key. The row is written at once, because no arrival would bring it back after a restart.
    async fn index_mended(&mut self, event: &Event) -> Result<(), StoreError> {
        IndexRow::encode(event.key(), event.event_key(), &mut self.index_rows);
        let row = self.index_rows.split().freeze();
        if self.pending.contains(&row) || self.view().get(Table::ByKey, &row).await?.is_some() {
            return Ok(());
        }
        let key = IndexRow::key_part(&row);
        let known =
            has_key(self.view(), key).await? || self.pending.rows().any(|row| IndexRow::key_part(row) == key);
        self.checkpoint.indexed_keys += u64::from(!known && !is_reserved(event.key()));
        self.writes.put(Table::ByKey, row, Bytes::new());
        Ok(())
    }

    /// Whether the key has a version at exactly this moment, in the store or in this batch.
    pub(super) async fn has_version_at(&self, key: &[u8], at: Timestamp) -> Result<bool, ReadError> {
        IndexReader::new(self.view(), &self.pending).has_version_at(key, at).await
    }

    fn put_rows(&mut self, event: &Event, key: &[u8], hidden: bool) {
        // Rows are slices of large chunks: one allocation serves hundreds of them. Index rows, which stay in memory
        // for a while, have chunks of their own, so that they do not keep the others alive.
        self.reserve_row(event);
        reserve(&mut self.index_rows, INDEX_CHUNK, event.key().len() * 2 + 32);
        self.rows.extend_from_slice(key);
        let key = self.rows.split().freeze();
        let body = encode_event(event, &mut self.rows);
        self.writes.put(Table::Events, key.clone(), self.rows.split().freeze());
        if let Some(body) = body {
            self.writes.put(Table::Bodies, key, body.clone());
        }
        if !hidden {
            self.pending.insert(event.key(), event.event_key(), &mut self.index_rows);
        }
    }

    fn put_expiry(&mut self, event: &Event) {
        let Some(expiry) = event.expiry() else { return };
        let key = Bytes::copy_from_slice(&expiry_key(expiry, event.event_key()));
        self.writes.put(Table::Timetable, key, Bytes::new());
        self.next_expiry = self.next_expiry.map_or(expiry, |next| next.min(expiry)).into();
    }

    /// Takes the expiry of an event out of the timetable.
    pub(super) fn remove_expiry(&mut self, expiry: Timestamp, event_key: EventKey) {
        self.writes.remove(Table::Timetable, Bytes::copy_from_slice(&expiry_key(expiry, event_key)));
    }

    /// Lets an event whose value has expired arrive once more. A batch with such events has no others.
    pub(super) fn expire(&mut self, event_key: EventKey, key: Bytes) {
        debug_assert!(self.effect == Effect::Expired || self.arrived.is_empty(), "a batch has one effect");
        self.effect = Effect::Expired;
        self.arrived.push((event_key, key));
        self.checkpoint.next_arrival += 1;
    }

    fn reserve_row(&mut self, event: &Event) {
        let inline = event.value().len().min(INLINE_DATA);
        reserve(&mut self.rows, CHUNK, EVENT_KEY_LEN + event.key().len() + inline + 64);
    }

    fn touch(&mut self, timestamp: Timestamp) {
        // An ancestor is in the set exactly if one of its children is.
        for node in self.shared.shape.path(timestamp) {
            if !self.touched.insert(node) {
                break;
            }
        }
    }

    /// Whether the batch has nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Removes the stored hashes of touched nodes, except those `without_hash`.
    pub(super) fn remove_stale_hashes(&mut self, without_hash: &BTreeSet<NodePosition>) {
        if injected(Bug::StaleHash) {
            return;
        }
        for node in self.touched.difference(without_hash) {
            self.writes.remove(Table::Nodes, Bytes::copy_from_slice(&node_key(node.level, node.index)));
        }
    }

    /// Writes the pending index rows if they make a full index batch.
    pub(super) async fn apply_index_if_full(&mut self) -> Result<(), StoreError> {
        if self.pending.len() < self.shared.index_batch { Ok(()) } else { self.apply_index().await }
    }

    /// Writes the pending index rows.
    pub(super) async fn apply_index(&mut self) -> Result<(), StoreError> {
        self.checkpoint.indexed_keys += self.pending.count_new_keys(self.view()).await?;
        for row in self.pending.rows() {
            charge(1).await;
            self.writes.put(Table::ByKey, row.clone(), Bytes::new());
        }
        self.pending = Pending::default();
        self.checkpoint.next_to_index = self.checkpoint.next_arrival;
        self.trim_arrivals().await
    }

    async fn trim_arrivals(&mut self) -> Result<(), StoreError> {
        let oldest = self.checkpoint.next_arrival.saturating_sub(self.shared.arrivals_kept);
        if oldest > self.checkpoint.oldest_arrival {
            // A batch never trims its own arrivals.
            let (runs, rest) = runs_before(self.view(), oldest.min(self.first_arrival())).await?;
            for first in runs {
                self.writes.remove(Table::Arrivals, Bytes::copy_from_slice(&sequence_key(first)));
            }
            self.checkpoint.oldest_arrival = rest;
        }
        Ok(())
    }

    /// Adds the rows of the batch as a whole, as the last step before the commit: arrivals, and the checkpoint with
    /// the clock that stamped the events.
    pub(super) fn seal(&mut self, clock: &Clock) {
        self.checkpoint.clock = clock.mark();
        if !self.arrived.is_empty() && self.first_arrival() == self.shared.first_arrival {
            self.writes.put(Table::Meta, name::LINEAGE, self.shared.lineage.encode());
        }
        let mut sequence = self.first_arrival();
        for run in self.arrived.chunks(ARRIVAL_RUN) {
            let row = encode_run(self.effect, run.iter().map(|(event_key, _)| *event_key));
            self.writes.put(Table::Arrivals, Bytes::copy_from_slice(&sequence_key(sequence)), row);
            sequence += ARRIVAL_RUN as u64;
        }
        self.writes.put(Table::Meta, name::CHECKPOINT, self.checkpoint.encode());
    }
}

/// Bytes of rows in one allocation.
const CHUNK: usize = 256 << 10;
const INDEX_CHUNK: usize = 32 << 10;

/// Makes room for `needed` bytes, in a new chunk if the present one has too little.
fn reserve(rows: &mut BytesMut, chunk: usize, needed: usize) {
    if rows.capacity() - rows.len() < needed {
        *rows = BytesMut::with_capacity(chunk.max(needed));
    }
}
