//! `/v1/batch`: several writes, all or none.

use std::sync::Arc;

use aevrion_core::store::Durability;
use aevrion_core::{Operation, Value};
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::encoding::from_base64;
use crate::moment::Span;
use crate::problem::Problem;
use crate::report::Placed;
use crate::requests;
use crate::server::answer::{self, Answer};
use crate::server::app::App;
use crate::server::body;
use crate::server::limits::BATCH_BODY;
use crate::server::query::Query;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    ops: Vec<Op>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Put(PutOp),
    Delete(DeleteOp),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutOp {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    ttl: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteOp {
    key: Option<String>,
    key_base64: Option<String>,
}

/// The keys of the new events, in the order of the operations.
#[derive(Serialize)]
struct Written {
    events: Vec<Placed>,
}

pub(super) async fn batch(State(app): State<Arc<App>>, uri: Uri, body: Body) -> Result<Response, Problem> {
    Query::parse(uri.query())?.finish()?;
    let body = body::whole(&app.limiters.bodies, body, BATCH_BODY).await?;
    let batch: Batch = serde_json::from_slice(&body.bytes).map_err(|error| {
        Problem::bad_request(format!(
            "{error}. A batch is {{\"ops\":[{{\"put\":{{\"key\":\"a\",\"value\":\"b\"}}}},{{\"delete\":{{\"key\":\"c\"}}}}]}}"
        ))
    })?;
    write(&app, batch).await
}

async fn write(app: &App, batch: Batch) -> Answer {
    let replica = &app.node.replica;
    // A lease begins by the wall clock.
    let now = replica.present().expiry;
    let mut operations = Vec::with_capacity(batch.ops.len());
    for (number, op) in batch.ops.into_iter().enumerate() {
        let operation = match op {
            Op::Put(put) => put.operation(now),
            Op::Delete(delete) => bytes("key", delete.key, delete.key_base64)
                .map(|key| Operation { key, value: Value::Deletion }),
        };
        let refused = |what| Problem::bad_request(format!("ops[{number}]: {what}"));
        operations.push(operation.map_err(refused)?);
    }
    let addresses = replica.batch(operations, Durability::Immediate).await?;
    answer::json(&Written { events: addresses.into_iter().map(Placed::from).collect() })
}

impl PutOp {
    fn operation(self, now: aevrion_core::Timestamp) -> Result<Operation, String> {
        let key = bytes("key", self.key, self.key_base64)?;
        let data = bytes("value", self.value, self.value_base64)?;
        let ttl = self.ttl.map(|ttl| ttl.parse().map_err(|error| format!("ttl {ttl}: {error}")));
        let ttl = ttl.transpose()?.map(|Span(span)| span);
        Ok(Operation { key, value: requests::value(data, ttl, || now) })
    }
}

/// Bytes given as text or as base64.
fn bytes(name: &str, text: Option<String>, base64: Option<String>) -> Result<Bytes, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(text)) => {
            from_base64(&text).map(Bytes::from).map_err(|error| format!("{name}_base64: {error}"))
        }
        (None, None) => Err(format!("{name} is missing: give {name}, or {name}_base64")),
        (Some(_), Some(_)) => Err(format!("{name} is there twice: give {name} or {name}_base64")),
    }
}
