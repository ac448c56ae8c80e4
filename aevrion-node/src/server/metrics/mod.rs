//! Counters, in the text format that Prometheus reads.

mod alarms;
mod neighbours;
mod sync;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use crate::report::StatusReport;

/// The counters. Their routes are those of the router, so their number is bounded.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    received: AtomicU64,
    sent: AtomicU64,
    refused: AtomicU64,
    late_heads: AtomicU64,
    slow_readers: AtomicU64,
}

/// Counts a request once it is answered.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let mut requests = app.metrics.requests.lock().unwrap_or_else(PoisonError::into_inner);
    *requests.entry((route, response.status().as_u16())).or_default() += 1;
    drop(requests);
    response
}

impl Metrics {
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn refused_connection(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn late_head(&self) {
        self.late_heads.fetch_add(1, Relaxed);
    }

    pub(super) fn slow_reader(&self) {
        self.slow_readers.fetch_add(1, Relaxed);
    }
}

/// A page of metrics being written.
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &[(String, impl Display)]) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP aevrion_{name} {help}\n# TYPE aevrion_{name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "aevrion_{name}{labels} {value}");
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "gauge", help, &[(String::new(), value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "counter", help, &[(String::new(), value)]);
    }
}

/// The page of all metrics. Figures that the store cannot give at the moment are left out.
pub(super) fn page(app: &App, status: Option<&StatusReport>) -> String {
    let mut page = Page(String::new());
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
    let metrics = &app.metrics;
    let requests = metrics.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let samples: Vec<_> = requests
        .into_iter()
        .map(|((route, status), count)| (format!("{{route=\"{route}\",status=\"{status}\"}}"), count))
        .collect();
    page.metric("http_requests_total", "counter", "Requests answered.", &samples);
    let bytes = [
        ("{direction=\"in\"}".to_owned(), metrics.received.load(Relaxed)),
        ("{direction=\"out\"}".to_owned(), metrics.sent.load(Relaxed)),
    ];
    page.metric("http_bytes_total", "counter", "Bytes of HTTP connections.", &bytes);
    page.gauge("http_connections", "Open connections.", app.gates.connections.taken() as u64);
    page.gauge("http_watchers", "Watchers at it.", app.gates.watchers.taken() as u64);
    let mut counter = |name, help, count: &AtomicU64| page.counter(name, help, count.load(Relaxed));
    counter("http_refused_connections_total", "Connections beyond the limit.", &metrics.refused);
    let help = "Connections that ended because no head of a request came in time, idle ones among them.";
    counter("http_head_timeouts_total", help, &metrics.late_heads);
    let help = "Connections that ended because too little of an answer was taken in time.";
    counter("http_slow_readers_total", help, &metrics.slow_readers);
    page.0
}
