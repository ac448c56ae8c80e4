//! The questions of agents to their replica.

use std::ops::{Bound, Range};

use super::handle::Replica;
use super::heal;
use super::sketch_answer::cells_of;
use super::tree_walk::TreeWalk;
use crate::agent::{CheckedHashes, ReplicaView, Walked};
use crate::bounds::{DIGEST_NODES, PAGE_ROWS};
use crate::events::read_event;
use crate::message::{Digest, NodeDigest, Row};
use crate::sketch::{Cells, Mapping, SketchKey};
use crate::store::{Direction, KeyRange, PageLimit, Projection, ScanRequest, Table};
use crate::tables::{encode_event_key, parse_event_key, time_range};
use crate::tree::{NodePosition, Root, Shape};
use crate::{Event, EventKey, ReadError, TimeSpan, Timestamp};

impl ReplicaView for Replica {
    async fn digest(&self, span: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        if let Some(known) = known_digest(self, span).await? {
            return Ok(known);
        }
        let _alone = self.shared.digests.turn(span).await;
        if let Some(known) = known_digest(self, span).await? {
            return Ok(known);
        }
        let edition = self.shared.digests.edition();
        let past = span.first() == Timestamp::MIN;
        let walk = TreeWalk::begin(&self.shared, &self.queue, past.then(|| span.last())).await?;
        let arrivals = walk.state().checkpoint.next_arrival;
        let (mut pass, top) = walk.pass(span);
        let root = self.noting(pass.root_with(top).await)?;
        let mut rows = Vec::new();
        for (level, indexes) in self.shared.shape.cover(span) {
            // A row of the greatest length says nothing of the time before it. Only the top row can be longer.
            let nodes = match level {
                Shape::TOP => pass.latest_of_top(top, indexes, DIGEST_NODES).await,
                level => pass.nodes(level, indexes).await,
            };
            let nodes = self.noting(nodes)?;
            let nodes: Vec<_> = nodes.into_iter().map(|(index, node)| NodeDigest::new(index, node)).collect();
            if !nodes.is_empty() {
                rows.push(Row { level, nodes });
            }
        }
        let digest = Digest { rows };
        let rows = pass.rows();
        self.shared.digests.keep(span, (root, &digest), arrivals, edition);
        Ok(Walked { answer: (root, digest), rows })
    }

    async fn children(
        &self,
        span: TimeSpan,
        parents: &[NodePosition],
    ) -> Result<Walked<Vec<Vec<NodeDigest>>>, ReadError> {
        self.noting(heal::checked_children(self, span, parents).await)
    }

    async fn check_hashes(&self, span: TimeSpan) -> Result<CheckedHashes, ReadError> {
        self.noting(heal::check_stored_hashes(self, span).await)
    }

    fn sketch_key(&self) -> SketchKey {
        self.shared.sketch.locators.key
    }

    async fn cells(
        &self,
        span: TimeSpan,
        mapping: Mapping,
        range: Range<usize>,
    ) -> Result<Walked<Cells>, ReadError> {
        self.noting(cells_of(self, span, mapping, range).await)
    }

    async fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> Result<Vec<EventKey>, ReadError> {
        let state = self.shared.state()?;
        let (start, end) = time_range(span.first(), span.last());
        let mut before = before.map(|before| encode_event_key(before).to_vec());
        let mut event_keys = Vec::new();
        while event_keys.len() < most {
            let end = before.as_ref().map_or(Bound::Included(&end[..]), |key| Bound::Excluded(&key[..]));
            let range = KeyRange { start: Bound::Included(&start), end };
            let (table, direction, projection) = (Table::Events, Direction::Backward, Projection::Keys);
            let limit = PageLimit::rows((most - event_keys.len()).min(PAGE_ROWS));
            let page = state.view.scan(ScanRequest { table, range, direction, projection, limit }).await;
            let page = self.noting(page.map_err(ReadError::from))?;
            // A row whose key is no event key is no event.
            event_keys.extend(page.rows().filter_map(|(key, _)| parse_event_key(key)));
            if page.complete() {
                break;
            }
            before = page.last_key().map(<[u8]>::to_vec);
        }
        Ok(event_keys)
    }

    async fn event(&self, event_key: EventKey) -> Result<Option<Event>, ReadError> {
        let state = self.shared.state()?;
        self.noting(read_event(&*state.view, event_key).await)
    }

    async fn missing(&self, event_keys: &[EventKey]) -> Result<Vec<EventKey>, ReadError> {
        let state = self.shared.state()?;
        let mut missing = Vec::new();
        for event_key in event_keys {
            let found = state.view.get(Table::Events, &encode_event_key(*event_key)).await;
            if self.noting(found.map_err(ReadError::from))?.is_none() {
                missing.push(*event_key);
            }
        }
        Ok(missing)
    }
}

/// The digest of `span`, if it is in the cache.
async fn known_digest(
    replica: &Replica,
    span: TimeSpan,
) -> Result<Option<Walked<(Root, Digest)>>, ReadError> {
    let state = replica.shared.state()?;
    let known = replica.noting(replica.shared.digests.get(span, &state).await)?;
    Ok(known.map(|answer| Walked { answer, rows: 0 }))
}
