//! One walk over the tree that finds the hash of every requested node, and computes the missing ones.
//!
//! A pass reads one view, so it sees one set of events from beginning to end. The computed nodes go to a [`NodeSink`];
//! the writer decides whether they may still be stored, because it knows the writes made meanwhile.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use super::hash::inner_hash;
use super::leaf::LeafIds;
use super::{Indexed, KeptTop, Node, NodePosition, Shape, add};
use crate::bounds::{HASH_ROWS, LEAF_IDS_IN_MEMORY, ROW_PART, TOP_ROW_NODES};
use crate::events::outermost_event;
use crate::store::{Direction, KeyRange, Pages, Projection, Table, View};
use crate::tables::{describe_key, node_key, parse_event_key, parse_node_key, parse_node_value, time_range};
use crate::{ReadError, TimeSpan, Timestamp};

/// The receiver of newly computed nodes.
pub(crate) trait NodeSink: Send {
    /// Takes nodes, children before their parents.
    fn take(
        &mut self,
        nodes: Vec<(NodePosition, Node)>,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Called when a walk turns out to compute many nodes. Returns where to look for those that other walks have stored
    /// meanwhile, if any may have.
    fn compute_many(&mut self) -> impl Future<Output = Option<StoredSince>> + Send {
        async { None }
    }
}

/// Nodes stored since a walk began. One that is untouched since then has the hash that the walk would compute.
pub(crate) struct StoredSince {
    pub(crate) view: Arc<dyn View>,
    pub(crate) top: Arc<KeptTop>,
    /// The number of the walk.
    pub(crate) walk: u64,
}

/// For read-only walks: drops the nodes.
impl NodeSink for () {
    async fn take(&mut self, _: Vec<(NodePosition, Node)>) -> Result<(), ReadError> {
        Ok(())
    }
}

/// The state of a walk.
pub(crate) struct TreePass<'v, S> {
    view: &'v dyn View,
    shape: Shape,
    /// The span of the counted events.
    span: TimeSpan,
    /// Stored nodes with a moment in it are ignored and computed from the events.
    distrusted: Option<TimeSpan>,
    /// Computed nodes that the view lacks and the walk may need again: those that an end of the span cuts through, and
    /// those of the top row.
    kept: BTreeMap<NodePosition, Node>,
    fresh: Vec<(NodePosition, Node)>,
    /// Where stored nodes are read, if not in the view.
    newer: Option<StoredSince>,
    sink: S,
    /// See [`TreePass::rows`].
    rows: u64,
}

impl<'v, S: NodeSink> TreePass<'v, S> {
    /// A walk over all events of `view` that uses the stored hashes.
    pub(crate) fn new(view: &'v dyn View, shape: Shape, sink: S) -> Self {
        let (kept, fresh) = (BTreeMap::new(), Vec::new());
        Self { view, shape, span: TimeSpan::ALL, distrusted: None, kept, fresh, newer: None, sink, rows: 0 }
    }

    /// Counts only events of `span`. Nodes cut by its ends are computed and not handed to the sink.
    pub(crate) fn within(mut self, span: TimeSpan) -> Self {
        self.span = span;
        self
    }

