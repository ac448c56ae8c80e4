//! The replica as one neighbour may read it: every read is charged to its budget.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::common::Common;
use super::{CheckedHashes, Now, RepairCoordinator, ReplicaView, Walked};
use crate::message::{Digest, NodeDigest};
use crate::sketch::{Cells, Mapping, SketchKey};
use crate::tree::{NodePosition, Root};
use crate::{Event, EventKey, NodeId, ReadError, TimeSpan};

/// The cost of a search beside the rows it returns, in rows.
const SEARCH: u64 = 4;

/// The cost of reading an event beside its key and value, in bytes.
const EVENT: u64 = 512;

/// A replica view whose reads are charged to one neighbour.
pub(super) struct Metered<'h, H> {
    view: &'h H,
    coordinator: Arc<RepairCoordinator>,
    neighbour: NodeId,
    now: Duration,
}

impl<'h, H> Metered<'h, H> {
    pub(super) fn new(view: &'h H, common: &Common, now: Now) -> Self {
        let Common { coordinator, neighbour, .. } = common;
        Self { view, coordinator: Arc::clone(coordinator), neighbour: *neighbour, now: now.steady }
    }

    fn rows(&self, rows: u64) {
        self.coordinator.budgets.charge(self.neighbour, (rows, 0), self.now);
    }

    fn bytes(&self, bytes: u64) {
        self.coordinator.budgets.charge(self.neighbour, (0, bytes), self.now);
    }
}

impl<H: ReplicaView> ReplicaView for Metered<'_, H> {
    async fn digest(&self, span: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        let digest = self.view.digest(span).await?;
        self.rows(SEARCH + digest.rows);
        Ok(digest)
    }

    async fn children(
        &self,
        span: TimeSpan,
        parents: &[NodePosition],
    ) -> Result<Walked<Vec<Vec<NodeDigest>>>, ReadError> {
        let children = self.view.children(span, parents).await?;
        self.rows(SEARCH * parents.len() as u64 + children.rows);
        Ok(children)
    }

    async fn check_hashes(&self, span: TimeSpan) -> Result<CheckedHashes, ReadError> {
        let checked = self.view.check_hashes(span).await?;
        self.rows(SEARCH + checked.events);
        Ok(checked)
    }

    fn sketch_key(&self) -> SketchKey {
        self.view.sketch_key()
    }

    async fn cells(
        &self,
        span: TimeSpan,
        mapping: Mapping,
        range: Range<usize>,
    ) -> Result<Walked<Cells>, ReadError> {
        let cells = self.view.cells(span, mapping, range).await?;
        self.rows(SEARCH + cells.rows);
        Ok(cells)
    }

    async fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> Result<Vec<EventKey>, ReadError> {
        let event_keys = self.view.event_keys(span, before, most).await?;
        self.rows(SEARCH + event_keys.len() as u64);
        Ok(event_keys)
    }

    async fn event(&self, event_key: EventKey) -> Result<Option<Event>, ReadError> {
        let event = self.view.event(event_key).await;
        let weight = event.as_ref().ok().and_then(Option::as_ref).map_or(0, Event::weight);
        self.bytes(EVENT + weight as u64);
        event
    }

    async fn missing(&self, event_keys: &[EventKey]) -> Result<Vec<EventKey>, ReadError> {
        let missing = self.view.missing(event_keys).await?;
        self.rows(SEARCH * event_keys.len() as u64);
        Ok(missing)
    }
}
