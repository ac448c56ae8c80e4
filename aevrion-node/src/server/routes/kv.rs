//! `/v1/kv/{key}`: one value.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;

use crate::moment::{Moment, Span};
use crate::problem::{Kind, Problem};
use crate::report::Placed;
use crate::requests::{self, Put};
use crate::server::answer::{self, Answer};
use crate::server::app::App;
use crate::server::body;
use crate::server::query::Query;
use crate::wire;

const PATH: &str = "/v1/kv/";

pub(super) async fn get(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    let key = wire::key_below(uri.path(), PATH)?;
    let mut query = Query::parse(uri.query())?;
    let at = query.get::<Moment>("at")?;
    query.finish()?;
    // The present is never stable: only requests about the past get the header.
    let stable_until = at.and_then(|_| app.node.stable_until());
    let event = requests::get(&app.node.replica, &key, at).await;
    let event = event.map_err(|error| app.node.unreadable(error))?;
    let response = match event.as_ref().and_then(|event| Some((event.value().data()?, event.event_key()))) {
        Some((data, address)) => {
            let response = answer::value(data.clone());
            let response = answer::with(response, wire::TIMESTAMP, &address.timestamp);
            answer::with(response, wire::ID, &address.id)
        }
        None => {
            let key = key.escape_ascii();
            Problem::new(Kind::NoValue, format!("`{key}` has no value; see its history")).into_response()
        }
    };
    Ok(match stable_until {
        Some(until) => answer::with(response, wire::STABLE_UNTIL, &until),
        None => response,
    })
}

pub(super) async fn put(State(app): State<Arc<App>>, uri: Uri, body: Body) -> Answer {
    let replica = &app.node.replica;
    let mut query = Query::parse(uri.query())?;
    let (ttl, timestamp) = (query.get::<Span>("ttl")?, query.get("timestamp")?);
    query.finish()?;
    let most = usize::try_from(replica.parameters().largest_data).unwrap_or(usize::MAX);
    let body = body::whole(&app.limiters.bodies, body, most).await?;
    let put = Put {
        key: wire::key_below(uri.path(), PATH)?.into(),
        data: body.bytes.clone(),
        ttl: ttl.map(|Span(span)| span),
        timestamp,
    };
    answer::json(&Placed::from(put.write(replica).await?))
}

pub(super) async fn delete(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    let address = app.node.replica.delete(wire::key_below(uri.path(), PATH)?).await?;
    answer::json(&Placed::from(address))
}
