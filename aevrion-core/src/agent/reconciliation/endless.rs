//! A replica view without end, for tests of scan limits: one event in every millisecond.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::agent::{CheckedHashes, ReplicaView, Walked};
use crate::message::{Digest, NodeDigest};
use crate::sketch::{Cells, Mapping, SketchKey};
use crate::tree::{NodePosition, Root};
use crate::{Event, EventId, EventKey, ReadError, TimeSpan, Timestamp};

/// The endless events, and the number of event keys read.
#[derive(Debug, Default)]
pub(super) struct Endless(AtomicUsize);

impl Endless {
    pub(super) fn looked_at(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn event_key(ms: u64) -> EventKey {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&ms.to_be_bytes());
    EventKey { timestamp: Timestamp::from_millis(ms), id: EventId::from_bytes(id) }
}

impl ReplicaView for Endless {
    async fn digest(&self, _: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        Err(ReadError::Closed)
    }

    async fn children(
        &self,
        _: TimeSpan,
        _: &[NodePosition],
    ) -> Result<Walked<Vec<Vec<NodeDigest>>>, ReadError> {
        Err(ReadError::Closed)
    }

    async fn check_hashes(&self, _: TimeSpan) -> Result<CheckedHashes, ReadError> {
        Err(ReadError::Closed)
    }

    fn sketch_key(&self) -> SketchKey {
        SketchKey::PUBLIC
    }

    async fn cells(&self, _: TimeSpan, _: Mapping, _: Range<usize>) -> Result<Walked<Cells>, ReadError> {
        Err(ReadError::Closed)
    }

    async fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> Result<Vec<EventKey>, ReadError> {
        let end = before.map_or(span.last().as_millis() + 1, |before| before.timestamp.as_millis());
        let page: Vec<_> = (span.first().as_millis()..end).rev().take(most).map(event_key).collect();
        self.0.fetch_add(page.len(), Ordering::Relaxed);
        Ok(page)
    }

    async fn event(&self, _: EventKey) -> Result<Option<Event>, ReadError> {
        Ok(None)
    }

    async fn missing(&self, _: &[EventKey]) -> Result<Vec<EventKey>, ReadError> {
        Ok(Vec::new())
    }
}
