//! Holdings without end, for tests of what bounds a scan: one event in every millisecond.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::agent::{CheckedHashes, Holdings, Walked};
use crate::message::{Digest, Tile};
use crate::tree::{NodeAddress, Root};
use crate::{Address, Event, EventId, ReadError, TimeSpan, Timestamp};

/// They, and how many addresses were looked at.
#[derive(Debug, Default)]
pub(super) struct Endless(AtomicUsize);

impl Endless {
    pub(super) fn looked_at(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn address(ms: u64) -> Address {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&ms.to_be_bytes());
    Address { timestamp: Timestamp::from_millis(ms), id: EventId::from_bytes(id) }
}

impl Holdings for Endless {
    async fn digest(&self, _: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        Err(ReadError::Closed)
    }

    async fn children(&self, _: TimeSpan, _: &[NodeAddress]) -> Result<Walked<Vec<Vec<Tile>>>, ReadError> {
        Err(ReadError::Closed)
    }

    async fn check_hashes(&self, _: TimeSpan) -> Result<CheckedHashes, ReadError> {
        Err(ReadError::Closed)
    }

    async fn addresses(
        &self,
        span: TimeSpan,
        before: Option<Address>,
        most: usize,
    ) -> Result<Vec<Address>, ReadError> {
        let end = before.map_or(span.last().as_millis() + 1, |before| before.timestamp.as_millis());
        let page: Vec<_> = (span.first().as_millis()..end).rev().take(most).map(address).collect();
        self.0.fetch_add(page.len(), Ordering::Relaxed);
        Ok(page)
    }

    async fn event(&self, _: Address) -> Result<Option<Event>, ReadError> {
        Ok(None)
    }

    async fn missing(&self, _: &[Address]) -> Result<Vec<Address>, ReadError> {
        Ok(Vec::new())
    }
}
