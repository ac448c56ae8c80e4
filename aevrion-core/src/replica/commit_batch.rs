//! One commit in the making: events that are new, encoded, with everything that follows from them.

use std::collections::{BTreeSet, HashSet};

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
pub(super) struct CommitBatch<'s> {
    pub(super) writes: WriteBatch,
    pub(super) pending: Pending,
    pub(super) checkpoint: Checkpoint,
    /// The greatest timestamp stored, this batch included.
    pub(super) greatest: Option<Timestamp>,
    /// The new events in the order in which they came, or those whose values have expired, and their keys.
    pub(super) arrived: Vec<(EventKey, Bytes)>,
    /// What those that arrived did.
    pub(super) effect: Effect,
    /// The first expiry that was put into the timetable.
    pub(super) next_expiry: Option<Timestamp>,
    /// The tree nodes whose hashes become stale.
    pub(super) touched: BTreeSet<NodePosition>,
    /// What the neighbours are to hear of.
    pub(super) news: Vec<NewEvent>,
    /// Known events written anew because their stored copy was damaged, each with its key.
    pub(super) mended: Vec<(EventKey, Bytes)>,
    /// Known events that were thought to be damaged and are not.
    pub(super) sound: Vec<EventKey>,
    /// For membership only: never iterated.
    event_keys: HashSet<EventKey>,
    shared: &'s Shared,
    rows: BytesMut,
    index_rows: BytesMut,
    first_arrival: u64,
}

impl<'s> CommitBatch<'s> {
    /// An empty batch, to be committed on top of `state`.
    pub(super) fn new(state: &ReadState, greatest: Option<Timestamp>, shared: &'s Shared) -> Self {
        Self {
            writes: WriteBatch::new(),
            pending: state.pending.clone(),
            checkpoint: state.checkpoint,
            greatest,
            arrived: Vec::new(),
            effect: Effect::Stored,
            next_expiry: None,
            touched: BTreeSet::new(),
            news: Vec::new(),
            mended: Vec::new(),
            sound: Vec::new(),
            event_keys: HashSet::new(),
            shared,
            rows: BytesMut::new(),
            index_rows: BytesMut::new(),
            first_arrival: state.checkpoint.next_arrival,
        }
    }

    /// Adds an event, unless it is in the batch or in `view` already. Says whether it was added.
    pub(super) async fn add(&mut self, event: &Event, view: &dyn View) -> Result<bool, StoreError> {
        let event_key = event.event_key();
        let key = encode_event_key(event_key);
        // What is later than everything stored cannot be stored: no need to look.
        let may_be_known = self.greatest.is_some_and(|greatest| event_key.timestamp <= greatest);
        let may_be_known = may_be_known && !injected(Bug::KnownIsNew);
        if may_be_known {
            if self.event_keys.contains(&event_key) {
                return Ok(false);
            }
            if let Some(stored) = view.get(Table::Events, &key).await? {
                self.mend_if_damaged(event, &key, &stored, view).await?;
                return Ok(false);
            }
        }
        self.event_keys.insert(event_key);
        self.greatest = self.greatest.max(Some(event_key.timestamp));
        self.arrived.push((event_key, event.key().clone()));
        let hidden = injected(Bug::TieByArrival)
            && self.has_version_at(event.key(), event_key.timestamp, view).await.unwrap_or(false);
        self.put_rows(event, &key, hidden);
        self.put_expiry(event);
        self.checkpoint.events += 1;
        self.checkpoint.next_arrival += 1;
        self.touch(event_key.timestamp);
        Ok(true)
    }

    /// Notes an event that was added for the neighbours, if there are any.
    pub(super) fn tell(&mut self, event: &Event, origin: Origin) {
        if self.shared.feed.is_read() {
            self.news.push(NewEvent { event: event.clone(), origin });
        }
    }

