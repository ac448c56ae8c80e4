//! The time of the next comparison: each minute, after a loss, and again when young events have become old enough; but
//! not while another neighbour delivers the events that this comparison would find.

use std::time::Duration;

/// The planned comparisons. Times are steady ones.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The tick of the minute, or of the leaf.
    tick_at: Option<Duration>,
    /// A comparison for another reason.
    compare_at: Option<Duration>,
    /// Whether it waits until no other neighbour's repair is running.
    in_turn: bool,
    /// Whether it is the comparison of the tick.
    of_tick: bool,
    /// Whether the next comparison is of everything.
    is_of_everything: bool,
    /// When events too young for the last comparison, or in flight, can be compared.
    look_again_at: Option<Duration>,
}

impl Schedule {
    /// Plans the next tick.
    pub(super) fn tick(&mut self, at: Duration) {
        self.tick_at = Some(at);
    }

    /// Takes the tick, if it is due. Then a comparison is due, even during another neighbour's repair.
    pub(super) fn ticks(&mut self, now: Duration) -> bool {
        let ticks = self.tick_at.is_some_and(|at| at <= now);
        if ticks {
            self.tick_at = None;
            self.compare_at = Some(now);
            self.in_turn = false;
            self.of_tick = true;
        }
        ticks
    }

    /// Compare at `at`, and not before.
    pub(super) fn compare(&mut self, at: Duration) {
        self.compare_at = Some(at);
        self.of_tick = false;
    }

    /// Compare at `at` or before.
    pub(super) fn compare_by(&mut self, at: Duration) {
        self.compare_at = Some(self.compare_at.map_or(at, |planned| planned.min(at)));
        self.of_tick = false;
    }

    /// Compare at `at`, or later when it is this neighbour's turn.
    pub(super) fn compare_in_turn(&mut self, at: Duration) {
        self.compare(at);
        self.in_turn = true;
    }

    /// The next comparison is of everything.
    pub(super) fn reach_everything(&mut self) {
        self.is_of_everything = true;
    }

    /// Compare once more at `at`.
    pub(super) fn look_again(&mut self, at: Duration) {
        self.look_again_at = Some(at);
    }

    /// The due comparison, if any, and whether it waits for its turn. It stays due until [`compared`](Self::compared).
    pub(super) fn due(&mut self, now: Duration) -> Option<InTurn> {
        if self.look_again_at.is_some_and(|at| at <= now) {
            self.look_again_at = None;
            self.compare(now);
        }
        self.compare_at.filter(|at| *at <= now).map(|_| InTurn(self.in_turn))
    }

    /// The due comparison is carried out. Returns its reach.
    pub(super) fn compared(&mut self) -> Reach {
        self.compare_at = None;
        self.in_turn = false;
        match (std::mem::take(&mut self.is_of_everything), std::mem::take(&mut self.of_tick)) {
            (true, _) => Reach::Everything,
            (false, true) => Reach::Closed,
            (false, false) => Reach::Settled,
        }
    }

    /// The next planned time. During a repair none is: it ends with a comparison.
    pub(super) fn wake_at(&self, repairs: bool) -> Option<Duration> {
        let compare = self.compare_at.filter(|_| !repairs);
        [self.tick_at, self.look_again_at, compare].into_iter().flatten().min()
    }
}

/// How far the compared past reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To the end of the last closed leaf: all neighbours that compare at that time compare the same span.
    Closed,
    /// Up to the youngest events that are no longer in flight.
    Settled,
    /// Up to now, and the future as well.
    Everything,
}

/// Whether a comparison waits until no other neighbour's repair is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InTurn(pub(super) bool);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_planned_at_first() {
        let mut schedule = Schedule::default();
        assert_eq!(
            (schedule.wake_at(false), schedule.due(at(99)), schedule.ticks(at(99))),
            (None, None, false)
        );
    }

    #[test]
    fn what_is_due_stays_due_until_it_is_done() {
        let mut schedule = Schedule::default();
        schedule.compare(at(5));
        assert_eq!(schedule.due(at(4)), None);
        assert_eq!((schedule.due(at(5)), schedule.due(at(6))), (Some(InTurn(false)), Some(InTurn(false))));
        schedule.compared();
        assert_eq!(schedule.due(at(7)), None);
    }

    #[test]
    fn only_the_comparison_of_the_tick_ends_with_a_leaf() {
        let mut schedule = Schedule::default();
        schedule.tick(at(60));
        assert!(schedule.ticks(at(60)));
        schedule.due(at(60));
        assert_eq!((schedule.compared(), schedule.compared()), (Reach::Closed, Reach::Settled));
        schedule.tick(at(120));
        assert!(schedule.ticks(at(120)));
        schedule.compare(at(121));
        assert_eq!(schedule.compared(), Reach::Settled, "something else is the matter");
    }

    #[test]
    fn a_comparison_of_everything_waits_for_the_next_one() {
        let mut schedule = Schedule::default();
        schedule.reach_everything();
        assert_eq!(schedule.due(at(1)), None);
        schedule.tick(at(60));
        assert!(schedule.ticks(at(60)));
        assert_eq!((schedule.compared(), schedule.compared()), (Reach::Everything, Reach::Settled));
    }

    #[test]
    fn soon_is_not_later_than_planned_and_later_is() {
        let mut schedule = Schedule::default();
        schedule.compare_by(at(5));
        schedule.compare_by(at(8));
        assert_eq!(schedule.wake_at(false), Some(at(5)));
        schedule.compare(at(9));
        assert_eq!(schedule.wake_at(false), Some(at(9)));
    }

    #[test]
    fn a_tick_waits_for_nobody() {
        let mut schedule = Schedule::default();
        schedule.tick(at(60));
        schedule.compare_in_turn(at(50));
        assert_eq!(schedule.due(at(55)), Some(InTurn(true)));
        assert!(!schedule.ticks(at(59)) && schedule.ticks(at(60)));
        assert_eq!(schedule.due(at(60)), Some(InTurn(false)));
        assert!(!schedule.ticks(at(61)), "once");
    }

    #[test]
    fn what_was_too_young_is_looked_at_again() {
        let mut schedule = Schedule::default();
        schedule.compare(at(1));
        schedule.look_again(at(3));
        schedule.compared();
        assert_eq!((schedule.due(at(2)), schedule.due(at(3))), (None, Some(InTurn(false))));
    }

    #[test]
    fn a_repair_puts_comparisons_off_and_not_the_tick() {
        let mut schedule = Schedule::default();
        schedule.compare(at(1));
        schedule.tick(at(60));
        assert_eq!((schedule.wake_at(true), schedule.wake_at(false)), (Some(at(60)), Some(at(1))));
    }
}