    /// Uses no stored hash of a node with a moment in `span`: each is computed from the events and handed to the sink.
    pub(crate) fn distrusting(mut self, span: TimeSpan) -> Self {
        self.distrusted = Some(span);
        self
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Rows read so far for this walk alone: stored nodes, and the events of leaves that the span cuts through.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The non-empty nodes of a level with these indexes, ascending.
    pub(crate) async fn nodes(
        &mut self,
        level: u8,
        indexes: RangeInclusive<u64>,
    ) -> Result<Vec<Indexed>, ReadError> {
        let row = self.row(level, indexes).await?;
        self.flush().await?;
        Ok(row)
    }

    /// A tree node recomputed from the nodes below it, or from its events if it is a leaf, ignoring its own row; `None`
    /// if it is empty.
    pub(crate) async fn recompute(&mut self, node: NodePosition) -> Result<Option<Node>, ReadError> {
        let made = if node.level == 0 {
            let mut row = Vec::with_capacity(1);
            self.hash_leaves(node.index..=node.index, &mut row).await?;
            row.pop().map(|(_, leaf)| leaf)
        } else {
            Some(self.hash_children(node).await?).filter(|node| node.count > 0)
        };
        self.flush().await?;
        Ok(made)
    }

    async fn row(&mut self, level: u8, indexes: RangeInclusive<u64>) -> Result<Vec<Indexed>, ReadError> {
        let Some(indexes) = self.clip(level, indexes) else { return Ok(Vec::new()) };
        let (mut row, mut to) = self.part_of_row(level, indexes.clone()).await?;
        while let Some(from) = to.checked_add(1).filter(|from| from <= indexes.end()) {
            let part;
            (part, to) = self.part_of_row(level, from..=*indexes.end()).await?;
            row.extend(part);
        }
        Ok(row)
    }

    /// The first non-empty nodes of a row, some thousands at most, and the index up to which they are complete.
    pub(super) async fn part_of_row(
        &mut self,
        level: u8,
        indexes: RangeInclusive<u64>,
    ) -> Result<(Vec<Indexed>, u64), ReadError> {
        let (mut part, mut to) = self.known(level, indexes.clone()).await?;
        let known = part.len();
        for gap in gaps(&part, *indexes.start()..=to) {
            if level == 0 {
                self.hash_leaves(gap, &mut part).await?;
            } else if let Some(stopped) = self.hash_inner(level, gap, &mut part).await? {
                part.retain(|(index, _)| *index <= stopped);
                to = stopped;
                break;
            }
        }
        if part.len() > known || to < *indexes.end() {
            part.sort_unstable_by_key(|(index, _)| *index);
        }
        Ok((part, to))
    }

    /// The first known nodes of a row, and the index up to which they are complete: the stored nodes, unless the span
    /// cuts through them, and the nodes that this pass has computed and kept. An unreadable row counts as missing: its node
    /// is computed again and overwrites it.
    async fn known(
        &mut self,
        level: u8,
        indexes: RangeInclusive<u64>,
    ) -> Result<(Vec<Indexed>, u64), ReadError> {
        let place = |index: &u64| NodePosition { level, index: *index };
        let mut row = Vec::new();
        let mut to = *indexes.end();
        if self.distrusted != Some(TimeSpan::ALL) {
            let (first, last) = (node_key(level, *indexes.start()), node_key(level, *indexes.end()));
            self.newer.take_if(|newer| !newer.top.knows(newer.walk));
            let view = self.newer.as_ref().map_or(self.view, |newer| &*newer.view);
            let mut pages =
                Pages::new(view, Table::Nodes, KeyRange::inclusive(&first, &last), Projection::Rows);
            while let Some(page) = pages.next().await? {
                self.rows += page.len() as u64;
                for (key, value) in page.rows() {
                    let (Some((_, index)), Some((count, hash))) =
                        (parse_node_key(key), parse_node_value(value))
                    else {
                        let node = describe_key(Table::Nodes, key);
                        tracing::warn!(node, "a stored hash cannot be read");
                        continue;
                    };
                    let node = NodePosition { level, index };
                    let is_as_of_the_walk = |newer: &StoredSince| newer.top.is_current(newer.walk, node);
                    if self.is_stored_as_it_counts(node) && self.newer.as_ref().is_none_or(is_as_of_the_walk)
                    {
                        row.push((index, Node { count, hash }));
                    }
                }
                if let Some((index, _)) = row.last().filter(|_| row.len() >= ROW_PART) {
                    to = *index;
                    break;
                }
            }
        }
        let kept = self.kept.range(place(indexes.start())..=place(&to));
        row.extend(kept.map(|(place, node)| (place.index, *node)));
        row.sort_unstable_by_key(|(index, _)| *index);
        // Without isolated views a node computed before may be stored by now.
        row.dedup_by_key(|(index, _)| *index);
        Ok((row, to))
    }

    /// Finds and hashes the non-empty inner nodes of a gap, with one search in the events for each. Returns where it
    /// stopped if there are more than fit in a part of a row.
    async fn hash_inner(
        &mut self,
        level: u8,
        gap: RangeInclusive<u64>,
        row: &mut Vec<Indexed>,
    ) -> Result<Option<u64>, ReadError> {
        let most = row.len() + ROW_PART;
        let last = self.last_counted(NodePosition { level, index: *gap.end() });
        let mut from = self.first_counted(NodePosition { level, index: *gap.start() });
        while let Some(event) = outermost_event(self.view, (from, last), Direction::Forward).await? {
            let position = self.shape.node_at(level, event.timestamp);
            let node = self.hash_children(position).await?;
            self.emit(position, node).await?;
            row.push((position.index, node));
            if self.shape.last(position) >= last {
                break;
            }
            if row.len() >= most {
                return Ok(Some(position.index));
            }
            from = self.shape.last(position).next();
        }
        Ok(None)
    }

    fn hash_children<'p>(
        &'p mut self,
        parent: NodePosition,
    ) -> Pin<Box<dyn Future<Output = Result<Node, ReadError>> + Send + 'p>> {
        Box::pin(async move {
            let children = self.row(parent.level - 1, self.shape.children(parent)).await?;
            Ok(self.node_above(parent, &children))
        })
    }

    /// The parent computed from `children`.
    fn node_above(&self, parent: NodePosition, children: &[Indexed]) -> Node {
        let first = *self.shape.children(parent).start();
        let count = children.iter().map(|(_, child)| child.count).fold(0, add);
        let placed = children.iter().map(|(index, child)| (index - first, child.hash));
        Node { count, hash: inner_hash(self.shape.branching(), placed) }
    }

    /// Whether `parent` is stored and differs from the one computed from its `children`.
    pub(crate) async fn is_contradicted(
        &self,
        parent: NodePosition,
        children: &[Indexed],
    ) -> Result<bool, ReadError> {
        if parent.level == 0 || self.is_cut(parent) {
            return Ok(false);
        }
        let Some(row) = self.view.get(Table::Nodes, &node_key(parent.level, parent.index)).await? else {
            return Ok(false);
        };
        let stored = parse_node_value(&row).map(|(count, hash)| Node { count, hash });
        Ok(stored != Some(self.node_above(parent, children)))
    }

    /// Hashes the leaves of a gap in one walk over its events.
    async fn hash_leaves(
        &mut self,
        gap: RangeInclusive<u64>,
        row: &mut Vec<Indexed>,
    ) -> Result<(), ReadError> {
        let leaf = |index| NodePosition { level: 0, index };
        let first = self.first_counted(leaf(*gap.start()));
        let last = self.last_counted(leaf(*gap.end()));
        let (start, end) = time_range(first, last);
        let mut pages =
            Pages::new(self.view, Table::Events, KeyRange::inclusive(&start, &end), Projection::Keys);
        let mut open: Option<(NodePosition, u64, LeafIds)> = None;
        while let Some(page) = pages.next().await? {
            for (key, _) in page.rows() {
                // A malformed key is no event.
                let Some(event) = parse_event_key(key) else { continue };
                let position = self.shape.node_at(0, event.timestamp);
                if open.as_ref().is_none_or(|(current, ..)| *current != position) {
                    self.close_leaf(open.take(), row).await?;
                    open = Some((position, 0, LeafIds::new(LEAF_IDS_IN_MEMORY)));
                }
                if let Some((_, count, ids)) = &mut open {
                    *count += 1;
                    ids.push(event.id).await?;
                }
            }
        }
        self.close_leaf(open, row).await
    }

    async fn close_leaf(
        &mut self,
        leaf: Option<(NodePosition, u64, LeafIds)>,
        row: &mut Vec<Indexed>,
    ) -> Result<(), ReadError> {
        let Some((position, count, mut ids)) = leaf else { return Ok(()) };
        let mut walks = 1;
        let hash = loop {
            match ids.end_of_walk().await? {
                Some(hash) => break hash,
                None => self.walk_again(position, &mut ids).await?,
            }
            walks += 1;
        };
        // Others may have its room.
        drop(ids);
        self.rows += if self.is_cut(position) { count * walks } else { 0 };
        let node = Node { count, hash };
        self.emit(position, node).await?;
        row.push((position.index, node));
        Ok(())
    }

    async fn walk_again(&mut self, leaf: NodePosition, ids: &mut LeafIds) -> Result<(), ReadError> {
        let (start, end) = time_range(self.first_counted(leaf), self.last_counted(leaf));
        let mut pages =
            Pages::new(self.view, Table::Events, KeyRange::inclusive(&start, &end), Projection::Keys);
        while let Some(page) = pages.next().await? {
            for (key, _) in page.rows() {
                if let Some(event) = parse_event_key(key) {
                    ids.push(event.id).await?;
                }
            }
        }
        Ok(())
    }

    async fn emit(&mut self, position: NodePosition, node: Node) -> Result<(), ReadError> {
        let is_cut = self.is_cut(position);
        if is_cut || self.keeps(position) {
            self.kept.insert(position, node);
        }
        if !is_cut {
            self.fresh.push((position, node));
        }
        if self.fresh.len() >= HASH_ROWS {
            self.flush().await?;
            self.newer = self.sink.compute_many().await.or(self.newer.take());
        }
        Ok(())
    }

    /// Whether a node that others may read once it is stored is kept for this walk, whose view will not show it.
    fn keeps(&self, node: NodePosition) -> bool {
        node.level == Shape::TOP && self.distrusted.is_none() && self.kept.len() < TOP_ROW_NODES
    }

    pub(super) async fn flush(&mut self) -> Result<(), ReadError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.sink.take(std::mem::take(&mut self.fresh)).await
    }

    /// The part of a row at least partly within the span.
    pub(super) fn clip(&self, level: u8, indexes: RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
        let first = self.shape.node_at(level, self.span.first()).index.max(*indexes.start());
        let last = self.shape.node_at(level, self.span.last()).index.min(*indexes.end());
        (first <= last).then_some(first..=last)
    }

    pub(super) fn is_cut(&self, node: NodePosition) -> bool {
        self.shape.first(node) < self.span.first() || self.shape.last(node) > self.span.last()
    }

    /// Whether the stored row of a node may be used, and covers exactly the counted events.
    fn is_stored_as_it_counts(&self, node: NodePosition) -> bool {
        let distrusted = self.distrusted.and_then(|span| self.shape.time_of(node).intersection(span));
        distrusted.is_none() && !self.is_cut(node)
    }

    /// The first counted moment of a node.
    fn first_counted(&self, node: NodePosition) -> Timestamp {
        self.shape.first(node).max(self.span.first())
    }

    /// The last counted moment of a node.
    fn last_counted(&self, node: NodePosition) -> Timestamp {
        self.shape.last(node).min(self.span.last())
    }
}

/// The runs of `indexes` between the ascending nodes of `row`.
fn gaps(row: &[Indexed], indexes: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
    let mut gaps = Vec::new();
    let mut from = Some(*indexes.start());
    for (index, _) in row {
        if let Some(start) = from.filter(|start| start < index) {
            gaps.push(start..=index - 1);
        }
        from = index.checked_add(1);
    }
    gaps.extend(from.filter(|start| start <= indexes.end()).map(|start| start..=*indexes.end()));
    gaps
}
