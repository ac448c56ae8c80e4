//! The read budget of each neighbour: rows and bytes, at once and per second.
//!
//! A question of twenty bytes can make this node read millions of rows. So questions are paced by their cost, not by
//! their number. Every read on behalf of a neighbour is charged to it once the cost is known, over all its
//! connections. A neighbour whose budget is used up gets no answers until it is refilled. That is no fault: an honest
//! one compares again later.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pace::{Bucket, Rate};
use crate::NodeId;
use crate::bounds::{READ_A_SECOND, READ_AT_ONCE, SCANNED_A_SECOND, SCANNED_AT_ONCE};

/// The number of accounts beyond which those with a full budget are dropped: they carry no information.
const ACCOUNTS: usize = 1_024;

/// Interval of the log messages about a used-up budget, per neighbour.
const TOLD: Duration = Duration::from_secs(60);

/// The read budget of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Rows read from tables.
    pub rows: Rate,
    /// Bytes of events read.
    pub bytes: Rate,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            rows: Rate::a_second(SCANNED_AT_ONCE, SCANNED_A_SECOND),
            bytes: Rate::a_second(READ_AT_ONCE, READ_A_SECOND),
        }
    }
}

/// The budgets of all neighbours of a node.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    each: Budget,
    accounts: Mutex<BTreeMap<NodeId, Account>>,
    declined: AtomicU64,
}

/// The account of one neighbour.
#[derive(Debug, Default)]
struct Account {
    rows: Bucket,
    bytes: Bucket,
    told: Option<Duration>,
}

impl Budgets {
    pub(super) fn of(each: Budget) -> Self {
        Self { each, ..Self::default() }
    }

    /// Rows that may be read for `neighbour` now.
    pub(super) fn rows_left(&self, neighbour: NodeId, now: Duration) -> u64 {
        self.accounts().get(&neighbour).map_or(self.each.rows.at_once, |it| it.rows.left(self.each.rows, now))
    }

    /// When reads for `neighbour` may go on; `None` means now. Some budget must be left: an answer that stops at its
    /// first page helps nobody.
    pub(super) fn used_up_until(&self, neighbour: NodeId, now: Duration) -> Option<Duration> {
        let Budget { rows, bytes } = self.each;
        let a_little = |rate: Rate| (rate.gain / 16).clamp(1, rate.at_once.max(1));
        let accounts = self.accounts();
        let account = accounts.get(&neighbour)?;
        let (rows, bytes) =
            (account.rows.holds_at(a_little(rows), rows), account.bytes.holds_at(a_little(bytes), bytes));
        Some(rows.max(bytes)).filter(|until| *until > now)
    }

    /// Counts and logs a question of `neighbour` left unanswered because its budget is used up.
    pub(super) fn decline(&self, neighbour: NodeId, now: Duration) {
        self.declined.fetch_add(1, Ordering::Relaxed);
        if let Some(account) = self.accounts().get_mut(&neighbour)
            && account.told.is_none_or(|told| told + TOLD <= now)
        {
            account.told = Some(now);
            tracing::warn!(%neighbour, "its questions cost more than may be read for a neighbour: some are declined");
        }
    }

    /// The number of questions left unanswered.
    pub(super) fn declined(&self) -> u64 {
        self.declined.load(Ordering::Relaxed)
    }

    pub(super) fn charge(&self, neighbour: NodeId, (rows, bytes): (u64, u64), now: Duration) {
        let mut accounts = self.accounts();
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(&neighbour) {
            accounts.retain(|_, account| !account.rows.is_full(now) || !account.bytes.is_full(now));
        }
        let account = accounts.entry(neighbour).or_default();
        account.rows.take(rows, self.each.rows, now);
        account.bytes.take(bytes, self.each.bytes, now);
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<NodeId, Account>> {
        // No account can be left half changed.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: Budget = Budget { rows: Rate::a_second(1_000, 160), bytes: Rate::a_second(500, 16) };

    fn id(number: u64) -> NodeId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(id)
    }

    #[test]
    fn each_neighbour_has_a_budget_of_its_own() {
        let budgets = Budgets::of(LITTLE);
        let at = Duration::from_secs;
        budgets.charge(id(1), (1_000, 0), at(1));
        assert_eq!((budgets.rows_left(id(1), at(1)), budgets.rows_left(id(2), at(1))), (0, 1_000));
        let until = budgets.used_up_until(id(1), at(1)).expect("it is used up");
        assert_eq!(until, at(1) + at(1) / 16, "a sixteenth of a second's worth has to be there");
        assert_eq!((budgets.used_up_until(id(1), until), budgets.used_up_until(id(2), at(1))), (None, None));
        budgets.charge(id(2), (0, 500), at(1));
        assert_eq!(budgets.used_up_until(id(2), at(1)), Some(at(1) + at(1) / 16), "bytes are enough");
    }

    #[test]
    fn full_budgets_take_no_room() {
        let budgets = Budgets::of(LITTLE);
        for number in 0..ACCOUNTS as u64 * 2 {
            budgets.charge(id(number), (16, 0), Duration::from_secs(number));
        }
        assert!(budgets.accounts().len() <= ACCOUNTS);
    }
}
