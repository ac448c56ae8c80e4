//! `/v1/import` and `/v1/export`: many events, as lines of JSON.

use std::sync::Arc;

use aevrion_core::{Export, Inserted};
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use tokio::sync::OwnedSemaphorePermit;

use crate::import::{self, Message};
use crate::problem::{Kind, Problem};
use crate::record::Shown;
use crate::report::{ImportReport, Line};
use crate::server::answer::{self, Answer, JSON_LINES};
use crate::server::app::App;
use crate::server::body;
use crate::server::limits::ERRORS_LISTED;
use crate::server::query::Query;
use crate::server::stream::{self, Gone, Sink};

pub(super) async fn import(State(app): State<Arc<App>>, uri: Uri, body: Body) -> Answer {
    let mut query = Query::parse(uri.query())?;
    let skip_bad = query.switch("skip_bad")?;
    query.finish()?;
    let _permit = app.limiters.imports.try_acquire()?;
    let replica = &app.node.replica;
    let mut messages = import::read_lines(body::reader(body), replica.parameters(), skip_bad);
    let mut import = replica.import();
    let mut report = ImportReport::default();
    let mut stopped = None;
    while let Some(message) = messages.recv().await {
        match message {
            Message::Batch(events) => {
                for event in events {
                    import.push(event).await.map_err(|error| partly(error, import.inserted()))?;
                }
            }
            Message::Skipped(what) => {
                report.skipped += 1;
                if report.errors.len() < ERRORS_LISTED {
                    report.errors.push(what);
                }
            }
            Message::Stopped(stop) => stopped = Some(stop),
            Message::Ended(_) => {}
        }
    }
    import.settle().await.map_err(|error| partly(error, import.inserted()))?;
    let inserted = import.inserted();
    if let Some(stop) = stopped {
        let advice = stop.advice(inserted, import::BAD_LINES, "?skip_bad");
        let detail = [Some(stop.why), advice].into_iter().flatten().collect::<Vec<_>>().join("\n");
        return Err(Problem::new(Kind::NotStorable, detail).after(inserted));
    }
    answer::json(&ImportReport { new: inserted.new, known: inserted.known, ..report })
}

/// The store stopped taking events.
fn partly(error: impl Into<Problem>, inserted: Inserted) -> Problem {
    error.into().after(inserted)
}

pub(super) async fn export(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    let permit = app.limiters.exports.try_acquire()?;
    let export = app.node.replica.export()?;
    let (sink, body) = stream::channel();
    tokio::spawn(send_all(export, sink, permit));
    Ok(answer::of(JSON_LINES, body))
}

/// Sends every event. If one cannot be read, the last line is the error, and the body breaks off: neither a program
/// that reads lines nor one that only checks the end can take it for complete.
async fn send_all(mut export: Export, sink: Sink, _permit: OwnedSemaphorePermit) {
    loop {
        let events = match export.next().await {
            Ok(Some(events)) => events,
            Ok(None) => return,
            Err(error) => {
                let why = error.to_string();
                if sink.send_line(&Line::<()>::Problem(error.into())).await.is_ok() {
                    sink.abort(why).await;
                }
                return;
            }
        };
        let mut lines = Vec::new();
        for event in &events {
            // Only data that is not text fails to serialize; an event always serializes.
            if serde_json::to_writer(&mut lines, &Shown::new(event)).is_err() {
                return sink.abort("an event cannot be written").await;
            }
            lines.push(b'\n');
        }
        if let Err(Gone) = sink.send(lines).await {
            return;
        }
    }
}
