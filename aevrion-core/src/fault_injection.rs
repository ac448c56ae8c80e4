//! Deliberate bugs, to show that the simulation would find them.
//!
//! Each part of the code with a possible serious bug has one condition: whether that bug is planted. Only the testkit
//! can plant one, on its own thread; in every other build `injected` is `false` at compile time and the condition is
//! gone.

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "testkit"), expect(unreachable_pub, reason = "only the testkit offers it"))]
pub enum Bug {
    /// Snapshots are never sent: lost events stay lost.
    NoSnapshots,
    /// Of two events of one key in one millisecond the first to arrive wins, not the one with the greater id.
    TieByArrival,
    /// A write leaves the stored hashes above it unchanged.
    StaleHash,
    /// Reads show events of the future.
    FutureShown,
    /// An event is announced to the neighbour that sent it.
    EchoedAnnouncement,
    /// A neighbour that has events of a source from elsewhere is pushed them all the same.
    NeverPrunes,
    /// A neighbour that takes the events of a source by pushes is neither pushed nor announced them.
    PushOmitted,
    /// Announced events are requested even if they are here already.
    AsksForKnown,
    /// Stored events count as new again.
    KnownIsNew,
    /// A restart forgets the issued timestamps.
    ClockBack,
    /// A write is acknowledged before it is durable.
    AckedTooEarly,
    /// Events of neighbours older than an hour are dropped.
    OldRefused,
    /// Events of neighbours with a value of exactly the largest size are dropped.
    LargestRefused,
    /// Deletions of neighbours are dropped.
    DeletionDropped,
    /// Of two neighbours that differ neither acts.
    NobodyActs,
    /// A question is asked while another one is open.
    TwoQuestions,
    /// Snapshots with the same count are taken for equal.
    CountIsEquality,
    /// A restart forgets the index rows in memory.
    PendingForgotten,
    /// The future is not compared.
    FutureIgnored,
    /// A wrong stored hash stays.
    HashNotHealed,
    /// Expired values stay visible on reads of the past.
    NothingExpires,
    /// A lease ends by the greatest timestamp seen, not by the wall clock.
    ExpiryByLogicalClock,
    /// A node whose clock is far behind its neighbours' takes writes.
    SlowClockWrites,
    /// A batch is stamped beyond the drift.
    BatchPastDrift,
    /// After a failed commit the writer goes on from its memory, although the store could not be read.
    StaleReload,
    /// A write that waits for the clock is not retried.
    WaitingStarves,
    /// The settled time no longer binds the clock.
    SettledForgotten,
    /// An event now and then is left out of the kept cells of one mapping.
    CellForgotten,
    /// An event is removed without storing the kept cells.
    RemovalNotStored,
    /// After a failed commit the kept cells are not taken from the store.
    CellsNotReloaded,
    /// Cells of a span have the events after it in them.
    CellsOfLaterEvents,
    /// Locators are cut down to their leaf, although other events are in it.
    LocatorsTooShort,
    /// A question goes out before the events of the last answer are stored.
    AsksBeforeStored,
    /// The end of an answer does not end the question.
    AnswerWithoutEnd,
    /// Events in flight are taken for a difference.
    FlightIgnored,
    /// The neighbour is not told of the events that it lacks.
    LackedNotTold,
}

#[cfg(feature = "testkit")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static INJECTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug on this thread, or removes it.
    pub fn inject(bug: Option<Bug>) {
        INJECTED.set(bug);
    }

    /// Whether this bug is planted here.
    pub(crate) fn injected(bug: Bug) -> bool {
        INJECTED.get() == Some(bug)
    }
}

#[cfg(feature = "testkit")]
pub use switch::inject;
#[cfg(feature = "testkit")]
pub(crate) use switch::injected;

/// Whether this bug is planted here: never.
#[cfg(not(feature = "testkit"))]
pub(crate) const fn injected(_: Bug) -> bool {
    false
}