    /// Writes a known event anew if what is stored of it is not what it must be.
    async fn mend_if_damaged(
        &mut self,
        event: &Event,
        key: &[u8],
        stored: &[u8],
        view: &dyn View,
    ) -> Result<(), StoreError> {
        self.reserve_row(event);
        let body = encode_event(event, &mut self.rows);
        let row = self.rows.split().freeze();
        let body_is_sound = match body {
            Some(body) => view.get(Table::Bodies, key).await?.is_some_and(|stored| stored == body),
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
        self.index_mended(event, view).await?;
        let key = Bytes::copy_from_slice(key);
        self.writes.put(Table::Events, key.clone(), row);
        if let Some(body) = body {
            self.writes.put(Table::Bodies, key, body.clone());
        }
        Ok(())
    }

    /// Sees to it that a mended event is found under its key: if that was damaged before it was indexed, the row stands under
    /// another one. It is written at once, for it belongs to no arrival from which a restart would make it again.
    async fn index_mended(&mut self, event: &Event, view: &dyn View) -> Result<(), StoreError> {
        IndexRow::encode(event.key(), event.event_key(), &mut self.index_rows);
        let row = self.index_rows.split().freeze();
        if self.pending.contains(&row) || view.get(Table::ByKey, &row).await?.is_some() {
            return Ok(());
        }
        let key = IndexRow::key_part(&row);
        let known =
            has_key(view, key).await? || self.pending.rows().any(|row| IndexRow::key_part(row) == key);
        self.checkpoint.indexed_keys += u64::from(!known && !is_reserved(event.key()));
        self.writes.put(Table::ByKey, row, Bytes::new());
        Ok(())
    }

    /// Whether the key has a version at exactly this moment, in the store or in this batch.
    pub(super) async fn has_version_at(
        &self,
        key: &[u8],
        at: Timestamp,
        view: &dyn View,
    ) -> Result<bool, ReadError> {
        IndexReader::new(view, &self.pending).has_version_at(key, at).await
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

    /// Lets an event whose value has expired arrive once more. A batch with such has no others.
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

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Removes the stored hashes of touched nodes, but for those that are `known` to have none.
    pub(super) fn remove_stale_hashes(&mut self, known: &BTreeSet<NodePosition>) {
        if injected(Bug::StaleHash) {
            return;
        }
        for node in self.touched.difference(known) {
            self.writes.remove(Table::Nodes, Bytes::copy_from_slice(&node_key(node.level, node.index)));
        }
    }

    /// Writes the pending index rows if there are many, or if it `must` be.
    pub(super) async fn apply_index(&mut self, view: &dyn View, must: bool) -> Result<(), StoreError> {
        if self.pending.len() < self.shared.index_batch && !must {
            return Ok(());
        }
        self.checkpoint.indexed_keys += self.pending.count_new_keys(view).await?;
        for row in self.pending.rows() {
            charge(1).await;
            self.writes.put(Table::ByKey, row.clone(), Bytes::new());
        }
        self.pending = Pending::default();
        self.checkpoint.next_to_index = self.checkpoint.next_arrival;
        self.trim_arrivals(view).await
    }

    async fn trim_arrivals(&mut self, view: &dyn View) -> Result<(), StoreError> {
        let oldest = self.checkpoint.next_arrival.saturating_sub(self.shared.arrivals_kept);
        if oldest > self.checkpoint.oldest_arrival {
            // A batch never trims its own arrivals.
            let (runs, rest) = runs_before(view, oldest.min(self.first_arrival)).await?;
            for first in runs {
                self.writes.remove(Table::Arrivals, Bytes::copy_from_slice(&sequence_key(first)));
            }
            self.checkpoint.oldest_arrival = rest;
        }
        Ok(())
    }

    /// Puts in what stands for the batch as a whole: the last step before the commit. The clock travels with what it has
    /// stamped.
    pub(super) fn seal(&mut self, clock: &Clock) {
        self.checkpoint.clock = clock.mark();
        if !self.arrived.is_empty() && self.first_arrival == self.shared.first_arrival {
            self.writes.put(Table::Meta, name::LINEAGE, self.shared.lineage.encode());
        }
        let mut sequence = self.first_arrival;
        for run in self.arrived.chunks(ARRIVAL_RUN) {
            let row = encode_run(self.effect, run.iter().map(|(event_key, _)| *event_key));
            self.writes.put(Table::Arrivals, Bytes::copy_from_slice(&sequence_key(sequence)), row);
            sequence += ARRIVAL_RUN as u64;
        }
        self.writes.put(Table::Meta, name::CHECKPOINT, self.checkpoint.encode());
    }
}

/// Bytes of rows allocated at once.
const CHUNK: usize = 256 << 10;
const INDEX_CHUNK: usize = 32 << 10;

/// Makes room for `needed` bytes, in a new chunk if the present one has too little.
fn reserve(rows: &mut BytesMut, chunk: usize, needed: usize) {
    if rows.capacity() - rows.len() < needed {
        *rows = BytesMut::with_capacity(chunk.max(needed));
    }
}
