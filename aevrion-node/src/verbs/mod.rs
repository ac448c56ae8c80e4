//! The verbs: each opens what it needs, does one thing, and prints the result.

mod export;
mod generate;
mod history;
mod inspect;
mod scan;
mod values;

use aevrion_core::Replica;

use crate::cli::{Cli, Global, Verb};
use crate::data;
use crate::exit::Failure;
use crate::import;

/// Does what the command line asks for.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.verb {
        Verb::Completions { shell } => return generate::completions(shell),
        Verb::Man => return generate::man(),
        _ => {}
    }
    let global = cli.global.with_file()?;
    let replica = data::open(&global).await?;
    let done = on_replica(&replica, &global, cli.verb).await;
    // What was acknowledged is safe; closing only tidies up. So the verb's own failure is the one to tell.
    let closed = replica.close().await.map_err(|error| Failure::from(error).during("closing the store"));
    done.and(closed)
}

async fn on_replica(replica: &Replica, global: &Global, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Put { key, value, ttl, at } => values::put(replica, global, &key, &value, ttl, at).await,
        Verb::Get { key, at } => values::get(replica, global, &key, at).await,
        Verb::Delete { key } => values::delete(replica, global, &key).await,
        Verb::History { key, at, limit, reverse } => {
            history::run(replica, global, &key, at, limit, reverse).await
        }
        Verb::Scan { prefix, at, limit, from, to } => {
            let span = scan::span(global, prefix.as_deref(), from.as_deref(), to.as_deref())?;
            scan::run(replica, global, span, at, limit).await
        }
        Verb::Import(arguments) => import::run(replica, &arguments).await,
        Verb::Export { file } => export::run(replica, file.as_deref()).await,
        Verb::Status => inspect::status(replica, global).await,
        Verb::Verify => inspect::verify(replica, global).await,
        Verb::Rebuild => inspect::rebuild(replica).await,
        Verb::Completions { .. } | Verb::Man => Ok(()),
    }
}
