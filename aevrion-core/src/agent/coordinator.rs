//! The shared knowledge of all agents of one node: the neighbour asked for each event, the neighbour whose repair is
//! running, the broadcast trees, and the read budgets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::budget::{Budget, Budgets};
use super::sources::{MOST_PATIENCE, Sources};
use super::stall::REPLY_TIMEOUT;
use crate::bounds::{CHECKED_EVENTS, FEED_BYTES, WANTED_AT_ONCE};
use crate::{Event, EventKey, NodeId};

/// After this long without an answer another neighbour may be asked for an event.
pub(super) const ASKED_FOR: Duration = Duration::from_secs(2);

// Another neighbour than the parent is asked well before that.
const _: () = assert!(MOST_PATIENCE.as_millis() * 2 < ASKED_FOR.as_millis());

/// The neighbour that was asked in vain may be asked again this much later: others come first.
const AGAIN: Duration = Duration::from_secs(1);

/// Events noted as requested, of all neighbours together.
const CLAIMS: usize = WANTED_AT_ONCE * 2;

/// Interval at which old claims are dropped.
const TIDIED: Duration = Duration::from_millis(500);

/// After this long without a sign of life a repair no longer blocks others. It is a little longer than the timeout of
/// an answer: otherwise another neighbour would be asked for events that are still arriving.
const REPAIR_LEASE: Duration = REPLY_TIMEOUT.saturating_add(Duration::from_secs(1));

/// After this long a repair makes way for waiting ones, finished or not: the first one may be the slowest, or may
/// never end.
const TURN: Duration = Duration::from_secs(30);

/// The pause after a check of as many events as are checked at once.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(10);

/// A neighbour that was refused a turn within this time counts as waiting.
const WAITS: Duration = Duration::from_secs(1);

/// The coordinator shared by all agents of a node.
#[derive(Debug, Default)]
pub struct RepairCoordinator {
    entries: Mutex<Entries>,
    sources: Mutex<Sources>,
    pub(super) budgets: Budgets,
}

#[derive(Debug, Default)]
struct Entries {
    asked: BTreeMap<EventKey, Claim>,
    /// When old claims were last dropped.
    tidied: Duration,
    repairing: Option<Turn>,
    /// When a neighbour was last refused a turn.
    refused: Option<Duration>,
    /// The earliest time of the next check of stored hashes.
    checks_at: Duration,
    /// The large events announced last.
    offered: VecDeque<Event>,
}

/// The neighbour that is asked for an event, or has delivered it to the commit queue. No other one is asked before
/// `until`.
#[derive(Debug, Clone, Copy)]
struct Claim {
    by: NodeId,
    until: Duration,
}

impl Claim {
    /// Whether `neighbour` may be asked.
    fn is_free_for(self, neighbour: NodeId, now: Duration) -> bool {
        self.until + if self.by == neighbour { AGAIN } else { Duration::ZERO } <= now
    }
}

/// A neighbour's turn to repair.
#[derive(Debug, Clone, Copy)]
struct Turn {
    of: NodeId,
    since: Duration,
    /// The end of the turn if there is no further sign of life.
    until: Duration,
}

impl Entries {
    /// Whether `neighbour` may repair. If not, it counts as waiting.
    fn is_free_for(&mut self, neighbour: NodeId, now: Duration) -> bool {
        let others_wait = self.refused.is_some_and(|at| now < at + WAITS);
        let free = self.repairing.is_none_or(|turn| {
            if turn.of == neighbour { now < turn.since + TURN || !others_wait } else { turn.until <= now }
        });
        let holds = self.repairing.is_some_and(|turn| turn.of == neighbour);
        if !free && !holds {
            self.refused = Some(now);
        }
        free
    }
}

impl RepairCoordinator {
    /// A coordinator that gives each neighbour this budget.
    pub fn with_budget(each: Budget) -> Self {
        Self { budgets: Budgets::of(each), ..Self::default() }
    }

    /// Questions left unanswered because their neighbour's budget was used up.
    pub fn declined(&self) -> u64 {
        self.budgets.declined()
    }

