//! One commit in the making: events that are new, encoded, with everything that follows from them.

use std::collections::{BTreeSet, HashSet};

use bytes::{Bytes, BytesMut};

use super::{ReadState, Shared};
use crate::index::Pending;
use crate::store::{StoreError, Table, View, WriteBatch};
use crate::tables::{Checkpoint, address_key, encode_event, name, node_key, sequence_key};
use crate::tree::NodeAddress;
use crate::{Address, Event, Timestamp};

/// A commit in the making. Dropping it leaves everything as it was.
pub(super) struct Lot<'s> {
    pub(super) batch: WriteBatch,
    pub(super) pending: Pending,
    pub(super) checkpoint: Checkpoint,
    /// The greatest timestamp stored, this lot included.
    pub(super) greatest: Option<Timestamp>,
    /// The tree nodes whose hashes become stale.
    pub(super) touched: BTreeSet<NodeAddress>,
    /// For membership only: never iterated.
    addresses: HashSet<Address>,
    shared: &'s Shared,
    rows: BytesMut,
    index_rows: BytesMut,
}

impl<'s> Lot<'s> {
    /// An empty lot, to be committed on top of `state`.
    pub(super) fn new(state: &ReadState, greatest: Option<Timestamp>, shared: &'s Shared) -> Self {
        Self {
            batch: WriteBatch::new(),
            pending: state.pending.clone(),
            checkpoint: state.checkpoint,
            greatest,
            touched: BTreeSet::new(),
            addresses: HashSet::new(),
            shared,
            rows: BytesMut::new(),
            index_rows: BytesMut::new(),
        }
    }

    /// Adds an event, unless it is in the lot or in `view` already. Says whether it was added.
    pub(super) async fn add(&mut self, event: &Event, view: &dyn View) -> Result<bool, StoreError> {
        let address = event.address();
        let key = address_key(address);
        // What is later than everything stored cannot be stored: no need to look.
        let may_be_known = self.greatest.is_some_and(|greatest| address.timestamp <= greatest);
        if may_be_known
            && (self.addresses.contains(&address) || view.get(Table::Events, &key).await?.is_some())
        {
            return Ok(false);
        }
        self.addresses.insert(address);
        self.greatest = self.greatest.max(Some(address.timestamp));
        self.put_rows(event, &key);
        self.checkpoint.events += 1;
        self.checkpoint.next_arrival += 1;
        self.touch(address.timestamp);
        Ok(true)
    }

    fn put_rows(&mut self, event: &Event, key: &[u8]) {
        self.rows.extend_from_slice(key);
        let key = self.rows.split().freeze();
        let body = encode_event(event, &mut self.rows);
        self.batch.put(Table::Events, key.clone(), self.rows.split().freeze());
        if let Some(body) = body {
            self.batch.put(Table::Bodies, key.clone(), body.clone());
        }
        self.rows.extend_from_slice(&sequence_key(self.checkpoint.next_arrival));
        self.batch.put(Table::Arrivals, self.rows.split().freeze(), key);
        self.pending.insert(event, &mut self.index_rows);
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
        self.addresses.is_empty()
    }

    /// Removes the stored hashes of touched nodes, but for those that are `known` to have none.
    pub(super) fn remove_stale_hashes(&mut self, known: &BTreeSet<NodeAddress>) {
        for node in self.touched.difference(known) {
            self.batch.remove(Table::Nodes, Bytes::copy_from_slice(&node_key(node.level, node.index)));
        }
    }

    /// Writes the pending index rows if there are many, or if it `must` be.
    pub(super) async fn apply_index(&mut self, view: &dyn View, must: bool) -> Result<(), StoreError> {
        if self.pending.len() < self.shared.index_lot && !must {
            return Ok(());
        }
        self.checkpoint.indexed_keys += self.pending.count_new_keys(view).await?;
        for row in self.pending.rows() {
            self.batch.put(Table::ByKey, row.clone(), Bytes::new());
        }
        self.pending = Pending::default();
        self.checkpoint.next_to_index = self.checkpoint.next_arrival;
        self.trim_arrivals();
        Ok(())
    }

    fn trim_arrivals(&mut self) {
        let oldest = self.checkpoint.next_arrival.saturating_sub(self.shared.arrivals_kept);
        for sequence in self.checkpoint.oldest_arrival..oldest {
            self.batch.remove(Table::Arrivals, Bytes::copy_from_slice(&sequence_key(sequence)));
        }
        self.checkpoint.oldest_arrival = self.checkpoint.oldest_arrival.max(oldest);
    }

    /// Puts the checkpoint in: the last step before the commit.
    pub(super) fn put_checkpoint(&mut self) {
        self.batch.put(Table::Meta, name::CHECKPOINT, self.checkpoint.encode());
    }
}
