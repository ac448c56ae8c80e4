//! The scrub: it checks the whole store again and again, in steps of a few milliseconds, and mends faults as far as
//! possible. It does over days the work that `verify` and `rebuild` do at once, without delaying other requests.
//!
//! A pass walks through one table after the other. Each step checks one state, so a concurrent write is never a
//! fault; and the writer removes a row only if it still has no event then. The place of the pass is saved in the
//! store, so that a restart does not begin it again.

mod place;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::check::{Check, Checked, Finding, Findings, Remedy, fault_of_node};
use super::derived::{Mend, node_of};
use super::handle::Replica;
use super::queue::CountCorrection;
use super::sketch_check::mend_sketch;
use super::tree_walk::{TreeWalk, unchanging};
use crate::bounds::{FINDINGS_LISTED, PAGE_ROWS};
use crate::events::read_event;
use crate::store::Table;
use crate::tables::{Checkpoint, EventRow, IndexRow, node_key, parse_event_key};
use crate::tree::{NodePosition, TreePass};
use crate::{Damage, ReadError, TimeSpan, WriteError};

pub use place::ScrubPass;
use place::{Pass, Place};

/// Checks and mends a replica bit by bit. Its driver sets the pace: it calls [`Scrub::step`] again and again, with
/// pauses, and [`Scrub::save`] now and then. One scrub for a replica is enough.
pub struct Scrub {
    replica: Replica,
    place: Place,
    /// The work since its beginning, over all passes.
    total: ScrubPass,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubStep {
    /// Its cost in rows.
    pub rows: u64,
    /// Whether it was the last one of its pass. The next step begins another pass.
    pub ended: bool,
}

/// The progress of a scrub.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// The present table.
    pub table: &'static str,
    /// The pass under way; `None` between two passes.
    pub pass: Option<ScrubPass>,
    /// An estimate of the cost of the whole pass, in rows.
    pub expected_rows: u64,
    /// The last pass that has ended.
    pub last: Option<ScrubPass>,
    /// The work since [`Replica::scrub`], over all passes.
    pub total: ScrubPass,
}

impl Replica {
    /// Resumes the scrub where it was [saved](Scrub::save) last. Cost: a read of its place.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn scrub(&self) -> Result<Scrub, ReadError> {
        let place = self.setting(place::NAME).await?.and_then(|saved| Place::parse(&saved));
        let now = self.shared.wall.now();
        let total = ScrubPass { began: now, ended: now, ..ScrubPass::default() };
        Ok(Scrub { replica: self.clone(), place: place.unwrap_or_default(), total })
    }
}

impl Scrub {
    /// Checks some further rows, about as many as `budget` (at most a page; a leaf of the tree is hashed as a whole),
    /// and mends their faults. In a store without isolated views writes wait meanwhile.
    ///
    /// # Errors
    /// [`WriteError`] if the store cannot be read or written. The next step tries the same again.
    pub async fn step(&mut self, budget: usize) -> Result<ScrubStep, WriteError> {
        let before = (self.place.clone(), self.total);
        let done = match self.place.pass.table() {
            Some(table) => self.check(table, budget.clamp(1, PAGE_ROWS)).await,
            None => self.end_pass().await,
        };
        done.inspect_err(|_| (self.place, self.total) = before)
    }

    /// Saves the place of the scrub in the store.
    ///
    /// # Errors
    /// As [`Replica::remember`].
    pub async fn save(&self) -> Result<(), WriteError> {
        self.replica.remember(place::NAME, Some(self.place.to_bytes())).await
    }

    /// Its progress.
    pub fn report(&self) -> ScrubReport {
        let Place { pass, last } = &self.place;
        let checkpoint = self.replica.shared.state().map(|state| state.checkpoint).unwrap_or_default();
        let ended = self.replica.shared.wall.now();
        ScrubReport {
            table: pass.table().map_or("counts", Table::name),
            pass: pass.done.map(|done| ScrubPass { ended, ..done }),
            expected_rows: expected_rows(&checkpoint).max(last.map_or(1, |last| last.rows)),
            last: *last,
            total: ScrubPass { ended, ..self.total },
        }
    }

