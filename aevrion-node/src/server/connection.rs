//! Connections: accepted, limited, watched for those that stall, and let finish at the end.
//!
//! `axum::serve` sets no limit to the time a head may take, so that half-open connections would stay for ever; hence
//! a loop of our own around hyper.

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
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::limits::{GRACE, HEAD_BYTES, HEAD_TIME, HEADERS, RETRY_AFTER, WRITE_PATIENCE};
use super::{App, routes};

/// When the machine has no more descriptors, trying again at once would only keep it busy.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Accepts connections until the node is to stop, then lets those that are at it finish. Answers with how many could
/// not in time.
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
            Ok((stream, peer)) => match app.gates.connections.enter() {
                Ok(place) => {
                    let service = TowerToHyperService::new(service.clone());
                    connections.spawn(serve(stream, peer, service, Arc::clone(&app), place));
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

/// Says that there is no place left, as far as that can be said without waiting.
fn refuse(stream: &TcpStream, app: &App) {
    app.metrics.refused_connection();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_AFTER}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    // Whoever cannot take it sees the connection end, which says nearly as much.
    let _ = stream.try_write(answer.as_bytes());
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    service: TowerToHyperService<axum::Router>,
    app: Arc<App>,
    _place: OwnedSemaphorePermit,
) {
    // Small answers go out at once. That it cannot be set is no reason not to answer.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Watched::new(stream, Arc::clone(&app)));
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
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}

/// A connection whose bytes are counted, and that fails when the other end takes nothing for too long.
struct Watched {
    stream: TcpStream,
    app: Arc<App>,
    /// Runs while something waits to be taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(stream: TcpStream, app: Arc<App>) -> Self {
        Self { stream, app, stalled: None }
    }

    /// Passes the outcome of a write on, unless it has waited too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let deadline = || Box::pin(tokio::time::sleep_until(Instant::now() + WRITE_PATIENCE));
        ready!(self.stalled.get_or_insert_with(deadline).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end takes nothing")))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.app.metrics.received(buffer.filled().len() - before);
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        let outcome = self.judge(context, outcome);
        if let Poll::Ready(Ok(count)) = outcome {
            self.app.metrics.sent(count);
        }
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        let outcome = self.judge(context, outcome);
        if let Poll::Ready(Ok(count)) = outcome {
            self.app.metrics.sent(count);
        }
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
