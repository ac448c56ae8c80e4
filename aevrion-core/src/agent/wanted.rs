//! Events that were announced: which of them this neighbour is asked for, and which another one was asked for first.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::desk::ASKED_FOR;
use crate::bounds::WANTED_AT_ONCE;
use crate::{Address, Event};

/// How long an event that was asked for is awaited: a little longer than others keep from asking for it, so that
/// what is merely late is not asked for twice.
const AWAIT: Duration = Duration::from_secs(3);

/// What this neighbour has announced and this node did not hold.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    asked: BTreeSet<Address>,
    /// Until when they are awaited.
    awaited: VecDeque<(Duration, Vec<Address>)>,
    /// Asked of others: when to see whether they have come.
    elsewhere: VecDeque<(Duration, Vec<Address>)>,
    left: usize,
}

impl Wanted {
    /// For how many more there is room.
    pub(super) fn room(&self) -> usize {
        WANTED_AT_ONCE.saturating_sub(self.asked.len())
    }

    /// The neighbour is asked for these.
    pub(super) fn ask(&mut self, addresses: &[Address], now: Duration) {
        self.asked.extend(addresses);
        self.awaited.push_back((now + AWAIT, addresses.to_vec()));
    }

    /// Another neighbour is being asked for these. If they are too many to remember, the oldest are left to the next
    /// comparison.
    pub(super) fn leave(&mut self, addresses: Vec<Address>, now: Duration) {
        if addresses.is_empty() {
            return;
        }
        self.left += addresses.len();
        self.elsewhere.push_back((now + ASKED_FOR, addresses));
        while self.left > WANTED_AT_ONCE {
            self.left -= self.elsewhere.pop_front().map_or(self.left, |(_, oldest)| oldest.len());
        }
    }

    /// Those that others had time to bring, or will have had by then.
    pub(super) fn left_until(&mut self, now: Duration) -> Vec<Address> {
        let due = self.elsewhere.iter().take_while(|(until, _)| *until <= now).count();
        let addresses: Vec<_> = self.elsewhere.drain(..due).flat_map(|(_, addresses)| addresses).collect();
        self.left -= addresses.len();
        addresses
    }

    /// These have come. Returns those that were asked for.
    pub(super) fn take(&mut self, events: &[Event]) -> Vec<Address> {
        events.iter().map(Event::address).filter(|address| self.asked.remove(address)).collect()
    }

    /// Some that are still to come.
    pub(super) fn first(&self, most: usize) -> Vec<Address> {
        self.asked.iter().copied().take(most).collect()
    }

    /// Gives up what is overdue.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<Address> {
        let due = self.awaited.iter().take_while(|(until, _)| *until <= now).count();
        let addresses = self.awaited.drain(..due).flat_map(|(_, addresses)| addresses);
        addresses.filter(|address| self.asked.remove(address)).collect()
    }

    /// Gives up everything.
    pub(super) fn give_up(&mut self) -> BTreeSet<Address> {
        std::mem::take(self).asked
    }

    /// When something is overdue, if nothing comes.
    pub(super) fn overdue_at(&self) -> Option<Duration> {
        self.awaited.front().map(|(until, _)| *until)
    }

    /// When others have had time to bring what they were asked for.
    pub(super) fn left_at(&self) -> Option<Duration> {
        self.elsewhere.front().map(|(until, _)| *until)
    }

    /// How much is waited for.
    #[cfg(feature = "testkit")]
    pub(super) fn len(&self) -> usize {
        self.asked.len() + self.awaited.len()
    }
}
