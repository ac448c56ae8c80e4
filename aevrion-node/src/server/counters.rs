//! Counters of the HTTP traffic of one server.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

/// A route and the status of its answer.
type RouteStatus = (String, u16);

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The routes are those of the router, so their number is bounded.
    requests: Mutex<BTreeMap<RouteStatus, u64>>,
    received: AtomicU64,
    sent: AtomicU64,
    refused_connections: AtomicU64,
    head_timeouts: AtomicU64,
    slow_readers: AtomicU64,
}

/// The values of the counters at one moment.
pub(super) struct Counts {
    pub(super) requests: BTreeMap<RouteStatus, u64>,
    /// In bytes.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) refused_connections: u64,
    pub(super) head_timeouts: u64,
    pub(super) slow_readers: u64,
}

impl Counters {
    pub(super) fn answered(&self, route: String, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_default() += 1;
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    pub(super) fn head_timeout(&self) {
        self.head_timeouts.fetch_add(1, Relaxed);
    }

    pub(super) fn slow_reader(&self) {
        self.slow_readers.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            requests: self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            received: of(&self.received),
            sent: of(&self.sent),
            refused_connections: of(&self.refused_connections),
            head_timeouts: of(&self.head_timeouts),
            slow_readers: of(&self.slow_readers),
        }
    }
}
