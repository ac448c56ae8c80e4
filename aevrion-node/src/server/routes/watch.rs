//! `/v1/watch`: events as they arrive, as server-sent events.
//!
//! The id of each event is the cursor behind it, so that a client that reconnects with `Last-Event-ID`, as browsers do
//! by themselves, resumes without gap or repeat. The first block and every heartbeat carry a cursor too: so a client
//! can resume before the first event, and while all events have other prefixes.

use std::sync::Arc;

use aevrion_core::{Cursor, ReadError, Watch, WatchError, Watched};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::problem::Problem;
use crate::record::Shown;
use crate::server::answer::{self, Answer};
use crate::server::app::App;
use crate::server::limits::HEARTBEAT;
use crate::server::query::Query;
use crate::server::stream::{self, Gone, Sink};

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

pub(super) async fn watch(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Answer {
    let mut query = Query::parse(uri.query())?;
    let prefix = query.bytes("prefix").unwrap_or_default();
    let given = query.get::<Cursor>("cursor")?;
    query.finish()?;
    // A reconnecting browser repeats its first URL, and adds its position.
    let cursor = last_event_id(&headers)?.or(given);
    let permit = app.limiters.watchers.try_acquire()?;
    let watch = app.node.replica.watch(prefix, cursor)?;
    let (sink, body) = stream::channel();
    tokio::spawn(async move {
        // A client that has gone needs no end.
        let _ = send_all(&app, watch, sink, permit).await;
    });
    Ok(answer::of(EVENTS, body))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else { return Ok(None) };
    let id = id.to_str().unwrap_or("?");
    id.parse().map(Some).map_err(|error| Problem::bad_request(format!("Last-Event-ID: {error}")))
}

async fn send_all(
    app: &App,
    mut watch: Watch,
    sink: Sink,
    _permit: OwnedSemaphorePermit,
) -> Result<(), Gone> {
    sink.send(format!(": from here on\nid: {}\n\n", watch.cursor())).await?;
    let mut beats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let seen = tokio::select! {
            biased;
            () = app.stopped() => break,
            () = sink.gone() => return Err(Gone),
            seen = watch.next() => seen,
            _ = beats.tick() => {
                sink.send(format!(": heartbeat\nid: {}\n\n", watch.cursor())).await?;
                continue;
            }
        };
        beats.reset();
        match seen {
            Ok(Some(watched)) => sink.send(event(&watched)).await?,
            Ok(None) => break,
            Err(error) => {
                // A damaged event is skipped; the watch goes on with the others.
                let goes_on = matches!(&error, WatchError::Read(ReadError::Damaged(_)));
                sink.send(problem(&error.into(), &watch)).await?;
                if !goes_on {
                    return Ok(());
                }
            }
        }
    }
    sink.send(format!("event: end\nid: {}\ndata: the node is stopping\n\n", watch.cursor())).await
}

fn event(watched: &Watched) -> String {
    // Strings and numbers always serialize.
    let data =
        serde_json::to_string(&Shown::new(&watched.event).seen(watched.effect, None)).unwrap_or_default();
    format!("id: {}\ndata: {data}\n\n", watched.cursor)
}

fn problem(problem: &Problem, watch: &Watch) -> String {
    let data = serde_json::to_string(problem).unwrap_or_default();
    format!("event: problem\nid: {}\ndata: {data}\n\n", watch.cursor())
}
