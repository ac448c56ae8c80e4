//! `demo`: three nodes in this process, over QUIC, with stores on disk: they agree, are partitioned, and converge.
//!
//! Everything works as in a cluster of three machines: the authority, tokens, joining, stores, repairs, servers. Only
//! the places differ: loopback, and one temporary directory. The demo needs and changes no existing data, and leaves
//! nothing behind, however it ends.

mod member;
mod screen;
mod stay;
mod story;

use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;
use crate::signals::Signals;
use member::Member;
use screen::Screen;

/// Time limit of the nodes' orderly shutdown. A second signal ends it at once.
const PARTING: Duration = Duration::from_secs(10);

/// Runs the demo; without `exit`, keeps the nodes running until interrupted.
pub(crate) async fn run(exit: bool) -> Result<(), Failure> {
    if !cfg!(all(feature = "quic", feature = "redb")) {
        return Err(Failure::error(
            "the demo needs QUIC and redb: build this program with `--features quic,redb`",
        ));
    }
    let mut signals = Signals::listen()?;
    let place = tempfile::Builder::new().prefix("aevrion-demo-").tempdir();
    let place = place.map_err(|error| Failure::error(format!("no directory for the demo: {error}")))?;
    let mut members = Vec::new();
    let shown = show(exit, place.path(), &mut members, &mut signals).await;
    let parting = part(members);
    tokio::select! {
        _ = tokio::time::timeout(PARTING, parting) => {}
        _ = signals.next() => {}
    }
    let path = place.path().display().to_string();
    let removed = place.close();
    shown.and(removed.map_err(|error| Failure::error(format!("{path} could not be removed: {error}"))))
}

async fn show(
    exit: bool,
    place: &Path,
    members: &mut Vec<Member>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut screen = Screen::new();
    tokio::select! {
        told = story::tell(&mut screen, place, members) => told?,
        signal = signals.next() => return Err(signal.failure()),
    }
    // Without a reader of their addresses, no one would use or end them.
    if exit || screen.is_left() {
        return Ok(());
    }
    stay::serve(&mut screen, members, signals).await
}

/// Shuts all nodes down. Errors are ignored: the directory is removed next.
async fn part(members: Vec<Member>) {
    for member in members {
        if let Err(failure) = member.close().await {
            tracing::warn!(%failure, "a node of the demo did not close");
        }
    }
}
