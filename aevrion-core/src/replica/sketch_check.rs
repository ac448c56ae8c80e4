//! The correction of the kept sketch.
//!
//! The writer cannot know of an event that a disk has lost: the cells have it still, and twice if it comes again. So
//! the cells are checked where a check of the store finds anything wrong with its events.

use super::handle::Replica;
use super::kept_sketch::lacking;
use super::queue::{Request, SketchCorrection};
use super::tree_walk::unchanging;
use super::verify::Progress;
use crate::WriteError;

/// Corrects the kept cells if they are not those of the events, and reports `progress`. Cost: reads the keys of all
/// events; in a store without isolated views writes wait meanwhile.
pub(super) async fn mend_sketch(
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