    async fn check(&mut self, table: Table, budget: usize) -> Result<ScrubStep, WriteError> {
        let replica = self.replica.clone();
        let (checked, findings, checkpoint) = {
            let (state, _unchanging) = unchanging(&replica.shared, &replica.queue).await?;
            let pass = &mut self.place.pass;
            pass.begin(replica.shared.wall.now(), &state.checkpoint);
            let mut check = Check::new(&replica.shared, &state);
            let checked = replica.noting(check.rows(table, &mut pass.walk, budget).await)?;
            (checked, check.findings, state.checkpoint)
        };
        let Checked { cost, ended } = checked;
        self.count(|done| done.rows += cost as u64);
        self.mend(findings).await?;
        if ended {
            if table == Table::ByKey {
                self.correct_keys(&checkpoint).await?;
            }
            self.place.pass.next_table();
        }
        Ok(ScrubStep { rows: cost as u64, ended: false })
    }

    /// Mends faults as far as possible.
    async fn mend(&mut self, findings: Findings) -> Result<(), WriteError> {
        let replica = self.replica.clone();
        let mut mend = Mend::new(&replica.queue);
        let (mut leaves, mut removed) = (BTreeMap::new(), 0);
        for Finding { damage, remedy } in findings.0 {
            self.tell(&damage);
            let event = damage.table == Table::Events;
            let mended = match remedy {
                Some(Remedy::Add) => {
                    mend.put(damage.table, damage.key, Bytes::new()).await?;
                    true
                }
                Some(Remedy::Remove) if damage.table == Table::Timetable => {
                    mend.remove(damage.table, damage.key).await?;
                    true
                }
                Some(Remedy::Remove) => self.mend_ghost(damage.key, &mut leaves, &mut mend).await?,
                Some(Remedy::MakeAgain) => {
                    self.drop_path(damage.key, &mut mend).await?;
                    true
                }
                None if event && self.is_misplaced(&damage.key).await? => {
                    self.remove_misplaced(damage.key, &mut mend).await?;
                    removed += 1;
                    true
                }
                None => false,
            };
            self.count(|done| {
                done.found += 1;
                done.mended += u64::from(mended);
                done.damaged += u64::from(event && !mended);
            });
        }
        mend.finish((removed > 0).then_some(CountCorrection { events: -removed, indexed_keys: 0 })).await?;
        Ok(())
    }

    /// Whether a damaged row of `events` is a copy of an event that is also stored under its own key: then the key of
    /// the row is damaged, and not its content.
    async fn is_misplaced(&self, key: &Bytes) -> Result<bool, ReadError> {
        let state = self.replica.shared.state()?;
        let Some(event_key) = parse_event_key(key) else { return Ok(false) };
        let Some(row) = state.view.get(Table::Events, key).await? else { return Ok(false) };
        let Some(event) =
            EventRow::parse(&row).ok().and_then(|row| row.into_other_event(event_key.timestamp))
        else {
            return Ok(false);
        };
        let elsewhere = event.event_key() != event_key;
        Ok(elsewhere && matches!(read_event(&*state.view, event.event_key()).await, Ok(Some(_))))
    }

    /// Removes a misplaced row of `events`, and the hashes that count it.
    async fn remove_misplaced(&self, key: Bytes, mend: &mut Mend<'_>) -> Result<(), WriteError> {
        if let Some(event_key) = parse_event_key(&key) {
            let NodePosition { level, index } = self.replica.shared.shape.node_at(0, event_key.timestamp);
            self.drop_path(Bytes::copy_from_slice(&node_key(level, index)), mend).await?;
            self.replica.shared.damage.sound(&[event_key]);
        }
        mend.remove(Table::Events, key).await
    }

    /// Removes an index row without an event. If a stored hash says that the event existed, the row stays, because
    /// without it a read would silently answer with the version before; a comparison with the neighbours brings the
    /// event back.
    async fn mend_ghost(
        &self,
        row: Bytes,
        leaves: &mut BTreeMap<NodePosition, Leaf>,
        mend: &mut Mend<'_>,
    ) -> Result<bool, WriteError> {
        let shape = self.replica.shared.shape;
        let position = IndexRow::parse(&row).map(|row| shape.node_at(0, row.timestamp));
        let leaf = match position {
            Some(position) => match leaves.get(&position) {
                Some(leaf) => *leaf,
                None => *leaves.entry(position).or_insert(self.leaf(position).await?),
            },
            // No event has such a row.
            None => Leaf::Complete,
        };
        match (leaf, position) {
            (Leaf::Complete, _) => mend.remove(Table::ByKey, row).await?,
            (Leaf::Lacks, Some(NodePosition { level, index })) => {
                self.drop_path(Bytes::copy_from_slice(&node_key(level, index)), mend).await?;
            }
            _ => {}
        }
        Ok(leaf == Leaf::Complete)
    }

