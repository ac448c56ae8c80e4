//! The only source of elapsed time in the replica and the replication: the runtime's clock, which tests can pause.
//!
//! It stands above the agent and all that decides what is stored, so that none of them can read it: they take the time
//! as an argument.

use std::time::Duration;

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time since `moment`; zero if that is yet to come.
pub(crate) fn since(moment: Instant) -> Duration {
    now().saturating_duration_since(moment)
}
