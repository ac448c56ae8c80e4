//! A simulation without findings proves nothing unless it can find bugs: each planted bug is found within a few
//! hundred seeds, most within a few dozen.
//!
//! One bug is excluded: never asking on after an answer that did not hold everything. An answer holds megabytes and a
//! simulation kilobytes, so no answer ends early here. Even if one did, the comparison after the repair would find the
//! missing events and repair again, which is slower and not wrong.

use aevrion_core::fault_injection::{Bug, inject};
use aevrion_core::simulation::{Plan, Topology, run};

/// The number of seeds in which a bug must show.
const SEEDS: u64 = 400;

/// Injects a bug and looks for its effects. Returns the run that found it, and the violation.
fn find(bug: Bug, words: &[&str], plan: impl Fn(u64) -> Plan) -> Option<(u64, String)> {
    inject(Some(bug));
    let found = (1..=SEEDS).find_map(|seed| {
        let violation = run(&plan(seed)).err()?;
        println!("{bug:?}: seed {seed}: {}", violation.what);
        words.iter().any(|words| violation.what.contains(words)).then_some((seed, violation.what))
    });
    inject(None);
    found
}

/// A calm network of many nodes, of which each has four neighbours.
fn mesh(seed: u64) -> Plan {
    Plan::from_seed(seed).reshaped(Some(60), Some(Topology::Regular(4))).calmed()
}

macro_rules! catches {
    ($($name:ident: $bug:ident $(in $plan:expr)?, by $words:expr;)*) => { $(
        #[test]
        fn $name() {
            let plans: &[fn(u64) -> Plan] = &[Plan::from_seed $(, $plan)?];
            let plan = plans[plans.len() - 1];
            let Some((seed, what)) = find(Bug::$bug, &$words, plan) else { panic!("not found in {SEEDS} seeds") };
            println!("{:?}: seed {seed}: {what}", Bug::$bug);
        }
    )* };
}

catches! {
    snapshots_that_are_never_sent: NoSnapshots, by ["no agreement"];
    ties_broken_by_arrival: TieByArrival, by ["not what its events say", "than its history says", "does not win"];
    stale_hashes: StaleHash, by ["no agreement", "root is not that of its events", "stored hash was not"];
    a_future_that_is_shown: FutureShown, by ["shows", "than its history says", "not what its events say"];
    announcements_to_where_they_came_from: EchoedAnnouncement, by ["which it has it from"];
    asking_for_what_is_known: AsksForKnown, by ["which it had"];
    asking_everyone: AsksForKnown, by ["came to nodes that had them"];
    known_events_that_are_new_again: KnownIsNew, by ["no agreement", "verify", "root", "too often", "which it has it from"];
    a_clock_that_runs_back_after_a_restart: ClockBack, by ["ran back", "does not win"];
    acknowledgements_before_the_sync: AckedTooEarly, by ["is lost", "does not read what it wrote"];
    old_events_that_are_refused: OldRefused, by ["no agreement"];
    largest_values_that_are_refused: LargestRefused, by ["no agreement"];
    deletions_that_are_not_replicated: DeletionDropped, by ["no agreement"];
    differences_on_which_nobody_acts: NobodyActs, by ["no agreement"];
    two_questions_at_a_time: TwoQuestions, by ["that nobody asked for"];
    counts_taken_for_equality: CountIsEquality, by ["no agreement"];
    index_rows_forgotten_by_a_restart: PendingForgotten, by ["not what its events say", "does not win", "does not read", "than its history says", "ran back", "verify"];
    a_future_that_is_not_compared: FutureIgnored, by ["no agreement"];
    leases_that_end_by_the_clock_of_another: ExpiryByLogicalClock, by ["than its history says"];
    a_slow_clock_that_writes: SlowClockWrites, by ["took a write although"];
    a_batch_past_the_drift: BatchPastDrift, by ["beyond the drift"];
    spoilt_hashes_that_are_not_healed: HashNotHealed, by ["no agreement"];
    going_on_from_stale_memory: StaleReload, by ["does not notice", "ran back", "does not win", "not what its", "is lost", "verify", "no agreement", "not what its events say", "root is not that of its events", "cannot be read", "does not read"];
    waiting_writes_that_starve: WaitingStarves, by ["left hanging", "left waiting"];
    a_settled_time_that_is_written_to: SettledForgotten, by ["told all to be settled"];
    cells_without_an_event: CellForgotten, by ["kept cells are not"];
    locators_of_no_more_than_their_leaf: LocatorsTooShort, by ["no agreement"];
    answers_without_an_end: AnswerWithoutEnd, by ["no agreement"];
    events_in_flight_taken_for_a_difference: FlightIgnored, by ["repairs where there was no trouble"];
    cells_that_are_not_read_again: CellsNotReloaded, by ["kept cells are not"];
    pushes_that_nobody_needs: NeverPrunes in mesh, by ["that is too often"];
    neighbours_that_are_told_nothing: PushOmitted in mesh, by ["did not tell"];
    values_that_do_not_expire: NothingExpires, by ["not what its events say", "than its history says"];
}

/// Without an injected bug nothing is found: otherwise the tests above would show nothing.
#[test]
fn nothing_is_found_where_nothing_is_planted() {
    for seed in 1..=10 {
        run(&Plan::from_seed(seed)).unwrap();
    }
}
