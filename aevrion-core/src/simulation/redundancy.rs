//! Redundant events, which reach a node that has them, and their bounds.
//!
//! In trouble some redundancy is unavoidable. A neighbour pushes an event that another was asked for a moment ago; an
//! event being stored is missing from a list made meanwhile. But each kind has its bound, which a defect exceeds: an
//! announced event requested from everyone, a difference repaired by both sides, new events that loop.
//!
//! The bounds are at least half as much again as the maximum over 2,000 seeds. Frames doubled by the network do not
//! count, nor events lost in flight or refused by a failing disk.

use std::collections::BTreeSet;

use super::plan::{LONGEST_BURST, Plan};
use crate::EventKey;
use crate::agent::Origin;

/// Allowance for small runs: one burst of new events during one repair.
const SLACK: u64 = 30;

/// Allowance for pushes: two bursts, because the neighbours of a repair receive its events from both sides.
const SLACK_OF_PUSHES: u64 = 110;

/// Allowance for pushes with longer bursts: one key written very often at once.
const SLACK_OF_DENSE_PUSHES: u64 = 2 * LONGEST_BURST;

/// The factor on the allowances if the network doubles requests too, each of which is answered.
const HARSH: u64 = 4;

/// Counts of redundant events.
#[derive(Debug, Default)]
pub(super) struct Redundancy {
    /// Events from pushes and announcements.
    pushed: Arrivals,
    /// Events from repairs. Only repeats from the same neighbour count as redundant: events that others sent in the
    /// meantime are no fault of the repair.
    repaired: Arrivals,
    /// The number of announcements of an event to a neighbour.
    announced: u64,
    /// Events that a repair sent from one node to another.
    mended: BTreeSet<(usize, usize, EventKey)>,
}

#[derive(Debug, Default)]
struct Arrivals {
    new: u64,
    again: u64,
}

impl Redundancy {
    /// Counts events announced to a neighbour.
    pub(super) fn announced(&mut self, events: usize) {
        self.announced += events as u64;
    }

    /// Counts events of a neighbour that a node has stored, of which `new` were new to it.
    pub(super) fn stored(&mut self, way: (usize, usize), origin: Origin, came: &[EventKey], new: u64) {
        let arrivals = match origin {
            Origin::Pushed(_) => &mut self.pushed,
            Origin::Repaired(_) | Origin::Local => &mut self.repaired,
        };
        arrivals.new += new;
        arrivals.again += match origin {
            Origin::Pushed(_) => (came.len() as u64).saturating_sub(new),
            Origin::Repaired(_) | Origin::Local => {
                let (from, to) = way;
                let twice = came.iter().filter(|event_key| !self.mended.insert((from, to, **event_key)));
                twice.count() as u64
            }
        };
    }

    /// Records a power cut of a node, which may have lost some received events.
    pub(super) fn crashed(&mut self, node: usize) {
        self.mended.retain(|(_, to, _)| *to != node);
    }

    /// The number of redundant events.
    pub(super) fn again(&self) -> u64 {
        self.pushed.again + self.repaired.again
    }

    /// Fails if a bound is exceeded, in a network with so many links and events.
    pub(super) fn judge(&self, plan: &Plan, links: usize, events: u64) -> Result<(), String> {
        let times = if plan.is_harsh() { HARSH } else { 1 };
        let slack = if plan.dense { LONGEST_BURST } else { SLACK } * times;
        let of_pushes = if plan.dense { SLACK_OF_DENSE_PUSHES } else { SLACK_OF_PUSHES };
        let Arrivals { new, again } = self.pushed;
        if again > new / 2 + of_pushes * times {
            return Err(format!("{again} pushed events came to nodes that had them, and {new} were new"));
        }
        let Arrivals { new, again } = self.repaired;
        if again > new / 10 + slack {
            return Err(format!("{again} repaired events came twice from the same node, and {new} were new"));
        }
        // Once in either direction of a link, if the event was new on both ends at the same time.
        if self.announced > events * links as u64 * 2 + slack {
            return Err(format!("{} announcements of {events} events on {links} links", self.announced));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, NodeId, Timestamp};

    fn events(count: u64) -> Vec<EventKey> {
        let id = EventId::from_bytes([0; 32]);
        (0..count).map(|at| EventKey { timestamp: Timestamp::from_millis(at), id }).collect()
    }

    fn fair() -> Plan {
        (1..).map(Plan::from_seed).find(|plan| !plan.is_harsh() && !plan.dense).unwrap()
    }

    #[test]
    fn what_a_repair_brings_twice_over_one_link_is_too_much() {
        let repaired = Origin::Repaired(NodeId::from_bytes([0; 32]));
        let mut redundancy = Redundancy::default();
        redundancy.stored((0, 1), repaired, &events(100), 100);
        // Another neighbour sent the same: that is no fault of the repair.
        redundancy.stored((2, 1), repaired, &events(100), 0);
        assert_eq!((redundancy.judge(&fair(), 3, 100), redundancy.again()), (Ok(()), 0));
        redundancy.stored((0, 1), repaired, &events(10 + SLACK + 1), 0);
        assert!(redundancy.judge(&fair(), 3, 100).is_err());
        redundancy = Redundancy { repaired: Arrivals { new: 100, again: 10 + SLACK }, ..redundancy };
        assert_eq!(redundancy.judge(&fair(), 3, 100), Ok(()));
    }

    #[test]
    fn a_crash_may_lose_what_came() {
        let repaired = Origin::Repaired(NodeId::from_bytes([0; 32]));
        let mut redundancy = Redundancy::default();
        redundancy.stored((0, 1), repaired, &events(100), 100);
        redundancy.crashed(1);
        redundancy.stored((0, 1), repaired, &events(100), 100);
        assert_eq!(redundancy.again(), 0);
    }

    #[test]
    fn pushes_to_who_has_it_and_announcements_without_end_are_too_much() {
        let pushed = Origin::Pushed(NodeId::from_bytes([0; 32]));
        let mut redundancy = Redundancy::default();
        redundancy.stored((0, 1), pushed, &events(SLACK_OF_PUSHES), 0);
        redundancy.announced(5 * 2 * 3 + usize::try_from(SLACK).unwrap());
        assert_eq!(redundancy.judge(&fair(), 3, 5), Ok(()));
        redundancy.announced(1);
        assert!(redundancy.judge(&fair(), 3, 5).is_err());
        redundancy.stored((0, 1), pushed, &events(1), 0);
        assert!(redundancy.judge(&fair(), 4, 5).is_err());
    }
}
