//! `serve`: the replica of one node, answering over HTTP until it is told to stop.
//!
//! The answers are not decided here: requests and verbs call the same functions. This module decides about access,
//! limits and time, and about an orderly end: work in progress is finished, and acknowledged writes are durable.

mod alarms;
mod answer;
mod app;
mod body;
mod connection;
mod counters;
mod descriptors;
mod guard;
mod limiters;
mod limits;
mod metrics;
mod node;
mod notify;
mod query;
mod routes;
mod scrub;
mod stall;
mod status;
mod stream;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::{Global, Serving};
use crate::exit;
use crate::failure::Failure;
use crate::human::thousands;
use crate::signals::Signals;
use crate::stderr::say;
use app::App;
pub(crate) use node::Node;

/// Serves until a signal ends it. Before the first request can arrive, and after the last, a signal ends the process at
/// once: acknowledged writes are durable, and a store survives a sudden end.
pub(crate) async fn run(global: &Global, serving: &Serving) -> Result<(), Failure> {
    // Installed first: a signal during a long start must not be lost.
    let mut signals = Signals::listen()?;
    descriptors::provide();
    let (global, serving) = (global.clone(), serving.clone());
    let opening = {
        let serving = serving.clone();
        async move { Node::open(&global, &serving).await }
    };
    let node = unless_told(&mut signals, opening).await?;
    let told = serve(&node, &serving, &mut signals).await;
    let closed = unless_told(&mut signals, async move { node.close().await }).await;
    told.and(closed)
}

/// Does some work on a thread of its own, so that a slow disk does not delay the signal.
async fn unless_told<T: Send + 'static>(
    signals: &mut Signals,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    tokio::select! {
        done = tokio::spawn(work) => done.map_err(Failure::error)?,
        signal = signals.next() => exit::now(&signal.failure()),
    }
}

async fn serve(node: &Node, serving: &Serving, signals: &mut Signals) -> Result<(), Failure> {
    let refused =
        |error| Failure::error(format!("cannot listen on {}: {error}. Give another --http", serving.http));
    let listener = TcpListener::bind(serving.http).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    announce(node, &format!("http://{address}")).await?;

    let (stop, stopping) = watch::channel(false);
    let accepting = serve_on(node.clone(), listener, stopping);
    let ending = async {
        signals.next().await;
        say!("stopping; a second signal ends it at once");
        notify::tell("STOPPING=1");
        // The receiver is still accepting.
        let _ = stop.send(true);
        exit::now(&signals.next().await.failure())
    };
    tokio::select! {
        unfinished = accepting => {
            if unfinished > 0 {
                say!("{unfinished} requests were not finished in time");
            }
        }
        () = ending => {}
        // A process that cannot write any more is useless: its supervisor starts another.
        reason = node.replica.died() => {
            return Err(Failure::error(format!("the writer has died, so this node ends: {reason}")));
        }
    }
    Ok(())
}

/// Answers on `listener` until `stopping` is true or its sender is gone; then lets requests finish. Returns the number
/// of those that could not in time.
pub(crate) async fn serve_on(node: Node, listener: TcpListener, stopping: watch::Receiver<bool>) -> usize {
    let app = Arc::new(App::new(node, stopping));
    tokio::select! {
        unfinished = connection::accept(listener, Arc::clone(&app)) => unfinished,
        never = alarms::tell(&app.node) => match never {},
    }
}

/// Prints the node's addresses. The last line is for scripts: once it is printed, the node answers.
async fn announce(node: &Node, endpoint: &str) -> Result<(), Failure> {
    let status = node.status().await?;
    say!("aevrion {}", env!("CARGO_PKG_VERSION"));
    say!("node     {}", status.node_id);
    say!("store    {}, {} events", node.place(), thousands(status.events));
    say!("listens  {}", node.reached_at());
    say!("ready    {endpoint}");
    notify::tell("READY=1");
    Ok(())
}
