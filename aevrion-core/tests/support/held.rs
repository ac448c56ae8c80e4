//! A replica view with unreadable events.

use std::ops::Range;

use aevrion_core::agent::{CheckedHashes, ReplicaView, Walked};
use aevrion_core::message::{Digest, NodeDigest};
use aevrion_core::sketch::{Cells, Mapping, SketchKey};
use aevrion_core::tree::{NodePosition, Root};
use aevrion_core::{Event, EventKey, ReadError, Replica, TimeSpan};

/// A replica, and a function that returns why an event of it is unreadable, if so.
pub(crate) struct Held<'r, F>(pub(crate) &'r Replica, pub(crate) F);

impl<F: Fn(EventKey) -> Option<ReadError> + Send + Sync> ReplicaView for Held<'_, F> {
    async fn digest(&self, span: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        ReplicaView::digest(self.0, span).await
    }

    async fn children(
        &self,
        span: TimeSpan,
        parents: &[NodePosition],
    ) -> Result<Walked<Vec<Vec<NodeDigest>>>, ReadError> {
        ReplicaView::children(self.0, span, parents).await
    }

    async fn check_hashes(&self, span: TimeSpan) -> Result<CheckedHashes, ReadError> {
        ReplicaView::check_hashes(self.0, span).await
    }

    fn sketch_key(&self) -> SketchKey {
        ReplicaView::sketch_key(self.0)
    }

    async fn cells(
        &self,
        span: TimeSpan,
        mapping: Mapping,
        range: Range<usize>,
    ) -> Result<Walked<Cells>, ReadError> {
        ReplicaView::cells(self.0, span, mapping, range).await
    }

    async fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> Result<Vec<EventKey>, ReadError> {
        ReplicaView::event_keys(self.0, span, before, most).await
    }

    async fn event(&self, event_key: EventKey) -> Result<Option<Event>, ReadError> {
        match self.1(event_key) {
            Some(error) => Err(error),
            None => ReplicaView::event(self.0, event_key).await,
        }
    }

    async fn missing(&self, event_keys: &[EventKey]) -> Result<Vec<EventKey>, ReadError> {
        ReplicaView::missing(self.0, event_keys).await
    }
}
