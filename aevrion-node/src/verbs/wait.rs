//! `sync wait`: waits until every connected neighbour holds the same events, and shows people the progress meanwhile.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use aevrion_core::replication::NeighbourState;

use super::neighbours::connected;
use crate::backend::Backend;
use crate::cli::{Format, Global};
use crate::failure::Failure;
use crate::human::{counted, thousands};
use crate::output::{print_document, print_fields};
use crate::progress::{self, Bar, Counts};
use crate::report::{NeighbourReport, WaitReport};
use crate::wire::LONGEST_WAIT;

/// Interval of updates to the bar.
const INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn run(backend: &Backend, global: &Global) -> Result<(), Failure> {
    let timeout = global.timeout();
    // In parallel: a waiting node does not answer before its wait is over.
    let report = tokio::select! {
        report = wait(backend, timeout) => report?,
        never = show(backend), if progress::is_seen() => match never {},
    };
    if !report.agrees {
        return Err(Failure::not_converged(why_not(&report, timeout)));
    }
    if let format @ (Format::Json | Format::Jsonl) = global.output.unwrap_or_default() {
        return print_document(format, &report);
    }
    print_fields(&[
        (
            "agrees",
            format!("this node and {}", counted(connected(&report.neighbours).count() as u64, "neighbour")),
        ),
        ("events", thousands(report.events)),
        ("root", report.root),
    ])
}

/// The node's report when all agree, or after the timeout.
async fn wait(backend: &Backend, timeout: Duration) -> Result<WaitReport, Failure> {
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let report = backend.sync_wait(left.min(LONGEST_WAIT)).await?;
        if report.agrees || began.elapsed() >= timeout {
            return Ok(report);
        }
    }
}

/// Shows the progress until dropped.
async fn show(backend: &Backend) -> Infallible {
    let mut bar = Bar::new("sync", Counts::ToGo);
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut before = None;
    loop {
        ticks.tick().await;
        // A failing node ends the wait too, and the error is reported there.
        let Ok(report) = backend.sync_status().await else { continue };
        let now = SyncProgress::of(&report.neighbours);
        // A new connection counts from zero.
        let done = now.moved.saturating_sub(*before.get_or_insert(now.moved));
        bar.set_left(done, now.to_go, &now.agreement());
    }
}

/// The combined progress of all neighbours.
struct SyncProgress {
    connected: usize,
    agreeing: usize,
    /// Events transferred by repairs.
    moved: u64,
    /// Events still to transfer, as far as known. Two neighbours may lack or offer the same events, so this is the
    /// largest figure of all neighbours.
    to_go: u64,
}

impl SyncProgress {
    fn of(neighbours: &[NeighbourReport]) -> Self {
        Self {
            connected: connected(neighbours).count(),
            agreeing: neighbours.iter().filter(|one| one.is(NeighbourState::Agrees)).count(),
            moved: neighbours.iter().map(|one| one.received + one.sent).sum(),
            to_go: neighbours.iter().filter_map(|one| one.behind).max().unwrap_or(0),
        }
    }

    fn agreement(&self) -> String {
        match self.connected {
            0 => "no neighbour is connected".to_owned(),
            connected => format!("{} of {connected} agree", self.agreeing),
        }
    }
}

fn why_not(report: &WaitReport, timeout: Duration) -> String {
    if connected(&report.neighbours).count() == 0 {
        return format!("no neighbour was connected within {timeout:?}: see `aevrion sync status`");
    }
    let open = connected(&report.neighbours).filter(|neighbour| !neighbour.is(NeighbourState::Agrees));
    let open = open.map(|one| match one.behind {
        Some(behind) => format!("{} {}, {} behind", one.address, one.state, thousands(behind)),
        None => format!("{} {}", one.address, one.state),
    });
    let open: Vec<_> = open.collect();
    format!("no agreement within {timeout:?}: {}", open.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_neighbours_together() {
        let neighbour = |state: NeighbourState, behind: Option<u64>, received, sent| NeighbourReport {
            behind,
            received,
            sent,
            ..NeighbourReport::listed(None, state.name())
        };
        let gone = neighbour(NeighbourState::Unreachable, None, 0, 0);
        let nobody = SyncProgress::of(std::slice::from_ref(&gone));
        assert_eq!((nobody.to_go, nobody.agreement()), (0, "no neighbour is connected".into()));
        let some = [
            neighbour(NeighbourState::Agrees, Some(0), 5, 1),
            neighbour(NeighbourState::Repairing, Some(7), 2, 0),
            neighbour(NeighbourState::Repairing, Some(6), 0, 0),
            gone,
        ];
        let some = SyncProgress::of(&some);
        assert_eq!((some.moved, some.to_go, some.agreement()), (8, 7, "1 of 3 agree".into()));
    }
}
