//! How events spread: transmissions, links, and the time from the first transmission until they are everywhere.

use std::fmt;
use std::time::Duration;

/// The greatest number of transmissions for each arrival.
const MOST_REDUNDANCY: f64 = 1.05;

/// How a set of events reached all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The number of events.
    pub events: usize,
    /// The number of their transmissions.
    pub transmissions: u64,
    /// The number of their first arrivals at a node.
    pub arrivals: u64,
    /// The links that 99 of 100 arrivals took at most.
    pub most_hops: u32,
    /// The links that an arrival took at most.
    pub all_hops: u32,
    /// The time that 99 of 100 arrivals took at most.
    pub most_within: Duration,
    /// The time that an arrival took at most.
    pub all_within: Duration,
}

impl Spread {
    /// The spread of so many events, from their arrivals: links and times.
    pub(super) fn new(events: usize, transmissions: u64, arrivals: Vec<(u32, Duration)>) -> Option<Self> {
        let (mut hops, mut times): (Vec<_>, Vec<_>) = arrivals.into_iter().unzip();
        hops.sort_unstable();
        times.sort_unstable();
        let most = hops.len() * 99 / 100;
        Some(Self {
            events,
            transmissions,
            arrivals: hops.len() as u64,
            most_hops: *hops.get(most)?,
            all_hops: *hops.last()?,
            most_within: *times.get(most)?,
            all_within: *times.last()?,
        })
    }

    /// Fails if the events, later ones in a network of known ways, took more transmissions or links than needed. The
    /// farthest node is `reach` links away.
    pub(super) fn judge(&self, reach: u64) -> Result<(), String> {
        if self.redundancy() > MOST_REDUNDANCY {
            return Err(format!("{self}: that is too often"));
        }
        // The quickest way is not the one of the fewest links.
        if u64::from(self.all_hops) > reach * 3 {
            return Err(format!("{self}: that is too far, for the farthest node is {reach} links away"));
        }
        Ok(())
    }

    /// Transmissions of an event for each arrival.
    pub fn redundancy(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let ratio = self.transmissions as f64 / self.arrivals.max(1) as f64;
        ratio
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, most_hops, all_hops, most_within, all_within, .. } = self;
        write!(f, "the later {events} events: sent {:.3} times for each time new", self.redundancy())?;
        write!(f, ", 99 % within {most_hops} links and {most_within:?}")?;
        write!(f, ", all within {all_hops} links and {all_within:?}")
    }
}
