//! Reports about the node: status, digest, peers, metrics, liveness and readiness.

use std::sync::Arc;

use aevrion_core::Timestamp;
use axum::extract::State;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::moment::Moment;
use crate::problem::Problem;
use crate::report::NeighbourReport;
use crate::server::answer::{self, Answer};
use crate::server::app::App;
use crate::server::metrics;
use crate::server::query::Query;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) async fn status(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    answer::json(&app.node.status().await?)
}

/// Hash and count of a set of events: equal digests mean equal sets.
#[derive(Serialize)]
struct Digest {
    root: String,
    count: u64,
    /// The digest covers the events before this time; all events without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

pub(super) async fn digest(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let replica = &app.node.replica;
    let mut query = Query::parse(uri.query())?;
    let at = query.get::<Moment>("at")?.map(|at| at.resolve(replica.now()));
    query.finish()?;
    let root = match at {
        Some(at) => replica.root_at(at).await?,
        None => replica.root().await?,
    };
    let at = at.map(Timestamp::as_millis);
    answer::json(&Digest { root: root.hash.to_string(), count: root.count, at })
}

/// The node's neighbours.
#[derive(Serialize)]
struct Peers {
    peers: Vec<NeighbourReport>,
}

pub(super) async fn peers(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    answer::json(&Peers { peers: app.node.neighbours() })
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let status = app.node.status().await.ok();
    answer::of(METRICS, metrics::page(&app, status.as_ref()).into())
}

/// The process is running.
pub(super) async fn live() -> Response {
    answer::of(TEXT, "ok\n".into())
}

/// The store answers, and takes writes.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Answer {
    if app.is_stopping() {
        return Err(Problem::stopping());
    }
    let replica = &app.node.replica;
    if let Some(refused) = replica.refuses_writes() {
        return Err(refused.into());
    }
    // Any key will do: the lookup itself must succeed.
    replica.exists("readyz", replica.present()).await?;
    Ok(answer::of(TEXT, "ok\n".into()))
}
