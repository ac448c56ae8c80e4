//! `serve`: the replica of one node, answering over HTTP until it is told to stop.
//!
//! Nothing here decides what an answer is: requests and verbs go to the same functions. This is about who may ask, how
//! much and how long, and about an orderly end: what was begun is finished, and what was acknowledged is there.

mod answer;
mod body;
mod connection;
mod gates;
mod guard;
mod limits;
mod metrics;
mod node;
mod notify;
mod query;
mod routes;
mod signals;
mod stream;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::{Global, Serving};
use crate::exit::{self, Failure};
use crate::output::thousands;
use gates::Gates;
use metrics::Metrics;
pub(crate) use node::Node;
pub(crate) use signals::Signals;

/// What every request can reach.
pub(crate) struct App {
    pub(crate) node: Node,
    metrics: Metrics,
    gates: Gates,
    /// True once the node is to stop.
    stopping: watch::Receiver<bool>,
}

impl App {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the node is to stop.
    async fn stopped(&self) {
        // The sender goes only with the server itself.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }
}

/// Serves until a signal ends it.
pub(crate) async fn run(global: &Global, serving: &Serving) -> Result<(), Failure> {
    // From the beginning: a signal during a long start must not be lost.
    let mut signals = Signals::listen()?;
    let opening = tokio::select! {
        node = Node::open(global, serving) => node,
        () = signals.next() => return Err(Failure::interrupted()),
    };
    let node = opening?;
    let told = serve(&node, serving, signals).await;
    let closed = node.close().await;
    told.and(closed)
}

async fn serve(node: &Node, serving: &Serving, mut signals: Signals) -> Result<(), Failure> {
    let refused = |error| Failure::error(format!("cannot listen on {}: {error}", serving.http));
    let listener = TcpListener::bind(serving.http).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    announce(node, &format!("http://{address}")).await?;

    let (stop, stopping) = watch::channel(false);
    let accepting = serve_on(node.clone(), listener, stopping);
    let ending = async {
        signals.next().await;
        anstream::eprintln!("stopping; a second signal ends it at once");
        notify::tell("STOPPING=1");
        // Whoever listens is still accepting.
        let _ = stop.send(true);
        signals.next().await;
        exit::now(&Failure::interrupted())
    };
    tokio::select! {
        unfinished = accepting => {
            if unfinished > 0 {
                anstream::eprintln!("{unfinished} requests were not finished in time");
            }
        }
        () = ending => {}
    }
    Ok(())
}

/// Answers on `listener` until `stopping` says so, or nobody is left to say it; then lets requests finish. Answers with
/// how many could not in time.
pub(crate) async fn serve_on(node: Node, listener: TcpListener, stopping: watch::Receiver<bool>) -> usize {
    let app = App { node, metrics: Metrics::default(), gates: Gates::new(), stopping };
    connection::accept(listener, Arc::new(app)).await
}

/// Says what is there. The last line is for scripts: once it stands there, the node answers.
async fn announce(node: &Node, endpoint: &str) -> Result<(), Failure> {
    let status = node.status().await?;
    anstream::eprintln!("aevrion {}", env!("CARGO_PKG_VERSION"));
    anstream::eprintln!("node     {}", status.node_id);
    anstream::eprintln!("store    {}, {} events", node.place(), thousands(status.events));
    anstream::eprintln!("peers    {}", node.reached_at());
    anstream::eprintln!("ready    {endpoint}");
    notify::tell("READY=1");
    Ok(())
}
