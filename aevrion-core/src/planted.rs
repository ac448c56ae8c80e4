//! Bugs on purpose, so that the simulation can show that it would find them.
//!
//! Where the code could go wrong in a way that matters, one condition asks whether that very bug is planted. Only the
//! testkit can plant one, on its own thread; in every other build `planted` is `false` at compile time and the
//! condition is gone.

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "testkit"), expect(unreachable_pub, reason = "only the testkit offers it"))]
pub enum Bug {
    /// Snapshots are never sent: what was lost on the way stays lost.
    NoSnapshots,
    /// Of two events of one key in one millisecond the first to arrive wins, not the one with the greater id.
    TieByArrival,
    /// A write leaves the stored hashes above it as they were.
    StaleHash,
    /// Reads show events whose time has not come.
    FutureShown,
    /// An event is announced to the neighbour that it came from.
    EchoedAnnouncement,
    /// What is announced is asked for even if it is here already.
    AsksForKnown,
    /// What is stored already counts as new again.
    KnownIsNew,
    /// A restart forgets which timestamps were issued.
    ClockBack,
    /// A write is acknowledged before it is durable.
    AckedTooEarly,
    /// Events of neighbours that are more than an hour old are dropped.
    OldRefused,
    /// Events of neighbours with a value of exactly the greatest size are dropped.
    LargestRefused,
    /// Deletions of neighbours are dropped.
    DeletionDropped,
    /// Of two neighbours that differ neither acts.
    NobodyActs,
    /// Of two neighbours that differ both look into it, and wish for what is on its way.
    BothAct,
    /// Snapshots with the same count are taken for equal.
    CountIsEquality,
    /// A restart forgets the index rows that were only in memory.
    PendingForgotten,
    /// The future is not compared.
    FutureIgnored,
    /// A stored hash that is found to be wrong stays.
    HashNotHealed,
    /// Expired values stay visible on reads of the past.
    NothingExpires,
    /// A lease ends by the greatest timestamp seen, not by the wall clock.
    ExpiryByLogicalClock,
    /// A node whose clock is far behind its neighbours' takes writes.
    SlowClockWrites,
    /// A batch is stamped beyond the drift.
    BatchPastDrift,
    /// After a failed commit the writer goes on from what it remembers, although the store could not be read.
    StaleReload,
    /// A write that waits for the clock is not tried again.
    WaitingStarves,
    /// What was told to be settled binds the clock no more.
    SettledForgotten,
}

#[cfg(feature = "testkit")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug on this thread, or takes it out again.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether this bug is planted here.
    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "testkit")]
pub use switch::plant;
#[cfg(feature = "testkit")]
pub(crate) use switch::planted;

/// Whether this bug is planted here: never.
#[cfg(not(feature = "testkit"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
