//! `/v1/sync` and `/v1/cluster`: synchronisation with neighbours, and membership.

use std::sync::Arc;

use aevrion_core::identity::REMOVAL_BYTES;
use aevrion_core::replication::Peer;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;

use crate::cluster::{ForgetError, TOKENS_BY_FILE};
use crate::moment::Span;
use crate::peer::MemberSelector;
use crate::problem::{Kind, Problem};
use crate::report::{ForgetReport, RemovedNode, SyncReport, WaitReport};
use crate::server::answer::{self, Answer};
use crate::server::app::App;
use crate::server::body;
use crate::server::query::Query;
use crate::wire::LONGEST_WAIT;

pub(super) async fn status(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    let replication = app.node.membership()?.replication();
    answer::json(&SyncReport::new(&replication.neighbours(), &replication.totals(), &replication.refusals()))
}

pub(super) async fn now(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    let replication = app.node.membership()?.replication();
    replication.compare();
    answer::json(&SyncReport::new(&replication.neighbours(), &replication.totals(), &replication.refusals()))
}

/// Waits until every connected neighbour agrees, or for the given time, whichever is sooner.
pub(super) async fn wait(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let mut query = Query::parse(uri.query())?;
    let timeout = query.get::<Span>("timeout")?.map_or(LONGEST_WAIT, |span| span.0);
    query.finish()?;
    let replication = app.node.membership()?.replication();
    let agrees = tokio::select! {
        waited = tokio::time::timeout(timeout.min(LONGEST_WAIT), replication.agreement()) => waited.is_ok(),
        () = app.stopped() => false,
    };
    let root = app.node.replica.root().await?;
    let neighbours = app.node.neighbours();
    answer::json(&WaitReport { agrees, root: root.hash.to_string(), events: root.count, neighbours })
}

/// Join tokens are not issued over HTTP: the client is not authenticated.
pub(super) async fn token() -> Problem {
    Problem::new(Kind::LocalOnly, TOKENS_BY_FILE)
}

/// Forgets a node, or the node at an address.
pub(super) async fn forget(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let mut query = Query::parse(uri.query())?;
    let address = query.get::<Peer>("address")?.map(MemberSelector::Address);
    let node = query.get::<MemberSelector>("node")?;
    query.finish()?;
    let selector = match (node, address) {
        (Some(node @ MemberSelector::IdPrefix(_)), None) => node,
        (None, Some(address)) => address,
        _ => {
            return Err(Problem::bad_request(
                "whom? Give ?node= with the beginning of its id, or ?address=host:port",
            ));
        }
    };
    let forgotten = app.node.membership()?.member_store().forget(&selector).await;
    let forgotten = forgotten.map_err(|error| match error {
        ForgetError::Ambiguous { .. } => Problem::bad_request(error),
        ForgetError::Store(_) => Problem::new(Kind::Failed, error),
    })?;
    answer::json(&ForgetReport::from(&forgotten[..]))
}

/// Removes a node from the cluster, by the statement in the body: the authority has signed it, so any client may send
/// it.
pub(super) async fn remove(State(app): State<Arc<App>>, uri: Uri, body: Body) -> Answer {
    Query::parse(uri.query())?.finish()?;
    let statement = body::whole(&app.limiters.bodies, body, REMOVAL_BYTES).await?;
    let removal = app.node.membership()?.remove(&statement.bytes).await?;
    answer::json(&RemovedNode::from(&removal))
}
