//! The routes of the HTTP interface and their handlers.

mod about;
mod batch;
mod kv;
mod lists;
mod sync;
mod transfer;
mod upkeep;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::app::App;
use super::{guard, metrics};
use crate::problem::{Kind, Problem};
use crate::wire::check_escapes;

/// The whole interface.
pub(super) fn all(app: &Arc<App>) -> Router {
    // An empty key has a route too, which answers with the rules for keys.
    let kv = || get(kv::get).put(kv::put).delete(kv::delete);
    Router::new()
        .route("/v1/kv/", kv())
        .route("/v1/kv/{key}", kv())
        .route("/v1/history/", get(lists::history))
        .route("/v1/history/{key}", get(lists::history))
        .route("/v1/scan", get(lists::scan))
        .route("/v1/batch", post(batch::batch))
        .route("/v1/watch", get(watch::watch))
        .route("/v1/import", post(transfer::import))
        .route("/v1/export", get(transfer::export))
        .route("/v1/verify", post(upkeep::verify))
        .route("/v1/rebuild", post(upkeep::rebuild))
        .route("/v1/status", get(about::status))
        .route("/v1/digest", get(about::digest))
        .route("/v1/peers", get(about::peers))
        .route("/v1/clock/resume", post(upkeep::resume_clock))
        .route("/v1/sync", get(sync::status))
        .route("/v1/sync/now", post(sync::now))
        .route("/v1/sync/wait", post(sync::wait))
        .route("/v1/cluster/token", post(sync::token))
        .route("/v1/cluster/forget", post(sync::forget))
        .route("/v1/cluster/removals", post(sync::remove))
        .route("/metrics", get(about::metrics))
        .route("/livez", get(about::live))
        .route("/readyz", get(about::ready))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(well_formed))
        .layer(from_fn(guard::check))
        .layer(from_fn_with_state(Arc::clone(app), metrics::count))
        .with_state(Arc::clone(app))
}

async fn no_route(uri: Uri) -> Problem {
    let hint = "keys stand percent-encoded below /v1/kv/, a slash as %2F";
    Problem::new(Kind::NoRoute, format!("there is nothing at {}: {hint}", uri.path()))
}

async fn wrong_method(uri: Uri) -> Problem {
    Problem::new(Kind::WrongMethod, format!("{} takes other methods: see the Allow header", uri.path()))
}

/// Refuses a URL with a malformed escape, on every route: taken literally it would be another key than the client
/// means.
async fn well_formed(request: Request, next: Next) -> Response {
    let uri = request.uri();
    let checked = check_escapes(uri.path()).and_then(|()| check_escapes(uri.query().unwrap_or_default()));
    match checked {
        Ok(()) => next.run(request).await,
        Err(malformed) => Problem::from(malformed).into_response(),
    }
}
