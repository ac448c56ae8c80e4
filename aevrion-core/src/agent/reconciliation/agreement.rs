//! How far two neighbours agree, and how a catch-up goes: for people and their tools. Nothing is decided by it.

use std::time::Duration;

use super::compare::Blocks;
use super::era::{ByEra, Era};
use crate::{Event, Timestamp};

/// What is known of a neighbour's agreement with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Every event before this moment is the same on both sides, as of the last comparison.
    pub until: Option<Timestamp>,
    /// Whether the last comparison of the future found it equal; `None` before the first.
    pub future: Option<bool>,
    /// Events that repairs have brought here since the connection began.
    pub received: u64,
    /// Events that repairs have sent since.
    pub sent: u64,
    /// Snapshots that differed since.
    pub differed: u64,
    /// How the catch-up goes that is under way, if something is known to differ.
    pub catch_up: Option<CatchUp>,
    /// Events still to go.
    behind: ByEra<u64>,
}

/// How far two neighbours have come since they were found to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// When they were, by the [steady](crate::agent::Now::steady) clock.
    pub began: Duration,
    /// Events that repairs have moved in either direction.
    pub events: u64,
    /// Events in the messages of repair, whether they turned out to be new or not.
    pub carried: u64,
    /// Their bytes: keys and values.
    pub carried_bytes: u64,
    /// The last comparison of an era that differs.
    compared: ByEra<Option<Compared>>,
}

/// Blocks of time that were compared last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Compared {
    blocks: usize,
    /// Those that differ still.
    left: usize,
}

impl CatchUp {
    fn new(began: Duration) -> Self {
        Self { began, events: 0, carried: 0, carried_bytes: 0, compared: ByEra::default() }
    }

    /// Blocks of time that were compared last.
    pub fn blocks(&self) -> usize {
        self.compared.both().into_iter().flatten().map(|compared| compared.blocks).sum()
    }

    /// Those of them that were the same, or through which repair has passed since.
    pub fn agreed(&self) -> usize {
        self.compared
            .both()
            .into_iter()
            .flatten()
            .map(|compared| compared.blocks.saturating_sub(compared.left))
            .sum()
    }

    /// Bytes of keys and values that so many events have, if they are like those that have moved; `None` before the
    /// first.
    pub fn bytes_of(&self, events: u64) -> Option<u64> {
        let bytes = u128::from(self.carried_bytes) * u128::from(events) / u128::from(self.carried.max(1));
        (self.carried > 0).then(|| u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Agreement {
    /// Events still to go in either direction, as far as counts can tell; 0 in agreement.
    pub fn behind(&self) -> u64 {
        self.behind.past + self.behind.future
    }

    /// The two hold different numbers of events in this era, or the same number of different ones.
    pub(super) fn differ(&mut self, era: Era, by: u64, now: Duration) {
        self.differed += 1;
        self.raise_behind(era, by.max(1));
        let catch_up = self.catch_up.get_or_insert(CatchUp::new(now));
        catch_up.compared.of_mut(era).get_or_insert_default();
    }

    /// Something was not told.
    pub(super) fn miss(&mut self) {
        self.raise_behind(Era::Past, 1);
    }

    fn raise_behind(&mut self, era: Era, least: u64) {
        let behind = self.behind.of_mut(era);
        *behind = (*behind).max(least);
    }

    /// The two hold the same in this era.
    pub(super) fn agree(&mut self, era: Era) {
        *self.behind.of_mut(era) = 0;
        if let Some(catch_up) = &mut self.catch_up {
            *catch_up.compared.of_mut(era) = None;
            if catch_up.compared == ByEra::default() {
                self.catch_up = None;
            }
        }
    }

    /// So the blocks of this era stand to each other.
    pub(super) fn compared(&mut self, era: Era, blocks: &Blocks) {
        self.raise_behind(era, blocks.apart);
        if let Some(catch_up) = &mut self.catch_up {
            *catch_up.compared.of_mut(era) =
                Some(Compared { blocks: blocks.all, left: blocks.differing.len() });
        }
    }

    /// Of the blocks that were compared so many are left.
    pub(super) fn blocks_left(&mut self, era: Era, left: usize) {
        let compared = self.catch_up.as_mut().map(|catch_up| catch_up.compared.of_mut(era));
        if let Some(Some(compared)) = compared {
            compared.left = left;
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
        let ByEra { past, future } = &mut self.behind;
        let of_future = events.saturating_sub(*past);
        *past = past.saturating_sub(events);
        *future = future.saturating_sub(of_future);
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.events += events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeSpan;

    #[test]
    fn the_past_and_the_future_are_counted_apart() {
        let mut agreement = Agreement::default();
        agreement.differ(Era::Past, 10, Duration::ZERO);
        let blocks = |all, differing, apart| Blocks { all, differing: vec![TimeSpan::ALL; differing], apart };
        agreement.compared(Era::Past, &blocks(30, 20, 12));
        agreement.differ(Era::Future, 4, Duration::ZERO);
        agreement.compared(Era::Future, &blocks(3, 3, 1));
        agreement.received(7);
        agreement.blocks_left(Era::Past, 6);
        let of = |agreement: &Agreement| agreement.catch_up.map(|it| (it.blocks(), it.agreed()));
        assert_eq!((agreement.behind(), of(&agreement)), (9, Some((33, 24))));
        // The past agrees: what is left is of the future.
        agreement.agree(Era::Past);
        assert_eq!((agreement.behind(), of(&agreement)), (4, Some((3, 0))));
        agreement.sent(9);
        assert_eq!((agreement.behind(), of(&agreement)), (0, Some((3, 0))), "only a comparison tells");
        agreement.agree(Era::Future);
        assert_eq!((agreement.behind(), of(&agreement)), (0, None));
        agreement.miss();
        assert_eq!((agreement.behind(), of(&agreement)), (1, None));
    }
}
