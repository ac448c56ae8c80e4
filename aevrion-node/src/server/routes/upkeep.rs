//! `/v1/verify` and `/v1/rebuild`: long work, which says how far it has come until it is done. It is given up when its
//! client leaves or the node stops: it can be begun again at any time, and changes nothing that others would miss. And
//! `/v1/clock/resume`.

use std::sync::Arc;

use aevrion_core::Progress;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::problem::Problem;
use crate::report::{Done, Line, RebuildReport, Step, VerifyReport};
use crate::server::App;
use crate::server::answer::{self, Answer, JSON_LINES};
use crate::server::limits::{HEARTBEAT, PROGRESS};
use crate::server::query::Query;
use crate::server::stream::{self, Gone, Sink};

pub(super) async fn verify(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    begin(&app, &uri, |app, report| async move {
        let found = app.node.replica.verify(report).await?;
        Ok(VerifyReport::from(&found))
    })
}

/// Takes writes again although the clock was set back.
pub(super) async fn resume_clock(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    Query::parse(uri.query())?.finish()?;
    app.node.replica.resume_clock().await?;
    answer::json(&Done { done: true })
}

pub(super) async fn rebuild(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    begin(&app, &uri, |app, report| async move {
        let rebuilt = app.node.replica.rebuild(report).await?;
        Ok(RebuildReport::from(&rebuilt))
    })
}

/// How work says how far it has come.
type Report = Box<dyn FnMut(Progress) + Send>;

fn begin<T, W>(app: &Arc<App>, uri: &Uri, work: impl FnOnce(Arc<App>, Report) -> W) -> Answer
where
    T: Serialize + Send + Sync + 'static,
    W: Future<Output = Result<T, Problem>> + Send + 'static,
{
    Query::parse(uri.query())?.finish()?;
    let place = app.gates.upkeep.enter()?;
    let (told, steps) = watch::channel(None);
    let report: Report = Box::new(move |progress| {
        told.send_replace(Some(Step::from(progress)));
    });
    let (sink, body) = stream::channel();
    tokio::spawn(follow(Arc::clone(app), work(Arc::clone(app), report), steps, sink, place));
    Ok(answer::of(JSON_LINES, body))
}

/// Does the work, and sends how far it has come, and the result.
async fn follow<T: Serialize + Sync>(
    app: Arc<App>,
    work: impl Future<Output = Result<T, Problem>>,
    steps: watch::Receiver<Option<Step>>,
    sink: Sink,
    _place: OwnedSemaphorePermit,
) {
    let telling = tell(steps, &sink);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = telling => return,
        () = app.stopped() => Err(Problem::stopping()),
    };
    let line = outcome.map_or_else(Line::Problem, Line::Result);
    // Whoever is gone does not want it.
    let _ = sink.send_line(&line).await;
}

/// Sends every now and then how far the work has come; ends when nobody listens.
async fn tell(mut steps: watch::Receiver<Option<Step>>, sink: &Sink) {
    let mut ticks = interval(PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sink.gone() => return,
        }
        // Also without news: whoever waits must see that the work goes on.
        if !steps.has_changed().unwrap_or(false) && last.elapsed() < HEARTBEAT {
            continue;
        }
        let step = steps.borrow_and_update().clone();
        let step = step.unwrap_or_else(|| Step { phase: "begin".to_owned(), done: 0, total: 0 });
        if let Err(Gone) = sink.send_line(&Line::<()>::Progress(step)).await {
            return;
        }
        last = Instant::now();
    }
}
