//! Rebuilding: all derived rows are made again from the events.
//!
//! Missing rows are added and wrong ones removed in small commits, each of which leaves the store better than before.
//! So a rebuild may be interrupted anywhere and repeated, and reads and writes go on meanwhile.

use bytes::{Bytes, BytesMut};

use super::derived::{Mend, stands_for_event};
use super::handle::Replica;
use super::queue::CountCorrection;
use super::read_state::ReadState;
use super::sketch_check::mend_sketch;
use super::verify::Progress;
use crate::event::is_reserved;
use crate::events::EventPages;
use crate::store::{KeyRange, Pages, Projection, Table};
use crate::tables::IndexRow;
use crate::tree::Root;
use crate::{ReadError, WriteError, timetable};

/// The result of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebuilt {
    /// Rows of the index and the timetable that were missing.
    pub rows_added: u64,
    /// Rows of the index and the timetable that had no event.
    pub rows_removed: u64,
    /// Damaged events: no row can be derived from them.
    pub damaged_events: u64,
    /// The root, computed again.
    pub root: Root,
}

impl Replica {
    /// Makes index, tree and counts again from the events, and reports `progress` now and then. Cost: reads every row,
    /// hashes every event, and writes wrong rows and all tree nodes. Dropping the future stops it.
    ///
    /// # Errors
    /// [`WriteError`] if the store cannot be read or written. Rows mended so far stay mended.
    pub async fn rebuild(&self, progress: impl FnMut(Progress) + Send) -> Result<Rebuilt, WriteError> {
        let mut rebuild = Rebuild { replica: self, progress };
        let (rows_added, damaged_events) = rebuild.add_missing_rows().await?;
        let rows_removed = rebuild.remove_wrong_rows().await?;
        rebuild.drop_hashes().await?;
        mend_sketch(self, &mut rebuild.progress).await?;
        let root = self.root().await?;
        Ok(Rebuilt { rows_added, rows_removed, damaged_events, root })
    }
}

/// A rebuild under way.
struct Rebuild<'r, P> {
    replica: &'r Replica,
    progress: P,
}

impl<P: FnMut(Progress) + Send> Rebuild<'_, P> {
    /// Writes the missing rows of events, and corrects the count of events.
    async fn add_missing_rows(&mut self) -> Result<(u64, u64), WriteError> {
        let state = self.replica.shared.state()?;
        let mut mend = Mend::new(&self.replica.queue);
        let (mut walked, mut damaged, mut arena) = (0, 0, BytesMut::new());
        let mut pages = EventPages::behind(&*state.view, None);
        while let Some(page) = pages.next().await? {
            for (_, event) in page {
                walked += 1;
                match event {
                    Ok(event) => {
                        IndexRow::encode(event.key(), event.event_key(), &mut arena);
                        let row = arena.split().freeze();
                        if !has_row(&state, &row).await? {
                            mend.put(Table::ByKey, row, Bytes::new()).await?;
                        }
                        if let Some(row) =
                            timetable::missing_row(&*state.view, &event).await.map_err(ReadError::from)?
                        {
                            mend.put(Table::Timetable, row, Bytes::new()).await?;
                        }
                    }
                    Err(error @ ReadError::Damaged(_)) => {
                        self.replica.shared.note_old_damage(&error).await;
                        damaged += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            (self.progress)(Progress {
                phase: "index",
                done: walked,
                total: state.checkpoint.events.max(walked),
            });
        }
        let events = difference(walked, state.checkpoint.events);
        let counted = self.counts_hold(&state)?.then_some(CountCorrection { events, indexed_keys: 0 });
        Ok((mend.finish(counted).await?, damaged))
    }

    /// Removes rows of index and timetable without an event, and corrects the count of keys.
    async fn remove_wrong_rows(&mut self) -> Result<u64, WriteError> {
        let state = self.replica.shared.state()?;
        let mut mend = Mend::new(&self.replica.queue);
        let (mut walked, mut keys, mut previous) = (0, 0, Vec::new());
        let mut pages = Pages::new(&*state.view, Table::ByKey, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await.map_err(ReadError::from)? {
            for (row, _) in page.rows() {
                walked += 1;
                if !stands_for_event(&*state.view, row).await? {
                    mend.remove(Table::ByKey, Bytes::copy_from_slice(row)).await?;
                    continue;
                }
                let key = IndexRow::key_part(row);
                if key != previous {
                    keys += u64::from(!is_reserved(key));
                    previous = key.to_vec();
                }
            }
            (self.progress)(Progress {
                phase: "check",
                done: walked,
                total: state.checkpoint.next_to_index.max(walked),
            });
        }
        remove_wrong_expiries(&state, &mut mend).await?;
        let indexed_keys = difference(keys, state.checkpoint.indexed_keys);
        let counted = self.counts_hold(&state)?.then_some(CountCorrection { events: 0, indexed_keys });
        mend.finish(counted).await
    }

    /// Whether counts of rows in the view of `state` can be compared with its checkpoint: in a store without isolated
    /// views, only if no event arrived meanwhile.
    fn counts_hold(&self, state: &ReadState) -> Result<bool, ReadError> {
        let isolated = self.replica.shared.capabilities.isolated_views;
        Ok(isolated || self.replica.shared.state()?.checkpoint.next_arrival == state.checkpoint.next_arrival)
    }

    /// Removes all stored hashes. The next walk computes them again.
    async fn drop_hashes(&mut self) -> Result<(), WriteError> {
        let state = self.replica.shared.state()?;
        let mut mend = Mend::new(&self.replica.queue);
        let mut pages = Pages::new(&*state.view, Table::Nodes, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await.map_err(ReadError::from)? {
            for (node, _) in page.rows() {
                mend.remove(Table::Nodes, Bytes::copy_from_slice(node)).await?;
            }
            (self.progress)(Progress { phase: "tree", done: mend.rows(), total: mend.rows() });
        }
        mend.finish(None).await.map(drop)
    }
}

async fn remove_wrong_expiries(state: &ReadState, mend: &mut Mend<'_>) -> Result<(), WriteError> {
    let mut pages = Pages::new(&*state.view, Table::Timetable, KeyRange::ALL, Projection::Keys);
    while let Some(page) = pages.next().await.map_err(ReadError::from)? {
        for (row, _) in page.rows() {
            if !timetable::stands(&*state.view, row).await? {
                mend.remove(Table::Timetable, Bytes::copy_from_slice(row)).await?;
            }
        }
    }
    Ok(())
}

async fn has_row(state: &ReadState, row: &[u8]) -> Result<bool, ReadError> {
    Ok(state.pending.contains(row) || state.view.get(Table::ByKey, row).await?.is_some())
}

fn difference(counted: u64, stored: u64) -> i64 {
    i64::try_from(i128::from(counted) - i128::from(stored)).unwrap_or(0)
}
