//! Answers: JSON, values, and problem documents.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::limits::RETRY_AFTER;
use crate::problem::{Kind, Problem};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The result of a handler.
pub(super) type Answer = Result<Response, Problem>;

/// A JSON document.
pub(super) fn json(document: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(document).map_err(|error| Problem::new(Kind::Failed, error))?;
    Ok(of(JSON, text.into()))
}

/// A body of this type. Browsers must not sniff another type, least of all a page.
pub(super) fn of(kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A stored value.
pub(super) fn value(data: Bytes) -> Response {
    of(BYTES, data.into())
}

/// Adds a header to an answer.
pub(super) fn with(mut response: Response, name: &'static str, fact: &impl ToString) -> Response {
    // Numbers and hexadecimal digits are always valid header values.
    if let Ok(fact) = HeaderValue::try_from(fact.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(name), fact);
    }
    response
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A problem consists of texts and numbers, which always serialize.
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = of(PROBLEM, text.into());
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}
