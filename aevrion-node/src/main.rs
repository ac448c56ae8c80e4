//! The `aevrion` binary: parses what is asked, does it on a data directory, and exits with a code that says how it
//! went.

mod cli;
mod config;
mod data;
mod encoding;
mod exit;
mod import;
mod moment;
mod output;
mod progress;
mod record;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use exit::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start: {error}")))?;
    runtime.spawn(exit_when_interrupted());
    runtime.block_on(verbs::run(cli))
}

/// Ends the process at once, whatever it is doing: what was acknowledged is safe, and nothing else is needed.
async fn exit_when_interrupted() {
    if tokio::signal::ctrl_c().await.is_ok() {
        let failure = Failure::interrupted();
        failure.report();
        std::process::exit(failure.code());
    }
}

/// Warnings and errors of the libraries, or what `AEVRION_LOG` asks for.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AEVRION_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
