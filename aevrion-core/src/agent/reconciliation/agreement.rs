//! The agreement with a neighbour, and the progress of a catch-up: for people and their tools. Nothing is decided by
//! it.

use std::time::Duration;

use super::era::{ByEra, Era};
use crate::{Event, Timestamp};

/// The known agreement with a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Both sides held the same events before this time at the last comparison.
    pub until: Option<Timestamp>,
    /// Whether the future was equal in the last comparison; `None` before the first.
    pub future: Option<bool>,
    /// New events received by repair since the connection began.
    pub received: u64,
    /// Events sent by repair since the connection began.
    pub sent: u64,
    /// Snapshots that differed since the connection began.
    pub differed: u64,
    repair: Option<Moved>,
    /// Events still to move.
    behind: ByEra<u64>,
}

/// The progress of a catch-up: of the repairs since a difference was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatchUp {
    /// Blocks of time in the last comparison.
    pub blocks: usize,
    /// Blocks that were equal, or that the repair has passed since.
    pub agreed: usize,
    /// Events moved in either direction since the start.
    pub moved: u64,
    /// Events still to move in either direction, estimated from counts.
    pub to_go: u64,
    /// Bytes of the keys and values still to move, extrapolated from the moved events; `None` before the first one.
    pub bytes_to_go: Option<u64>,
    /// Time since the difference was found.
    pub elapsed: Duration,
}

impl CatchUp {
    /// Events per second since the start.
    pub fn rate(&self) -> f64 {
        self.moved as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// Estimated remaining time at that rate; `None` until an event has moved.
    pub fn left(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.to_go as f64 / self.rate()).ok()
    }
}

/// The movement of events since a difference was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moved {
    began: Duration,
    events: u64,
    /// Events in messages of repair, new or not.
    carried: u64,
    /// Their bytes: keys and values.
    carried_bytes: u64,
    /// The last comparison of each era that differs.
    compared: ByEra<Option<Compared>>,
}

/// The blocks of time of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Compared {
    blocks: usize,
    /// Blocks that still differ.
    left: usize,
}

impl Moved {
    fn new(began: Duration) -> Self {
        Self { began, events: 0, carried: 0, carried_bytes: 0, compared: ByEra::default() }
    }

    /// Bytes of keys and values of `events` of the average size so far; `None` before the first event.
    fn bytes_of(&self, events: u64) -> Option<u64> {
        let bytes = u128::from(self.carried_bytes) * u128::from(events) / u128::from(self.carried.max(1));
        (self.carried > 0).then(|| u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Agreement {
    /// Events still to move in either direction, estimated from counts; 0 in agreement.
    pub fn behind(&self) -> u64 {
        self.behind.past.saturating_add(self.behind.future)
    }

    /// Whether the last comparisons found both sides equal. Equal counts after a repair do not prove it.
    pub fn is_reached(&self) -> bool {
        self.behind() == 0 && self.repair.is_none() && self.until.is_some() && self.future != Some(false)
    }

    /// The progress of the catch-up at `now` on the [steady](crate::agent::Now::steady) clock; `None` if no difference
    /// is known.
    pub fn catch_up(&self, now: Duration) -> Option<CatchUp> {
        let repair = self.repair?;
        let compared = || repair.compared.both().into_iter().flatten();
        Some(CatchUp {
            blocks: compared().map(|compared| compared.blocks).sum(),
            agreed: compared().map(|compared| compared.blocks.saturating_sub(compared.left)).sum(),
            moved: repair.events,
            to_go: self.behind(),
            bytes_to_go: repair.bytes_of(self.behind()),
            elapsed: now.saturating_sub(repair.began),
        })
    }

    /// The two hold different numbers of events in this era, or the same number of different ones.
    pub(super) fn differ(&mut self, era: Era, by: u64, now: Duration) {
        self.differed += 1;
        self.raise_behind(era, by.max(1));
        let repair = self.repair.get_or_insert(Moved::new(now));
        repair.compared.of_mut(era).get_or_insert_default();
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
        if let Some(repair) = &mut self.repair {
            *repair.compared.of_mut(era) = None;
            if repair.compared == ByEra::default() {
                self.repair = None;
            }
        }
    }

    /// Notes a comparison of the blocks of this era: `left` of them differ, in `apart` events or more.
    pub(super) fn compared(&mut self, era: Era, blocks: usize, left: usize, apart: u64) {
        self.apart(era, apart);
        if let Some(repair) = &mut self.repair {
            *repair.compared.of_mut(era) = Some(Compared { blocks, left });
        }
    }

    /// The two sides differ in so many events of this era, or more.
    pub(super) fn apart(&mut self, era: Era, events: u64) {
        self.raise_behind(era, events);
    }

    /// Of the compared blocks, `left` still differ.
    pub(super) fn blocks_left(&mut self, era: Era, left: usize) {
        let compared = self.repair.as_mut().map(|repair| repair.compared.of_mut(era));
        if let Some(Some(compared)) = compared {
            compared.left = left;
        }
    }

    /// Notes events in a repair message, in either direction.
    pub(super) fn carried(&mut self, events: &[Event]) {
        if let Some(repair) = &mut self.repair {
            repair.carried += events.len() as u64;
            repair.carried_bytes += events.iter().map(|event| event.weight() as u64).sum::<u64>();
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
        if let Some(repair) = &mut self.repair {
            repair.events += events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_and_the_future_are_counted_apart() {
        let mut agreement = Agreement::default();
        agreement.differ(Era::Past, 10, Duration::ZERO);
        agreement.compared(Era::Past, 30, 20, 12);
        agreement.differ(Era::Future, 4, Duration::ZERO);
        agreement.compared(Era::Future, 3, 3, 1);
        agreement.received(7);
        agreement.blocks_left(Era::Past, 6);
        let of = |agreement: &Agreement| agreement.catch_up(Duration::ZERO).map(|it| (it.blocks, it.agreed));
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