    /// Compares the events of a leaf with its stored hash.
    async fn leaf(&self, position: NodePosition) -> Result<Leaf, ReadError> {
        let shared = &self.replica.shared;
        let state = shared.state()?;
        let stored = state.view.get(Table::Nodes, &node_key(position.level, position.index)).await?;
        let made = TreePass::new(&*state.view, shared.shape, ()).recompute(position).await?;
        Ok(match stored {
            Some(stored) if fault_of_node(&stored, made).is_some() => Leaf::Lacks,
            None if made.is_some() => Leaf::NotHashed,
            _ => Leaf::Complete,
        })
    }

    /// Removes the stored hash of a node and of all above it. The next walk computes them again.
    async fn drop_path(&self, key: Bytes, mend: &mut Mend<'_>) -> Result<(), WriteError> {
        let shape = self.replica.shared.shape;
        let mut above = node_of(shape, &key).and_then(|node| shape.parent(node));
        mend.remove(Table::Nodes, key).await?;
        while let Some(NodePosition { level, index }) = above {
            mend.remove(Table::Nodes, Bytes::copy_from_slice(&node_key(level, index))).await?;
            above = shape.parent(NodePosition { level, index });
        }
        Ok(())
    }

    /// Corrects the count of keys, if no key was indexed since the walk through the index began.
    async fn correct_keys(&mut self, now: &Checkpoint) -> Result<(), WriteError> {
        let Pass { walk, indexed, .. } = &self.place.pass;
        if *indexed != (now.next_to_index, now.indexed_keys) || walk.sum == now.indexed_keys {
            return Ok(());
        }
        let indexed_keys = walk.sum.cast_signed().wrapping_sub(now.indexed_keys.cast_signed());
        self.correct(CountCorrection { events: 0, indexed_keys }).await
    }

    /// Corrects a count.
    async fn correct(&mut self, by: CountCorrection) -> Result<(), WriteError> {
        tracing::warn!(?by, "the scrub corrects the counts");
        self.count(|done| {
            done.found += 1;
            done.mended += 1;
        });
        Mend::new(&self.replica.queue).finish(Some(by)).await.map(drop)
    }

    /// The last step of a pass: compares the stored count of events with that of the tree.
    async fn end_pass(&mut self) -> Result<ScrubStep, WriteError> {
        let events = {
            let walk = TreeWalk::begin(&self.replica.shared, &self.replica.queue, None).await?;
            let root = self.replica.noting(walk.root(TimeSpan::ALL).await)?;
            root.count.cast_signed().wrapping_sub(walk.state().checkpoint.events.cast_signed())
        };
        if events != 0 {
            self.correct(CountCorrection { events, indexed_keys: 0 }).await?;
        }
        let now = self.replica.shared.wall.now();
        let done = self.place.pass.done.unwrap_or_default();
        if done.found > 0 {
            mend_sketch(&self.replica, |_| {}).await?;
        }
        self.place = Place { pass: Pass::default(), last: Some(ScrubPass { ended: now, ..done }) };
        let ScrubPass { rows, found, mended, damaged, .. } = done;
        tracing::info!(rows, found, mended, damaged, "the scrub has seen everything");
        self.save().await?;
        Ok(ScrubStep { rows: 0, ended: true })
    }

    fn count(&mut self, count: impl Fn(&mut ScrubPass)) {
        count(self.place.pass.done.get_or_insert_default());
        count(&mut self.total);
    }

    /// Logs a fault, but not more than the first hundred.
    fn tell(&self, damage: &Damage) {
        let told = self.place.pass.done.map_or(0, |done| done.found);
        if told < FINDINGS_LISTED as u64 {
            tracing::warn!(%damage, "the scrub found a fault");
        }
    }
}

/// The events of a leaf, by its stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    /// All of them are stored.
    Complete,
    /// Some are gone, or the hash is wrong.
    Lacks,
    /// The leaf was touched since it was last hashed. The next pass can tell.
    NotHashed,
}

/// A pass reads each event, its index row, its arrival, and its id for the hash of a leaf.
fn expected_rows(checkpoint: &Checkpoint) -> u64 {
    checkpoint.events * 3 + checkpoint.next_arrival.saturating_sub(checkpoint.oldest_arrival)
}

impl std::fmt::Debug for Scrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrub").field("place", &self.place).finish_non_exhaustive()
    }
}
