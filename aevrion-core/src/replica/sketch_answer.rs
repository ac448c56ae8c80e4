//! The cells of the events in a span of time, for agents.

use std::ops::Range;

use super::handle::Replica;
use super::kept_sketch::{KeptCells, Locators};
use super::tree_walk::unchanging;
use crate::agent::Walked;
use crate::fault_injection::{Bug, injected};
use crate::sketch::{Cells, Locator, Mapping};
use crate::store::{KeyRange, Pages, Projection, Table, View};
use crate::tables::{parse_event_key, time_range};
use crate::{ReadError, TimeSpan, Timestamp};

/// The cells `range` of the events in `span`. If they are kept, and `span` begins with time, the kept cells lose the
/// events after `span`; else the events of `span` are read. Cost: the keys of these events, twice those of the smaller
/// part at most. In a store without isolated views writes wait meanwhile.
pub(super) async fn cells_of(
    replica: &Replica,
    span: TimeSpan,
    mapping: Mapping,
    range: Range<usize>,
) -> Result<Walked<Cells>, ReadError> {
    let (_, _unchanging) = unchanging(&replica.shared, &replica.queue).await?;
    let (state, kept) = replica.shared.state_and_cells()?;
    let (view, locators) = (&*state.view, replica.shared.sketch.locators);
    let none = Cells::part(mapping, range.clone());
    let mut inside = Reading::new(view, span, locators, (none, Cells::insert));
    let Some(cells) = kept_from_the_beginning(&kept, span, mapping, range) else {
        while inside.page().await? {}
        return Ok(inside.done());
    };
    if span.last() == Timestamp::MAX || injected(Bug::CellsOfLaterEvents) {
        return Ok(Walked { answer: cells, rows: 0 });
    }
    let after = TimeSpan::from(span.last().next());
    let mut outside = Reading::new(view, after, locators, (cells, Cells::remove));
    // In turn, a page each: whichever has fewer events ends first.
    loop {
        if !outside.page().await? {
            return Ok(Walked { rows: outside.rows + inside.rows, ..outside.done() });
        }
        if !inside.page().await? {
            return Ok(Walked { rows: outside.rows + inside.rows, ..inside.done() });
        }
    }
}

/// The kept cells `range`, if they are kept and `span` begins with time.
fn kept_from_the_beginning(
    kept: &KeptCells,
    span: TimeSpan,
    mapping: Mapping,
    range: Range<usize>,
) -> Option<Cells> {
    let kept = kept.of(mapping);
    (span.first() == Timestamp::MIN && range.end <= kept.len()).then(|| kept.within(range))
}

/// Cells that the events of a span are put into, or taken out of.
struct Reading<'v> {
    pages: Pages<'v>,
    locators: Locators,
    cells: Cells,
    change: fn(&mut Cells, Locator),
    rows: u64,
}

impl<'v> Reading<'v> {
    fn new(
        view: &'v dyn View,
        span: TimeSpan,
        locators: Locators,
        (cells, change): (Cells, fn(&mut Cells, Locator)),
    ) -> Self {
        let (start, end) = time_range(span.first(), span.last());
        let pages = Pages::new(view, Table::Events, KeyRange::inclusive(&start, &end), Projection::Keys);
        Self { pages, locators, cells, change, rows: 0 }
    }

    /// Reads a page. Returns whether another one follows.
    async fn page(&mut self) -> Result<bool, ReadError> {
        let Some(page) = self.pages.next().await? else { return Ok(false) };
        self.rows += page.len() as u64;
        for event_key in page.rows().filter_map(|(key, _)| parse_event_key(key)) {
            (self.change)(&mut self.cells, self.locators.of(event_key));
        }
        Ok(!self.pages.are_at_end())
    }

    fn done(self) -> Walked<Cells> {
        Walked { answer: self.cells, rows: self.rows }
    }
}
