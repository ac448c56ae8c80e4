//! The kept cells against those of the events.

use super::{KeptCells, Locators};
use crate::ReadError;
use crate::store::{KeyRange, Pages, Projection, Table, View};
use crate::tables::parse_event_key;

/// What `kept` lacks to be the cells of the events in `view`; `None` if nothing. Reports the number of events read.
/// Cost: reads the keys of all events.
pub(in crate::replica) async fn lacking(
    view: &dyn View,
    kept: &KeptCells,
    locators: Locators,
    progress: impl FnMut(u64),
) -> Result<Option<KeptCells>, ReadError> {
    let mut cells = cells_of_all(view, locators, progress).await?;
    cells.subtract(kept);
    Ok((cells != KeptCells::empty()).then_some(cells))
}

/// The cells of all events. Reports the number of events read.
pub(super) async fn cells_of_all(
    view: &dyn View,
    locators: Locators,
    mut progress: impl FnMut(u64),
) -> Result<KeptCells, ReadError> {
    let (mut cells, mut done) = (KeptCells::empty(), 0);
    let mut pages = Pages::new(view, Table::Events, KeyRange::ALL, Projection::Keys);
    while let Some(page) = pages.next().await? {
        // A row whose key is no event key is no event.
        for event_key in page.rows().filter_map(|(key, _)| parse_event_key(key)) {
            cells.insert(locators.of(event_key));
        }
        done += page.len() as u64;
        progress(done);
    }
    Ok(cells)
}
