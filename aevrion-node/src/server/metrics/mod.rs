//! The metrics of a server.

mod alarms;
mod http;
mod neighbours;
mod page;
mod sync;
mod upkeep;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;
use crate::report::StatusReport;
use page::Page;

/// Counts a request once it is answered.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    app.counters.answered(route, response.status().as_u16());
    response
}

/// The page of all metrics. Figures that the store cannot give at the moment are left out.
pub(super) fn page(app: &App, status: Option<&StatusReport>) -> String {
    let mut page = Page::default();
    page.gauge("store_readable", "Whether the store answers.", u64::from(status.is_some()));
    if let Some(status) = status {
        page.gauge("events", "Events stored.", status.events);
        page.gauge("keys", "Keys ever written.", status.keys);
        page.gauge("read_only", "Whether the store takes no writes.", u64::from(status.read_only));
        let refused = app.node.replica.refuses_writes().is_some();
        page.gauge(
            "writes_refused",
            "Whether no local writes are taken, for any reason.",
            u64::from(refused),
        );
        let ahead = status.clock_ahead_ms;
        page.gauge("clock_ahead_milliseconds", "How far the clock runs ahead of the wall.", ahead);
        page.gauge("pending_index_rows", "Index rows in memory only.", status.pending_index_rows);
        let healed = [(String::new(), status.healed_hashes)];
        let help = "Stored hashes of the tree that were wrong and computed anew.";
        page.metric("healed_hashes_total", "counter", help, &healed);
    }
    alarms::write(&mut page, &app.node);
    upkeep::write(&mut page, &app.node, status);
    if let Ok(membership) = app.node.membership() {
        neighbours::write(&mut page, &membership.replication().neighbours());
        sync::write(&mut page, membership.replication());
    }
    http::write(&mut page, app);
    page.into_text()
}
