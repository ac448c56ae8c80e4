//! The `aevrion` binary: parses what is asked, does it on a running node or on a data directory, and exits with a code
//! that says how it went.
//!
//! It is a library only so that a fuzz target reaches the importer (the feature `fuzzing`): there is no interface here
//! but [`main`]. Programs that embed a replica use `aevrion-core`.

mod backend;
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
mod import;
mod memory;
mod moment;
mod output;
mod paging;
mod problem;
mod progress;
mod record;
mod report;
mod requests;
mod rfc3339;
mod say;
mod server;
mod signals;
mod text;
mod times;
mod verbs;
mod wire;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    //! What the targets below `fuzz/` call.
    pub use crate::import::fuzz::import;
}

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Verb};
use failure::Failure;
use signals::Signals;

/// Does what the arguments of the process ask for.
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
    // A server ends in its own way: it finishes what it has begun. A demo leaves nothing behind.
    let ends_itself = matches!(cli.verb, Verb::Serve(_) | Verb::Demo { .. });
    runtime.block_on(async {
        if !ends_itself {
            tokio::spawn(exit_when_told(Signals::listen()?));
        }
        verbs::run(cli).await
    })
}

/// Ends the process at once, whatever it is doing: what was acknowledged is safe, and nothing else is needed.
async fn exit_when_told(mut signals: Signals) {
    let signal = signals.next().await;
    drafts::remove_all();
    import::end_git();
    exit::now(&signal.failure());
}

/// What `AEVRION_LOG` asks for. By default a server says whom it turned away or cut off, and what it could not do: whoever
/// runs it has nowhere else to learn of it. A verb says itself how it went.
fn log_to_stderr(verb: &Verb) -> Result<(), Failure> {
    let usual = if matches!(verb, Verb::Serve(_)) { "warn" } else { "error" };
    let asked = std::env::var("AEVRION_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(usual))
        .map_err(|error| Failure::usage(format!("AEVRION_LOG: {error}: give one such as warn or debug")))?;
    // What cannot be logged is lost; said of that, it would end the process.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.without_time().log_internal_errors(false).init();
    Ok(())
}
