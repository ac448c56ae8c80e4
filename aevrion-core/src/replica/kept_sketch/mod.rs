//! The kept sketch: the first cells of both mappings over all events held, so that a comparison of two replicas reads
//! no events.
//!
//! The cells follow the rows of `events`. The [writer](super::sketch_upkeep) changes them together with the publication
//! of a commit, so a reader gets a state and its cells as a pair; a failed commit changes nothing. They are stored now
//! and then, in one [row](row) in the batch of a commit, and a start [goes on](mod@recover) from there with the arrivals
//! since. A commit that removes an event brings no arrival, and so carries the row.

mod check;
mod recover;
mod row;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bounds::{KEPT_IRREGULAR, KEPT_REGULAR};
use crate::fault_injection::{Bug, injected};
use crate::sketch::{Cells, Locator, Mapping, SketchKey};
use crate::tree::Shape;
use crate::{EventKey, Parameters};

pub(super) use check::lacking;
pub(super) use recover::{Recovered, recover};
pub(super) use row::{StoredSketch, encode};

/// Changes that are applied under the lock; more are applied to a copy, which then takes the place of the cells.
const APPLIED_IN_PLACE: usize = 64;

/// How the locators of a replica's events are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locators {
    pub(super) key: SketchKey,
    shape: Shape,
}

impl Locators {
    pub(super) fn new(key: SketchKey, parameters: &Parameters) -> Self {
        Self { key, shape: Shape::new(parameters) }
    }

    /// The locator of an event. Cost: as of [`Locator::new`].
    pub(super) fn of(&self, event_key: EventKey) -> Locator {
        Locator::new(&self.key, self.shape.node_at(0, event_key.timestamp).index, &event_key.id)
    }
}

/// The kept cells of a set of events. Memory: 132 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptCells {
    regular: Cells,
    irregular: Cells,
}

impl KeptCells {
    /// Those of no event.
    pub(super) fn empty() -> Self {
        Self {
            regular: Cells::new(Mapping::Regular, KEPT_REGULAR),
            irregular: Cells::new(Mapping::Irregular, KEPT_IRREGULAR),
        }
    }

    pub(super) fn of(&self, mapping: Mapping) -> &Cells {
        match mapping {
            Mapping::Regular => &self.regular,
            Mapping::Irregular => &self.irregular,
        }
    }

    /// Adds an event. Cost: some 300 ns.
    pub(super) fn insert(&mut self, locator: Locator) {
        self.regular.insert(locator);
        if !(injected(Bug::CellForgotten) && locator.value().is_multiple_of(64)) {
            self.irregular.insert(locator);
        }
    }

    pub(super) fn remove(&mut self, locator: Locator) {
        self.regular.remove(locator);
        self.irregular.remove(locator);
    }

    /// Leaves what these cells have more than `other`.
    fn subtract(&mut self, other: &Self) {
        let regular = self.regular.subtract(&other.regular);
        let irregular = self.irregular.subtract(&other.irregular);
        debug_assert!(regular.is_ok() && irregular.is_ok(), "kept cells have one length");
    }

    fn add(&mut self, difference: &Self) {
        let regular = self.regular.add(&difference.regular);
        let irregular = self.irregular.add(&difference.irregular);
        debug_assert!(regular.is_ok() && irregular.is_ok(), "kept cells have one length");
    }
}

/// Changes of the cells by one commit.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) added: Vec<Locator>,
    pub(super) removed: Vec<Locator>,
    /// What the cells lack, of whatever events.
    pub(super) lacking: Option<KeptCells>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.lacking.is_none()
    }

    fn apply(&self, cells: &mut KeptCells) {
        self.added.iter().for_each(|locator| cells.insert(*locator));
        self.removed.iter().for_each(|locator| cells.remove(*locator));
        if let Some(lacking) = &self.lacking {
            cells.add(lacking);
        }
    }

    /// The cells after these changes.
    pub(super) fn applied_to(&self, cells: &KeptCells) -> KeptCells {
        let mut changed = cells.clone();
        self.apply(&mut changed);
        changed
    }
}

/// The sketch of one replica.
pub(super) struct KeptSketch {
    pub(super) locators: Locators,
    cells: Mutex<Arc<KeptCells>>,
    /// How often the cells were taken from the store since the opening.
    reloads: AtomicU64,
}

impl KeptSketch {
    pub(super) fn new(locators: Locators, cells: KeptCells) -> Self {
        Self { locators, cells: Mutex::new(Arc::new(cells)), reloads: AtomicU64::new(0) }
    }

    /// The cells as they stand.
    pub(super) fn cells(&self) -> Arc<KeptCells> {
        Arc::clone(&self.lock())
    }

    /// The cells, and the answer of `read`, which belongs to them.
    pub(super) fn with<T>(&self, read: impl FnOnce() -> T) -> (T, Arc<KeptCells>) {
        let cells = self.lock();
        (read(), Arc::clone(&cells))
    }

    /// Changes the cells together with the publication of their commit. Only the writer does.
    pub(super) fn change(&self, changes: &Changes, publish: impl FnOnce()) {
        let many = changes.added.len() + changes.removed.len() > APPLIED_IN_PLACE;
        if many {
            self.replace(changes.applied_to(&self.cells()), publish);
        } else {
            let mut cells = self.lock();
            changes.apply(Arc::make_mut(&mut cells));
            publish();
        }
    }

    /// Takes cells from the store, together with the publication of their state.
    pub(super) fn reload(&self, cells: KeptCells, publish: impl FnOnce()) {
        self.replace(cells, || {
            self.reloads.fetch_add(1, Ordering::Relaxed);
            publish();
        });
    }

    /// How often the cells were taken from the store since the opening.
    pub(super) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    fn replace(&self, new: KeptCells, publish: impl FnOnce()) {
        let new = Arc::new(new);
        let mut cells = self.lock();
        *cells = new;
        publish();
    }

    fn lock(&self) -> MutexGuard<'_, Arc<KeptCells>> {
        // A panic of the writer closes the replica.
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
