//! What synchronisation has done so far, in numbers that only grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::message::Message;

/// Messages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// How many went out.
    pub sent: u64,
    /// How many came in.
    pub received: u64,
}

/// What synchronisation has done since it began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages by name.
    pub messages: BTreeMap<&'static str, Flow>,
    /// Connections that were closed because of what the neighbour did or failed to do, by a short name: those of
    /// [`Fault::name`](crate::agent::Fault::name), and some of the link's own.
    pub faults: BTreeMap<&'static str, u64>,
    /// Questions that were not answered because the lane was full. Comparing again makes up for them.
    pub shed: u64,
    /// Questions that were not answered because more was read for the neighbour than its [`Budget`](crate::agent::Budget)
    /// holds. Comparing again makes up for them.
    pub declined: u64,
    /// Times that a neighbour could not follow the news and had to compare.
    pub overflows: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Attempts to connect that failed.
    pub failed_dials: u64,
}

/// The running count.
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
