//! The `aevrion` binary: parses what is asked, does it on a running node or on a data directory, and exits with a code
//! that says how it went.

mod backend;
mod cli;
mod client;
mod cluster;
mod config;
mod data;
mod demo;
mod encoding;
mod exit;
mod import;
mod moment;
mod output;
mod paging;
mod problem;
mod progress;
mod record;
mod report;
mod requests;
mod server;
mod verbs;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, Verb};
use exit::Failure;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { global, verb } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    log_to_stderr();
    match global.told_apart(&matches).and_then(|global| run(Cli { global, verb })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start: {error}")))?;
    // A server ends in its own way: it finishes what it has begun. A demo leaves nothing behind.
    if !matches!(cli.verb, Verb::Serve(_) | Verb::Demo { .. }) {
        runtime.spawn(exit_when_interrupted());
    }
    runtime.block_on(verbs::run(cli))
}

/// Ends the process at once, whatever it is doing: what was acknowledged is safe, and nothing else is needed.
async fn exit_when_interrupted() {
    if tokio::signal::ctrl_c().await.is_ok() {
        exit::now(&Failure::interrupted());
    }
}

/// Warnings and errors of the libraries, or what `AEVRION_LOG` asks for.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AEVRION_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
