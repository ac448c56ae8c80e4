//! Counters of synchronisation. They only grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::message::Message;

/// Message counts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Flow {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
}

/// Totals of synchronisation since its start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Messages by name.
    pub messages: BTreeMap<&'static str, Flow>,
    /// Connections closed because of the neighbour's fault, by a short name: those of
    /// [`Fault::name`](crate::agent::Fault::name), and some of the link's own.
    pub faults: BTreeMap<&'static str, u64>,
    /// Questions dropped because the lane was full. The next comparison makes up for them.
    pub shed: u64,
    /// Questions dropped because the neighbour's read [`Budget`](crate::agent::Budget) was used up. The next comparison
    /// makes up for them.
    pub declined: u64,
    /// Times that a neighbour fell behind the feed and had to compare.
    pub overflows: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Failed attempts to connect.
    pub failed_dials: u64,
}

/// The counters behind [`Totals`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    totals: Mutex<Totals>,
    bytes_received: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self, message: &Message) {
        self.change(|totals| totals.messages.entry(message.name()).or_default().sent += 1);
    }

    pub(super) fn received(&self, message: &Message, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.change(|totals| totals.messages.entry(message.name()).or_default().received += 1);
    }

    pub(super) fn fault(&self, name: &'static str) {
        self.change(|totals| *totals.faults.entry(name).or_default() += 1);
    }

    pub(super) fn shed(&self) {
        self.change(|totals| totals.shed += 1);
    }

    pub(super) fn overflow(&self) {
        self.change(|totals| totals.overflows += 1);
    }

    pub(super) fn failed_dial(&self) {
        self.change(|totals| totals.failed_dials += 1);
    }

    pub(super) fn totals(&self) -> Totals {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Totals { bytes_received: self.bytes_received.load(Ordering::Relaxed), ..totals }
    }

    fn change(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
