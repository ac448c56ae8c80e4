//! The `aevrion` binary: parses the command line, runs the verb on a running node or a data directory, and exits with a
//! code for the outcome.
//!
//! It is a library only so that a fuzz target reaches the importer (the feature `fuzzing`): its only interface is
//! [`main`]. Programs that embed a replica use `aevrion-core`.

mod backend;
mod cleanup;
mod cli;
mod client;
mod cluster;
mod config;
mod data;
mod demo;
mod drafts;
mod encoding;
mod exit;
mod failure;
mod human;
mod import;
mod memory;
mod moment;
mod output;
mod paging;
mod peer;
mod problem;
mod progress;
mod record;
mod report;
mod requests;
mod rfc3339;
mod sanitize;
mod server;
mod signals;
mod stderr;
mod times;
mod verbs;
mod wire;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    //! Entry points of the targets below `fuzz/`.
    pub use crate::import::fuzz::import;
}

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use cleanup::Cleanup;
use cli::{Cli, Verb};
use failure::Failure;
use signals::Signals;

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { global, verb } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if matches!(verb, Verb::Serve(_)) {
        memory::share_pools();
    }
    let done = log_to_stderr(&verb)
        .and_then(|()| global.told_apart(&matches, &verb))
        .and_then(|global| run(Cli { global, verb }));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit::report(&failure),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start: {error}")))?;
    // A server shuts down gracefully, and a demo removes its files.
    let ends_itself = matches!(cli.verb, Verb::Serve(_) | Verb::Demo { .. });
    let cleanup = Cleanup::default();
    runtime.block_on(async {
        if !ends_itself {
            tokio::spawn(exit_when_told(Signals::listen()?, cleanup.clone()));
        }
        verbs::run(cli, &cleanup).await
    })
}

/// Ends the process at a signal, in the middle of any work: acknowledged writes are durable, and nothing else matters.
async fn exit_when_told(mut signals: Signals, cleanup: Cleanup) {
    let signal = signals.next().await;
    let _closed = cleanup.run();
    exit::now(&signal.failure());
}

/// Logs to standard error, filtered by `AEVRION_LOG`. By default a server logs refused and disconnected peers and its
/// failures: its operator has no other source. A verb reports its own outcome.
fn log_to_stderr(verb: &Verb) -> Result<(), Failure> {
    let usual = if matches!(verb, Verb::Serve(_)) { "warn" } else { "error" };
    let asked = std::env::var("AEVRION_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(usual))
        .map_err(|error| Failure::usage(format!("AEVRION_LOG: {error}: give one such as warn or debug")))?;
    // Failures to log are dropped: reporting them to standard error would end the process.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.without_time().log_internal_errors(false).init();
    Ok(())
}
