//! Connections: accepted, limited, closed if they stall, and drained at the end.
//!
//! `axum::serve` sets no time limit for a request's head, so half-open connections would stay for ever; hence a loop of
//! our own around hyper.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::app::App;
use super::limits::{
    GRACE, HEAD_BYTES, HEAD_TIME, HEADERS, RETRY_AFTER, WRITE_STALL_BYTES, WRITE_STALL_TIMEOUT,
};
use super::routes;
use super::stall::{StallDetector, Stalled};

/// Pause when the machine has no more descriptors: an immediate retry would only keep it busy.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Accepts connections until the node stops, then lets requests in flight finish. Returns the number of those that
/// could not in time.
pub(super) async fn accept(listener: TcpListener, app: Arc<App>) -> usize {
    let service = routes::all(&app);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.stopped() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => match app.limiters.connections.try_acquire() {
                Ok(permit) => {
                    let service = TowerToHyperService::new(service.clone());
                    connections.spawn(serve(stream, peer, service, Arc::clone(&app), permit));
                }
                Err(_) => refuse(&stream, &app),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all).await.is_ok() {
        return 0;
    }
    let unfinished = connections.len();
    connections.shutdown().await;
    unfinished
}

/// Answers that the node is full, as far as that needs no waiting.
fn refuse(stream: &TcpStream, app: &App) {
    app.counters.refused_connection();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_AFTER}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    // A client that cannot take it sees the connection close, which tells it nearly as much.
    let _ = stream.try_write(answer.as_bytes());
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    service: TowerToHyperService<axum::Router>,
    app: Arc<App>,
    _permit: OwnedSemaphorePermit,
) {
    // Small answers go out at once. Best effort: without it they are only slower.
    let _ = stream.set_nodelay(true);
    let stall_detector = StallDetector::new(WRITE_STALL_TIMEOUT, WRITE_STALL_BYTES);
    let stream = TokioIo::new(MeteredStream::new(stream, Arc::clone(&app), stall_detector));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(HEAD_BYTES)
        .half_close(false);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_timeout() {
            app.counters.head_timeout();
        }
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}

/// A connection that counts its bytes, and fails when the other end takes too few of the bytes ready for it.
struct MeteredStream {
    stream: TcpStream,
    app: Arc<App>,
    stall_detector: StallDetector,
    /// The beginning of the current stall, and its deadline.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl MeteredStream {
    fn new(stream: TcpStream, app: Arc<App>, stall_detector: StallDetector) -> Self {
        Self { stream, app, stall_detector, stalled: None }
    }

    /// Passes on the number of written bytes, unless too few were taken for too long.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = &outcome {
            let waited = self.stalled.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
            let taken = *result.as_ref().unwrap_or(&0);
            self.stall_detector.record(waited, taken);
            self.app.counters.sent(taken);
            return outcome;
        }
        loop {
            let begin = || {
                let now = Instant::now();
                (now, Box::pin(sleep_until(now + self.stall_detector.remaining())))
            };
            ready!(self.stalled.get_or_insert_with(begin).1.as_mut().poll(context));
            self.stalled = None;
            if let Err(Stalled) = self.stall_detector.end_period() {
                self.app.counters.slow_reader();
                let why = "the other end takes too little";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
        }
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.app.counters.received(buffer.filled().len() - before);
        outcome
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It never waits: bytes taken by TCP are on their way.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use aevrion_core::store::MemoryStore;
    use aevrion_core::{Options, Replica};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::super::node::Node;
    use super::*;

    async fn app() -> Arc<App> {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let (_, stopping) = watch::channel(false);
        Arc::new(App::new(Node::of(replica, None, "memory".to_owned()), stopping))
    }

    /// Writes without end to a client that takes 64 KiB every now and then. Returns the error, if there was one within
    /// `most` bytes.
    async fn write_to_a_slow_reader(stall_detector: StallDetector, most: usize) -> Option<io::ErrorKind> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut writer = MeteredStream::new(listener.accept().await.unwrap().0, app().await, stall_detector);
        let reading = tokio::spawn(async move {
            let mut client = client;
            let mut bytes = vec![0; 64 << 10];
            while client.read_exact(&mut bytes).await.is_ok() {
                sleep(Duration::from_millis(2)).await;
            }
        });
        let bytes = vec![0; 64 << 10];
        let mut ended = None;
        for _ in 0..most / bytes.len() {
            if let Err(error) = writer.write_all(&bytes).await {
                ended = Some(error.kind());
                break;
            }
        }
        reading.abort();
        ended
    }

    #[tokio::test]
    async fn who_takes_a_little_now_and_then_is_given_up() {
        // The client reads all the time, at 32 MiB a second at most.
        let never_enough = StallDetector::new(Duration::from_millis(500), u64::MAX);
        let ended = write_to_a_slow_reader(never_enough, usize::MAX).await;
        assert_eq!(ended, Some(io::ErrorKind::TimedOut));
        let ended =
            write_to_a_slow_reader(StallDetector::new(WRITE_STALL_TIMEOUT, WRITE_STALL_BYTES), 48 << 20)
                .await;
        assert_eq!(ended, None, "it was quick enough");
    }
}
