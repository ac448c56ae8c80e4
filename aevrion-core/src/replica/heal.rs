//! Healing: stored hashes and counts of the tree that a disk has spoilt are removed, and computed again by the next
//! walk that needs them.
//!
//! A wrong hash shows where two replicas with the same events seem to differ. A node that its children contradict is
//! found when an agent asks for the children. Only the events contradict a wrong leaf, and the nodes computed from
//! it: they are read after a repair that moved no event.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::derived::Mend;
use super::handle::Replica;
use super::sketch_check::mend_sketch;
use super::tree_walk::{TreeWalk, unchanging};
use crate::agent::{CheckedHashes, Walked};
use crate::bounds::{CHECKED_EVENTS, HASH_ROWS};
use crate::fault_injection::{Bug, injected};
use crate::message::NodeDigest;
use crate::store::{KeyRange, Pages, Projection, Table, View};
use crate::tables::{node_key, parse_event_key, parse_node_key, parse_node_value, time_range};
use crate::tree::{LEVELS, Node, NodePosition, NodeSink, Shape, TreePass};
use crate::{ReadError, TimeSpan, WriteError};

/// The nodes of a span, as a pass computes them.
struct Computed {
    shape: Shape,
    span: TimeSpan,
    nodes: BTreeMap<NodePosition, Node>,
}

impl NodeSink for &mut Computed {
    async fn take(&mut self, nodes: Vec<(NodePosition, Node)>) -> Result<(), ReadError> {
        let (shape, span) = (self.shape, self.span);
        let meets = |node: &NodePosition| shape.time_of(*node).intersection(span).is_some();
        self.nodes.extend(nodes.into_iter().filter(|(node, _)| meets(node)));
        Ok(())
    }
}

/// The children of `parents`, as [`ReplicaView`](crate::agent::ReplicaView) names them. A stored parent that they
/// contradict is removed.
pub(super) async fn checked_children(
    replica: &Replica,
    span: TimeSpan,
    parents: &[NodePosition],
) -> Result<Walked<Vec<Vec<NodeDigest>>>, ReadError> {
    let (children, contradicted) = children_of(replica, span, parents).await?;
    if contradicted.is_empty() || injected(Bug::HashNotHealed) {
        return Ok(children);
    }
    let (mut wrong, parents_wrong) = (Vec::new(), contradicted.len());
    for parent in contradicted {
        // Parent or children may be wrong: all of them are computed again, and so are the nodes above.
        let below = replica
            .shared
            .shape
            .children(parent)
            .map(|index| NodePosition { level: parent.level - 1, index });
        wrong.extend(below);
        wrong.extend(std::iter::successors(Some(parent), |node| replica.shared.shape.parent(*node)));
    }
    remove_nodes(replica, &wrong, parents_wrong).await?;
    let (again, _) = children_of(replica, span, parents).await?;
    Ok(Walked { rows: children.rows + again.rows, ..again })
}

/// The children of `parents`, and the stored parents that they contradict.
async fn children_of(
    replica: &Replica,
    span: TimeSpan,
    parents: &[NodePosition],
) -> Result<(Walked<Vec<Vec<NodeDigest>>>, Vec<NodePosition>), ReadError> {
    let walk = TreeWalk::begin(&replica.shared, &replica.queue, None).await?;
    let (mut pass, _) = walk.pass(span);
    let (mut all, mut contradicted) = (Vec::with_capacity(parents.len()), Vec::new());
    for parent in parents {
        let slots = replica.shared.shape.children(*parent);
        let children = pass.nodes(parent.level.saturating_sub(1), slots.clone()).await?;
        if pass.is_contradicted(*parent, &children).await? {
            contradicted.push(*parent);
        }
        let node = |(index, node)| NodeDigest::new(index - slots.start(), node);
        all.push(children.into_iter().map(node).collect());
    }
    Ok((Walked { answer: all, rows: pass.rows() }, contradicted))
}

