//! `/v1/history/{key}` and `/v1/scan`: pages of events.

use std::sync::Arc;

use aevrion_core::Order;
use aevrion_core::Timestamp;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use crate::paging::Page;
use crate::problem::Problem;
use crate::record::Shown;
use crate::requests::{History, Keys, Scan};
use crate::server::answer::{self, Answer};
use crate::server::app::App;
use crate::server::query::Query;
use crate::wire;

/// A page as JSON.
#[derive(Serialize)]
struct Listed<'p> {
    events: Vec<Shown<'p>>,
    /// The moment that the page shows; the next pages show the same.
    at: u64,
    /// The time before which the page cannot change any more by ordinary lateness.
    stable_until: Option<u64>,
    /// The `cursor` of the next page. A page may be empty and still have a next one.
    next: Option<&'p str>,
}

fn listed(page: &Page, stable_until: Option<Timestamp>) -> Answer {
    answer::json(&Listed {
        events: page.events.iter().map(Shown::new).collect(),
        at: page.at.as_millis(),
        stable_until: stable_until.map(Timestamp::as_millis),
        next: page.next.as_deref(),
    })
}

pub(super) async fn history(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let mut query = Query::parse(uri.query())?;
    let history = History {
        key: wire::key_below(uri.path(), "/v1/history/")?.into(),
        at: query.get("at")?,
        order: if query.switch("reverse")? { Order::NewestFirst } else { Order::OldestFirst },
        limit: query.limit()?,
        cursor: query.text("cursor")?,
    };
    query.finish()?;
    let stable_until = app.node.stable_until();
    let page = history.page(&app.node.replica).await.map_err(|error| app.node.unreadable(error))?;
    listed(&page, stable_until)
}

pub(super) async fn scan(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let mut query = Query::parse(uri.query())?;
    let keys = match (query.bytes("prefix"), query.bytes("from"), query.bytes("to")) {
        (prefix, None, None) => Keys::Prefix(prefix.unwrap_or_default()),
        (None, from, to) => Keys::Range(from.unwrap_or_default(), to),
        _ => return Err(Problem::bad_request("prefix is one span of keys, from and to another: give one")),
    };
    let scan = Scan { keys, at: query.get("at")?, limit: query.limit()?, cursor: query.text("cursor")? };
    query.finish()?;
    let stable_until = app.node.stable_until();
    let page = scan.page(&app.node.replica).await.map_err(|error| app.node.unreadable(error))?;
    listed(&page, stable_until)
}