    /// Divides `event_keys`: first the events that `neighbour` may be asked for, which count as requested from now on,
    /// then the rest. While the list of claims is full, an event may be requested twice.
    pub(super) fn claim(
        &self,
        neighbour: NodeId,
        event_keys: impl IntoIterator<Item = EventKey>,
        now: Duration,
    ) -> (Vec<EventKey>, Vec<EventKey>) {
        let mut entries = self.entries();
        if entries.asked.len() > WANTED_AT_ONCE && entries.tidied + TIDIED <= now {
            entries.asked.retain(|_, claim| claim.until + AGAIN > now);
            entries.tidied = now;
        }
        event_keys.into_iter().partition(|event_key| {
            let known = entries.asked.get(event_key).copied();
            let free = known.is_none_or(|claim| claim.is_free_for(neighbour, now));
            if free && (known.is_some() || entries.asked.len() < CLAIMS) {
                entries.asked.insert(*event_key, Claim { by: neighbour, until: now + ASKED_FOR });
            }
            free
        })
    }

    /// The answer of `neighbour` is arriving: others are not asked yet.
    pub(super) fn prolong<'a>(
        &self,
        neighbour: NodeId,
        event_keys: impl IntoIterator<Item = &'a EventKey>,
        now: Duration,
    ) {
        let mut entries = self.entries();
        for event_key in event_keys {
            if let Some(claim) = entries.asked.get_mut(event_key).filter(|claim| claim.by == neighbour) {
                claim.until = claim.until.max(now + ASKED_FOR);
            }
        }
    }

    /// Keeps an announced large event in memory, because all neighbours request it now.
    pub(super) fn offer(&self, event: &Event) {
        let mut entries = self.entries();
        if entries.offered.iter().any(|offered| offered.event_key() == event.event_key()) {
            return;
        }
        entries.offered.push_back(event.clone());
        let bytes = |offered: &VecDeque<Event>| offered.iter().map(Event::weight).sum::<usize>();
        while entries.offered.len() > 1 && bytes(&entries.offered) > FEED_BYTES {
            entries.offered.pop_front();
        }
    }

    /// The event with this key, if it was announced just now.
    pub(super) fn offered(&self, event_key: EventKey) -> Option<Event> {
        self.entries().offered.iter().find(|offered| offered.event_key() == event_key).cloned()
    }

    /// Drops the claims on these events: the neighbour that was asked does not deliver them.
    pub(super) fn give_up<'a>(&self, event_keys: impl IntoIterator<Item = &'a EventKey>) {
        let mut entries = self.entries();
        for event_key in event_keys {
            if let Some(claim) = entries.asked.get_mut(event_key) {
                claim.until = Duration::ZERO;
            }
        }
    }

    /// Takes or extends the turn to repair with `neighbour`; false if it must wait. Only one neighbour has the turn,
    /// because two would deliver the same events.
    pub(super) fn may_repair(&self, neighbour: NodeId, now: Duration) -> bool {
        let mut entries = self.entries();
        let free = entries.is_free_for(neighbour, now);
        if free {
            let since = entries.repairing.filter(|turn| turn.of == neighbour && now < turn.since + TURN);
            let since = since.map_or(now, |turn| turn.since);
            entries.repairing = Some(Turn { of: neighbour, since, until: now + REPAIR_LEASE });
        }
        free
    }

    /// Whether `neighbour` would get the turn to repair.
    pub(super) fn is_free_for(&self, neighbour: NodeId, now: Duration) -> bool {
        self.entries().is_free_for(neighbour, now)
    }

    /// The repair with `neighbour` is over.
    pub(super) fn repaired(&self, neighbour: NodeId) {
        let mut entries = self.entries();
        if entries.repairing.is_some_and(|turn| turn.of == neighbour) {
            entries.repairing = None;
        }
    }

    /// The earliest time of the next check of stored hashes.
    pub(super) fn checks_at(&self) -> Duration {
        self.entries().checks_at
    }

    /// Notes a check of stored hashes, and delays the next one in proportion to its events: a neighbour that differs
    /// without reason must not use up this node's time.
    pub(super) fn checked(&self, events: u64, now: Duration) {
        let times = u32::try_from(events / CHECKED_EVENTS as u64).unwrap_or(u32::MAX).saturating_add(1);
        self.entries().checks_at = now.saturating_add(CHECK_EVERY.saturating_mul(times));
    }

    /// The connection to `neighbour` is over: others may be asked for its `wanted` events.
    pub(crate) fn leave(&self, neighbour: NodeId, wanted: &BTreeSet<EventKey>) {
        self.give_up(wanted);
        self.repaired(neighbour);
        self.sources().leave(neighbour);
    }

    /// The broadcast trees.
    pub(super) fn sources(&self) -> MutexGuard<'_, Sources> {
        // A half changed tree costs some bytes at most.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No entry can be left half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, Timestamp};

    fn event_key(number: u8) -> EventKey {
        EventKey { timestamp: Timestamp::MIN, id: EventId::from_bytes([number; 32]) }
    }

    #[test]
    fn an_event_is_asked_for_once_until_it_is_overdue_and_then_of_others_first() {
        let coordinator = RepairCoordinator::default();
        let (a, b) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let claim = |of, now| coordinator.claim(of, [event_key(1)], now).0;
        assert_eq!(claim(a, Duration::ZERO), [event_key(1)]);
        assert_eq!(claim(b, ASKED_FOR / 2), []);
        assert_eq!(claim(a, ASKED_FOR), [], "it has had its chance");
        assert_eq!(claim(b, ASKED_FOR), [event_key(1)]);
        assert_eq!(claim(b, ASKED_FOR * 2), []);
        assert_eq!(claim(b, ASKED_FOR * 2 + AGAIN), [event_key(1)], "nobody else wanted it");
    }

    #[test]
    fn what_a_neighbour_leaves_behind_may_be_had_from_others() {
        let coordinator = RepairCoordinator::default();
        let (a, b) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let now = Duration::from_millis(1);
        assert_eq!(coordinator.claim(a, [event_key(1)], now).0, [event_key(1)]);
        assert_eq!(coordinator.claim(b, [event_key(1)], now).0, []);
        coordinator.leave(a, &BTreeSet::from([event_key(1)]));
        assert_eq!(coordinator.claim(b, [event_key(1)], now).0, [event_key(1)]);
    }

    #[test]
    fn whoever_claims_without_end_keeps_nobody_from_asking() {
        let coordinator = RepairCoordinator::default();
        let now = Duration::from_millis(1);
        let of = |number: u64| EventKey { timestamp: Timestamp::from_millis(number), ..event_key(1) };
        coordinator.claim(NodeId::from_bytes([1; 32]), (0..CLAIMS as u64 * 2).map(of), now);
        assert_eq!(coordinator.entries().asked.len(), CLAIMS);
        assert_eq!(coordinator.claim(NodeId::from_bytes([2; 32]), [event_key(2)], now).0, [event_key(2)]);
        coordinator.claim(NodeId::from_bytes([1; 32]), [], now + ASKED_FOR + AGAIN);
        assert_eq!(coordinator.entries().asked.len(), 0);
    }

    #[test]
    fn the_more_was_checked_the_longer_is_the_pause() {
        let coordinator = RepairCoordinator::default();
        assert_eq!(coordinator.checks_at(), Duration::ZERO);
        coordinator.checked(5, Duration::from_secs(1));
        assert_eq!(coordinator.checks_at(), Duration::from_secs(1) + CHECK_EVERY);
        coordinator.checked(CHECKED_EVENTS as u64 * 64 + 1, Duration::from_secs(1));
        assert_eq!(coordinator.checks_at(), Duration::from_secs(1) + CHECK_EVERY * 65);
        coordinator.checked(u64::MAX, Duration::from_secs(1));
        assert!(coordinator.checks_at() > Duration::from_secs(1 << 30));
    }

    #[test]
    fn one_repair_at_a_time() {
        let coordinator = RepairCoordinator::default();
        let (a, b) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        assert!(coordinator.may_repair(a, Duration::ZERO));
        assert!(coordinator.may_repair(a, Duration::ZERO));
        assert!(!coordinator.may_repair(b, Duration::from_secs(1)));
        coordinator.repaired(a);
        assert!(coordinator.may_repair(b, Duration::from_secs(1)));
        assert!(coordinator.may_repair(a, Duration::from_secs(1) + REPAIR_LEASE));
    }

    #[test]
    fn a_repair_without_end_makes_way_for_others() {
        let coordinator = RepairCoordinator::default();
        let (endless, patient) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mut waited = None;
        for second in 0..120 {
            let now = Duration::from_secs(second);
            coordinator.may_repair(endless, now);
            if waited.is_none() && coordinator.may_repair(patient, now + WAITS / 2) {
                waited = Some(now);
            }
        }
        let waited = waited.expect("its turn comes");
        assert!(waited >= TURN && waited <= TURN + REPAIR_LEASE * 2, "{waited:?}");
        // No other neighbour waits any more: it may go on.
        assert!(coordinator.may_repair(endless, Duration::from_secs(130)));
        assert!(coordinator.may_repair(endless, Duration::from_secs(131) + TURN));
    }
}