/// Checks the stored nodes of `span`, and those above it, against the events, and removes the wrong ones. Cost: reads
/// and hashes the events of `span`, or of its first part if there are many.
pub(super) async fn check_stored_hashes(
    replica: &Replica,
    span: TimeSpan,
) -> Result<CheckedHashes, ReadError> {
    let (state, unchanging) = unchanging(&replica.shared, &replica.queue).await?;
    let (view, shape) = (&*state.view, replica.shared.shape);
    let (part, rest) = checked_at_once(view, shape, span).await?;
    let mut computed = Computed { shape, span: part, nodes: BTreeMap::new() };
    let mut pass = TreePass::new(view, shape, &mut computed).distrusting(part);
    pass.nodes(Shape::TOP, row(shape, Shape::TOP, part)).await?;
    let wrong = wrong_nodes(view, shape, part, &computed).await?;
    drop(unchanging);
    if !wrong.is_empty() && !injected(Bug::HashNotHealed) {
        remove_nodes(replica, &wrong, wrong.len()).await?;
        // The hashes may have been right, and an event be lost.
        mend_sketch(replica, |_| {}).await.map_err(not_mended)?;
    }
    let leaves = computed.nodes.range(..NodePosition { level: 1, index: 0 });
    let events = leaves.map(|(_, leaf)| leaf.count).sum();
    Ok(CheckedHashes { events, wrong: wrong.len(), rest })
}

/// Removes stored nodes, so many of which are `wrong` for certain. The next walk computes them again, so concurrent
/// writes do no harm.
async fn remove_nodes(replica: &Replica, nodes: &[NodePosition], wrong: usize) -> Result<(), ReadError> {
    let Some(first) = nodes.first() else { return Ok(()) };
    tracing::warn!(wrong, %first, "stored hashes of the tree do not match its events: they are computed anew");
    let mut mend = Mend::new(&replica.queue);
    for node in nodes {
        let key = Bytes::copy_from_slice(&node_key(node.level, node.index));
        mend.remove(Table::Nodes, key).await.map_err(not_mended)?;
    }
    mend.finish(None).await.map_err(not_mended)?;
    replica.shared.healed_hashes.fetch_add(wrong as u64, Ordering::Relaxed);
    Ok(())
}

fn not_mended(error: WriteError) -> ReadError {
    match error {
        WriteError::Store(error) => error.into(),
        WriteError::Read(error) => error,
        _ => ReadError::Closed,
    }
}

/// The first part of `span` that one check covers, in whole leaves, and the rest.
async fn checked_at_once(
    view: &dyn View,
    shape: Shape,
    span: TimeSpan,
) -> Result<(TimeSpan, Option<TimeSpan>), ReadError> {
    let (start, end) = time_range(span.first(), span.last());
    let mut pages = Pages::new(view, Table::Events, KeyRange::inclusive(&start, &end), Projection::Keys);
    let mut events = 0;
    while let Some(page) = pages.next().await? {
        events += page.len();
        let last = page.last_key().and_then(parse_event_key).filter(|_| events >= CHECKED_EVENTS);
        if let Some(last) = last {
            let end = shape.last(shape.node_at(0, last.timestamp)).min(span.last());
            let part = TimeSpan::new(span.first(), end).unwrap_or(span);
            return Ok((part, TimeSpan::new(end.next(), span.last()).filter(|_| end < span.last())));
        }
    }
    Ok((span, None))
}

/// The stored nodes of `part`, and above it, that differ from the computed ones.
async fn wrong_nodes(
    view: &dyn View,
    shape: Shape,
    part: TimeSpan,
    computed: &Computed,
) -> Result<Vec<NodePosition>, ReadError> {
    let mut wrong = Vec::new();
    for level in 0..LEVELS {
        let indexes = row(shape, level, part);
        let (first, last) = (node_key(level, *indexes.start()), node_key(level, *indexes.end()));
        let mut pages = Pages::new(view, Table::Nodes, KeyRange::inclusive(&first, &last), Projection::Rows);
        while let Some(page) = pages.next().await? {
            for (key, value) in page.rows() {
                let Some((_, index)) = parse_node_key(key) else { continue };
                let position = NodePosition { level, index };
                let stored = parse_node_value(value).map(|(count, hash)| Node { count, hash });
                if stored.as_ref() != computed.nodes.get(&position) && wrong.len() < HASH_ROWS {
                    wrong.push(position);
                }
            }
        }
    }
    Ok(wrong)
}

/// The indexes of a level's nodes that overlap `span`.
fn row(shape: Shape, level: u8, span: TimeSpan) -> RangeInclusive<u64> {
    shape.node_at(level, span.first()).index..=shape.node_at(level, span.last()).index
}
