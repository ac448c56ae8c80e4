//! What the rows of derived tables stand for: shared by those who check them and those who mend them.

use crate::ReadError;
use crate::events::{decode_event, outermost_event};
use crate::store::{Direction, KeyRange, Pages, Projection, Table, View};
use crate::tables::{EventRow, IndexRow, address_key, parse_node_key};
use crate::tree::{LEVELS, NodeAddress, Shape};

/// Whether a row of `by_key` stands for an event. A damaged event counts: its row must stay, or a read would silently
/// answer with the version before.
pub(super) async fn stands_for_event(view: &dyn View, row: &[u8]) -> Result<bool, ReadError> {
    let Some(parsed) = IndexRow::parse(row) else { return Ok(false) };
    let (first, last) = parsed.addresses();
    let (start, end) = (address_key(first), address_key(last));
    let mut pages = Pages::new(view, Table::Events, KeyRange::inclusive(&start, &end), Projection::Rows);
    while let Some(page) = pages.next().await? {
        for (address, event) in page.into_rows() {
            if EventRow::parse(&event).map_or(true, |event| event.key == parsed.key) {
                return Ok(true);
            }
            // Another key: that of another event whose id begins alike, or a damaged one.
            match decode_event(view, &address, &event).await {
                Ok(_) => {}
                Err(ReadError::Damaged(_)) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(false)
}

/// The node that a row of `nodes` stands for, if there can be such a node.
pub(super) fn node_of(shape: Shape, row: &[u8]) -> Option<NodeAddress> {
    let (level, index) = parse_node_key(row)?;
    (level < LEVELS && shape.indexes(level).contains(&index)).then_some(NodeAddress { level, index })
}

/// Whether a row of `nodes` stands for a node with events below it.
pub(super) async fn node_has_events(view: &dyn View, shape: Shape, row: &[u8]) -> Result<bool, ReadError> {
    let Some(node) = node_of(shape, row) else { return Ok(false) };
    let span = (shape.first(node), shape.last(node));
    Ok(outermost_event(view, span, Direction::Forward).await?.is_some())
}
