//! Two sides that hold the same events for both contenders, and the comparisons between them.

use std::time::Duration;

use aevrion_core::{Event, Parameters};
use negentropy::{Id, NegentropyStorageVector};

use crate::histories::NOW;
use crate::pair::{Pair, size_of_event};
use crate::range_based::reconcile;
use crate::table::{Cost, OurCost, Row, print_row};

/// The limits of negentropy's frames in bytes: none, and one for transports of short messages.
const LIMITS: [u64; 2] = [0, 60_000];

pub(crate) struct Sides {
    pair: Pair,
    sets: [NegentropyStorageVector; 2],
}

impl Sides {
    /// Two sides with the same events, not yet connected.
    pub(crate) async fn new(events: Vec<Event>) -> Self {
        let pair = Pair::new(Parameters::default(), NOW).await;
        let mut sides = Self { pair, sets: Default::default() };
        for side in 0..2 {
            sides.add_to_set(side, &events);
            sides.pair.hold(side, events.clone()).await;
        }
        sides
    }

    /// Adds events to negentropy's set of a side.
    fn add_to_set(&mut self, side: usize, events: &[Event]) {
        let set = &mut self.sets[side];
        set.unseal().unwrap();
        for event in events {
            let id = Id::from_byte_array(*event.id().as_bytes());
            set.insert(event.timestamp().as_millis(), id).unwrap();
        }
        set.seal().unwrap();
    }

    fn by_ranges(&self, differences: usize) -> [Cost; 2] {
        LIMITS.map(|limit| reconcile(&self.sets, limit, differences))
    }

    /// The comparison of equal sides that connect.
    pub(crate) async fn connect(&mut self, name: &str) {
        let theirs = self.by_ranges(0);
        self.pair.begin_to_count();
        self.pair.connect().await;
        print_row(name, &self.cost(self.pair.compared, 0), &theirs);
    }

    /// The comparison of equal sides in the next minute.
    pub(crate) async fn pass_minute(&mut self, name: &str) {
        let theirs = self.by_ranges(0);
        self.pair.begin_to_count();
        self.pair.pass_time(Duration::from_secs(60)).await;
        print_row(name, &self.cost(self.pair.compared, 0), &theirs);
    }

    /// As [`Sides::repair`], with events that only the side `lacking` lacks.
    pub(crate) async fn fill(&mut self, name: &str, lacking: usize, events: Vec<Event>) -> Row {
        let mut differences = [Vec::new(), Vec::new()];
        differences[1 - lacking] = events;
        self.repair(name, differences).await
    }

    /// Adds events to each side, and connects them anew until both hold the same.
    ///
    /// # Panics
    /// If they then differ.
    pub(crate) async fn repair(&mut self, name: &str, [here, there]: [Vec<Event>; 2]) -> Row {
        self.add_to_set(0, &here);
        self.add_to_set(1, &there);
        let theirs = self.by_ranges(here.len() + there.len());
        let events = here.iter().chain(&there).map(size_of_event).sum();
        self.add_to_set(0, &there);
        self.add_to_set(1, &here);
        self.pair.hold(0, here).await;
        self.pair.hold(1, there).await;
        self.pair.begin_to_count();
        self.pair.reconnect().await;
        self.pair.pass_time(Duration::from_secs(2)).await;
        assert!(self.pair.agree().await, "{name}: they differ:\n{}", self.pair.transcript);
        let row = (self.cost(self.pair.repaired, events), theirs);
        print_row(name, &row.0, &row.1);
        row
    }

    /// The cost of the frames since the count began, of which the first `turns` and `bytes` did the work. `events` is the
    /// length of the missing events; an event that came again is a cost.
    fn cost(&self, (turns, bytes): (u64, u64), events: u64) -> OurCost {
        let seconds = self.pair.computing.as_secs_f64();
        OurCost {
            work: Cost { bytes: bytes - events, round_trips: turns as f64 / 2.0, seconds },
            bytes_to_rest: self.pair.bytes() - events,
        }
    }
}
