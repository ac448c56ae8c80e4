//! Metrics of the HTTP interface.

use super::page::Page;
use crate::server::app::App;

pub(super) fn write(page: &mut Page, app: &App) {
    let counts = app.counters.read();
    let samples: Vec<_> = counts
        .requests
        .into_iter()
        .map(|((route, status), count)| (format!("{{route=\"{route}\",status=\"{status}\"}}"), count))
        .collect();
    page.metric("http_requests_total", "counter", "Requests answered.", &samples);
    let bytes =
        [("{direction=\"in\"}".to_owned(), counts.received), ("{direction=\"out\"}".to_owned(), counts.sent)];
    page.metric("http_bytes_total", "counter", "Bytes of HTTP connections.", &bytes);
    page.gauge("http_connections", "Open connections.", app.limiters.connections.in_use() as u64);
    page.gauge("http_watchers", "Watchers at it.", app.limiters.watchers.in_use() as u64);
    let help = "Connections beyond the limit.";
    page.counter("http_refused_connections_total", help, counts.refused_connections);
    let help = "Connections that ended because no head of a request came in time, idle ones among them.";
    page.counter("http_head_timeouts_total", help, counts.head_timeouts);
    let help = "Connections that ended because too little of an answer was taken in time.";
    page.counter("http_slow_readers_total", help, counts.slow_readers);
}
