//! How far two neighbours agree, and how a catch-up goes: for people and their tools. Nothing is decided by it.

use std::time::Duration;

use crate::{Event, Timestamp};

/// What is known of a neighbour's agreement with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Every event before this moment is the same on both sides, as of the last comparison.
    pub until: Option<Timestamp>,
    /// Whether the last comparison of the future found it equal; `None` before the first.
    pub future: Option<bool>,
    /// Events still to go in either direction, as far as counts can tell; 0 in agreement.
    pub behind: u64,
    /// Events that repairs have brought here since the connection began.
    pub received: u64,
    /// Events that repairs have sent since.
    pub sent: u64,
    /// Snapshots that differed since.
    pub differed: u64,
    /// How the catch-up goes that is under way, if something is known to differ.
    pub catch_up: Option<CatchUp>,
}

/// How far two neighbours have come since they were found to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// When they were, by the [steady](super::Moment::steady) clock.
    pub began: Duration,
    /// Blocks of time that were compared last.
    pub blocks: usize,
    /// Those of them that were the same, or through which repair has passed since.
    pub agreed: usize,
    /// Events that repairs have moved in either direction.
    pub events: u64,
    /// Events in the messages of repair, whether they turned out to be new or not.
    pub carried: u64,
    /// Their bytes: keys and values.
    pub carried_bytes: u64,
    /// Whether it is about the past, and about the future.
    differs: [bool; 2],
}

impl CatchUp {
    fn new(began: Duration) -> Self {
        Self { began, blocks: 0, agreed: 0, events: 0, carried: 0, carried_bytes: 0, differs: [false; 2] }
    }

    /// Bytes of keys and values that so many events have, if they are like those that have moved; `None` before the
    /// first.
    pub fn bytes_of(&self, events: u64) -> Option<u64> {
        let bytes = u128::from(self.carried_bytes) * u128::from(events) / u128::from(self.carried.max(1));
        (self.carried > 0).then(|| u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Agreement {
    /// The two hold different numbers of events in the past (0) or the future (1), or the same number of different ones.
    pub(super) fn differ(&mut self, kind: usize, by: u64, now: Duration) {
        self.differed += 1;
        self.behind = self.behind.max(by.max(1));
        self.catch_up.get_or_insert(CatchUp::new(now)).differs[kind] = true;
    }

    /// The two hold the same in the past (0) or the future (1).
    pub(super) fn agree(&mut self, kind: usize) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.differs[kind] = false;
            self.catch_up = Some(*catch_up).filter(|catch_up| catch_up.differs.contains(&true));
        }
    }

    /// Of so many blocks so many differ.
    pub(super) fn compared(&mut self, blocks: usize, differ: usize) {
        if let Some(catch_up) = &mut self.catch_up {
            (catch_up.blocks, catch_up.agreed) = (blocks, blocks.saturating_sub(differ));
        }
    }

    /// Of the blocks that were compared so many are left.
    pub(super) fn blocks_left(&mut self, left: usize) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.agreed = catch_up.blocks.saturating_sub(left);
        }
    }

    /// Repair goes with these, whichever way.
    pub(super) fn carried(&mut self, events: &[Event]) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.carried += events.len() as u64;
            catch_up.carried_bytes += events.iter().map(|event| event.weight() as u64).sum::<u64>();
        }
    }

    /// A repair has brought so many that were new, and they are stored.
    pub(super) fn received(&mut self, events: u64) {
        self.received += events;
        self.moved(events);
    }

    /// A repair has sent so many.
    pub(super) fn sent(&mut self, events: u64) {
        self.sent += events;
        self.moved(events);
    }

    fn moved(&mut self, events: u64) {
        self.behind = self.behind.saturating_sub(events);
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.events += events;
        }
    }
}
