//! The verbs: each sends one request to the backend, and prints the result.

mod cluster;
mod export;
mod generate;
mod history;
mod inspect;
mod neighbours;
mod remove;
mod scan;
mod sync;
mod values;
mod wait;
mod watch;

use crate::backend::{self, Backend};
use crate::cleanup::Cleanup;
use crate::cli::{Cli, ClockVerb, Global, Verb};
use crate::data::Purpose;
use crate::demo;
use crate::failure::Failure;
use crate::import;
use crate::server;

/// Runs the command.
pub(crate) async fn run(cli: Cli, cleanup: &Cleanup) -> Result<(), Failure> {
    let Cli { global, verb } = cli;
    let verb = match verb {
        Verb::Completions { shell } => return generate::completions(shell),
        Verb::Man => return generate::man(),
        // Under any settings: it uses no existing data.
        Verb::Demo { exit } => return demo::run(exit).await,
        verb => verb,
    };
    let (global, file) = global.with_file()?;
    let verb = match verb {
        Verb::Cluster(verb) => return cluster::run(&global, file, verb).await,
        Verb::Serve(arguments) => return server::run(&global, &arguments.with_file(file)?).await,
        // Checked before a directory is created for nothing.
        Verb::Sync(_) if global.data.is_some() => return Err(backend::needs_a_node()),
        Verb::Import(arguments) => {
            let file = import::ImportSource::new(&arguments, cleanup)?;
            if arguments.dry_run {
                return file.show(global.output.unwrap_or_default()).await;
            }
            return on(&global, Purpose::Write, async |backend| file.import(backend).await).await;
        }
        verb => verb,
    };
    on(&global, purpose(&verb), async |backend| on_backend(backend, &global, verb, cleanup).await).await
}

/// The purpose for which a verb opens a store.
fn purpose(verb: &Verb) -> Purpose {
    match verb {
        Verb::Put { .. } | Verb::Delete { .. } => Purpose::Write,
        Verb::Rebuild | Verb::Clock(_) => Purpose::Mend,
        _ => Purpose::Read,
    }
}

/// Runs a verb on the store, or the node.
async fn on(
    global: &Global,
    purpose: Purpose,
    work: impl AsyncFnOnce(&Backend) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let backend = Backend::open(global, purpose).await?;
    let done = work(&backend).await;
    // Acknowledged writes are durable; closing only tidies up. So the verb's own failure takes precedence.
    let closed = backend.close().await;
    done.and(closed)
}

async fn on_backend(
    backend: &Backend,
    global: &Global,
    verb: Verb,
    cleanup: &Cleanup,
) -> Result<(), Failure> {
    match verb {
        Verb::Put { key, value, ttl, at } => values::put(backend, global, &key, &value, ttl, at).await,
        Verb::Get { key, at } => values::get(backend, global, &key, at).await,
        Verb::Delete { key } => values::delete(backend, global, &key).await,
        Verb::History { key, at, limit, reverse } => {
            history::run(backend, global, &key, at, limit, reverse).await
        }
        Verb::Scan { prefix, at, limit, from, to } => {
            let keys = scan::keys(global, prefix.as_deref(), from.as_deref(), to.as_deref())?;
            scan::run(backend, global, keys, at, limit).await
        }
        Verb::Watch { prefix, from } => watch::run(backend, global, prefix.as_deref(), from).await,
        Verb::Export { file, format } => export::run(backend, file.as_deref(), format, cleanup).await,
        Verb::Status => inspect::status(backend, global).await,
        Verb::Verify => inspect::verify(backend, global).await,
        Verb::Rebuild => inspect::rebuild(backend, global).await,
        Verb::Sync(verb) => sync::run(backend, global, verb).await,
        Verb::Clock(ClockVerb::Resume) => inspect::resume_clock(backend, global).await,
        Verb::Cluster(_)
        | Verb::Demo { .. }
        | Verb::Import(_)
        | Verb::Serve(_)
        | Verb::Completions { .. }
        | Verb::Man => Ok(()),
    }
}
