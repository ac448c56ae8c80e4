//! `demo`: three nodes in this process, over QUIC, with stores on disk: they agree, are cut apart, and mend themselves.
//!
//! Everything is what a cluster of three machines would do: the authority, the tokens, the joining, the stores, the
//! repairs, the servers. Only the places are not: loopback, and one directory for the time of the show. It needs
//! nothing, touches nothing that is there, and leaves nothing behind, however it ends.

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

/// How long the nodes may take to part from each other in an orderly way. Whoever cannot wait interrupts again.
const PARTING: Duration = Duration::from_secs(10);

/// Shows it; unless told to exit, keeps the nodes running until interrupted.
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
    // Without anyone who reads where they are, nobody would end them either.
    if exit || screen.is_left() {
        return Ok(());
    }
    stay::serve(&mut screen, members, signals).await
}

/// Lets everyone go. What fails now concerns nobody: the directory is removed next.
async fn part(members: Vec<Member>) {
    for member in members {
        if let Err(failure) = member.close().await {
            tracing::warn!(%failure, "a node of the demo did not close");
        }
    }
}
