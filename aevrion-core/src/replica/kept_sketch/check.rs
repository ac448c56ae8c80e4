//! The kept cells against those of the events, and their correction.
//!
//! The writer cannot know of an event that a disk has lost: the cells have it still, and twice if it comes again. So
//! the cells are checked where a check of the store finds anything wrong with its events.

use super::{KeptCells, Locators};
use crate::replica::handle::Replica;
use crate::replica::queue::{Request, SketchCorrection};
use crate::replica::tree_walk::unchanging;
use crate::replica::verify::Progress;
use crate::store::{KeyRange, Pages, Projection, Table, View};
use crate::tables::parse_event_key;
use crate::{ReadError, WriteError};

/// Corrects the kept cells if they are not those of the events, and reports `progress`. Cost: reads the keys of all
/// events; in a store without isolated views writes wait meanwhile.
pub(in crate::replica) async fn mend(
    replica: &Replica,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), WriteError> {
    let Replica { shared, queue } = replica;
    let (reloads, lacking) = {
        let (_, _unchanging) = unchanging(shared, queue).await?;
        let reloads = shared.sketch.reloads();
        let (state, cells) = shared.state_and_cells()?;
        let total = state.checkpoint.events;
        let progress = |done: u64| progress(Progress { phase: "sketch", done, total: total.max(done) });
        (reloads, lacking(&*state.view, &cells, shared.sketch.locators, progress).await?)
    };
    // Writes since have changed the cells and the events alike, so they lack the same.
    let Some(lacking) = lacking else { return Ok(()) };
    tracing::warn!("the sketch was not that of the events: it is corrected");
    queue.write(|reply| Request::MendSketch(SketchCorrection { lacking, reloads }, reply)).await
}

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
