//! `/v1/verify` and `/v1/rebuild`: long work, with progress reports. It is cancelled when its client leaves or the node
//! stops: it can be restarted at any time, and its partial changes do no harm. And `/v1/clock/resume`.

use std::sync::Arc;

use aevrion_core::Progress;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::problem::Problem;
use crate::report::{Done, Line, ProgressReport, RebuildReport, VerifyReport};
use crate::server::answer::{self, Answer, JSON_LINES};
use crate::server::app::App;
use crate::server::limits::{HEARTBEAT, PROGRESS};
use crate::server::query::Query;
use crate::server::stream::{self, Gone, Sink};

pub(super) async fn verify(State(app): State<Arc<App>>, uri: Uri) -> Answer {
    begin(&app, &uri, |app, report| async move {
        let found = app.node.replica.verify(report).await?;
        Ok(VerifyReport::from(&found))
    })
}

/// Accepts writes again although the clock was set back.
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

/// The callback for progress.
type Report = Box<dyn FnMut(Progress) + Send>;

fn begin<T, W>(app: &Arc<App>, uri: &Uri, work: impl FnOnce(Arc<App>, Report) -> W) -> Answer
where
    T: Serialize + Send + Sync + 'static,
    W: Future<Output = Result<T, Problem>> + Send + 'static,
{
    Query::parse(uri.query())?.finish()?;
    let permit = app.limiters.upkeep.try_acquire()?;
    let (told, steps) = watch::channel(None);
    let report: Report = Box::new(move |progress| {
        told.send_replace(Some(ProgressReport::from(progress)));
    });
    let (sink, body) = stream::channel();
    tokio::spawn(follow(Arc::clone(app), work(Arc::clone(app), report), steps, sink, permit));
    Ok(answer::of(JSON_LINES, body))
}

/// Does the work, and sends its progress and its result.
async fn follow<T: Serialize + Sync>(
    app: Arc<App>,
    work: impl Future<Output = Result<T, Problem>>,
    steps: watch::Receiver<Option<ProgressReport>>,
    sink: Sink,
    _permit: OwnedSemaphorePermit,
) {
    let telling = tell(steps, &sink);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = telling => return,
        () = app.stopped() => Err(Problem::stopping()),
    };
    let line = outcome.map_or_else(Line::Problem, Line::Result);
    // A client that has gone does not need it.
    let _ = sink.send_line(&line).await;
}

/// Sends the progress at intervals; ends when the client has gone.
async fn tell(mut steps: watch::Receiver<Option<ProgressReport>>, sink: &Sink) {
    let mut ticks = interval(PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sink.gone() => return,
        }
        // Also without progress: the client must see that the work goes on.
        if !steps.has_changed().unwrap_or(false) && last.elapsed() < HEARTBEAT {
            continue;
        }
        let step = steps.borrow_and_update().clone();
        let step = step.unwrap_or_else(|| ProgressReport { phase: "begin".to_owned(), done: 0, total: 0 });
        if let Err(Gone) = sink.send_line(&Line::<()>::Progress(step)).await {
            return;
        }
        last = Instant::now();
    }
}
