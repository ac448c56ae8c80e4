//! Agreement of two neighbours and the progress of a catch-up, for display only. No decision depends on it.

use std::time::Duration;

use super::compare::Blocks;
use super::era::{ByEra, Era};
use crate::{Event, Timestamp};

/// The known agreement of a neighbour with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Both sides hold the same events before this time, as of the last comparison.
    pub until: Option<Timestamp>,
    /// Whether the future was equal in the last comparison; `None` before the first.
    pub future: Option<bool>,
    /// Events that repairs have brought here since the connection began.
    pub received: u64,
    /// Events that repairs have sent since.
    pub sent: u64,
    /// Snapshots that differed since.
    pub differed: u64,
    /// The progress of the current catch-up, while a difference is known.
    pub catch_up: Option<CatchUp>,
    /// Events still to transfer.
    behind: ByEra<u64>,
}

/// The progress of two neighbours since they were found to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// When they were found to differ, by the [steady](crate::agent::Now::steady) clock.
    pub began: Duration,
    /// New events transferred by repairs, in either direction.
    pub events: u64,
    /// Events in repair messages, new or not.
    pub carried: u64,
    /// Bytes of keys and values of these events.
    pub carried_bytes: u64,
    /// The last comparison of each era that differs.
    compared: ByEra<Option<Compared>>,
}

/// The blocks of time of the last comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Compared {
    blocks: usize,
    /// Blocks that still differ.
    left: usize,
}

impl CatchUp {
    fn new(began: Duration) -> Self {
        Self { began, events: 0, carried: 0, carried_bytes: 0, compared: ByEra::default() }
    }

    /// Blocks of time in the last comparison.
    pub fn blocks(&self) -> usize {
        self.compared.both().into_iter().flatten().map(|compared| compared.blocks).sum()
    }

    /// Blocks that were equal, or have been repaired since.
    pub fn agreed(&self) -> usize {
        self.compared
            .both()
            .into_iter()
            .flatten()
            .map(|compared| compared.blocks.saturating_sub(compared.left))
            .sum()
    }

    /// Estimated bytes of keys and values of `events` events, from those transferred so far; `None` before the first.
    pub fn bytes_of(&self, events: u64) -> Option<u64> {
        let bytes = u128::from(self.carried_bytes) * u128::from(events) / u128::from(self.carried.max(1));
        (self.carried > 0).then(|| u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Agreement {
    /// Events still to transfer in either direction, as far as counts can tell; 0 in agreement.
    pub fn behind(&self) -> u64 {
        self.behind.past + self.behind.future
    }

    /// The two sides hold different numbers of events in this era, or equal numbers of different events.
    pub(super) fn differ(&mut self, era: Era, by: u64, now: Duration) {
        self.differed += 1;
        self.raise_behind(era, by.max(1));
        let catch_up = self.catch_up.get_or_insert(CatchUp::new(now));
        catch_up.compared.of_mut(era).get_or_insert_default();
    }

    /// Notes the loss of an announcement.
    pub(super) fn miss(&mut self) {
        self.raise_behind(Era::Past, 1);
    }

    fn raise_behind(&mut self, era: Era, least: u64) {
        let behind = self.behind.of_mut(era);
        *behind = (*behind).max(least);
    }

    /// Both sides hold the same events in this era.
    pub(super) fn agree(&mut self, era: Era) {
        *self.behind.of_mut(era) = 0;
        if let Some(catch_up) = &mut self.catch_up {
            *catch_up.compared.of_mut(era) = None;
            if catch_up.compared == ByEra::default() {
                self.catch_up = None;
            }
        }
    }

    /// Notes a comparison of the blocks of this era.
    pub(super) fn compared(&mut self, era: Era, blocks: &Blocks) {
        self.raise_behind(era, blocks.apart);
        if let Some(catch_up) = &mut self.catch_up {
            *catch_up.compared.of_mut(era) =
                Some(Compared { blocks: blocks.all, left: blocks.differing.len() });
        }
    }

    /// Of the compared blocks, `left` still differ.
    pub(super) fn blocks_left(&mut self, era: Era, left: usize) {
        let compared = self.catch_up.as_mut().map(|catch_up| catch_up.compared.of_mut(era));
        if let Some(Some(compared)) = compared {
            compared.left = left;
        }
    }

    /// Notes events in a repair message, in either direction.
    pub(super) fn carried(&mut self, events: &[Event]) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.carried += events.len() as u64;
            catch_up.carried_bytes += events.iter().map(|event| event.weight() as u64).sum::<u64>();
        }
    }

    /// Notes new events that a repair has brought; they are stored.
    pub(super) fn received(&mut self, events: u64) {
        self.received += events;
        self.moved(events);
    }

    /// Notes events sent by a repair.
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
        // The past agrees: the rest is of the future.
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
