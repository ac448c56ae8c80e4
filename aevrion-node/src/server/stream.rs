//! Bodies that go out piece by piece, as somebody produces them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use super::limits::PIECES_AHEAD;

/// Where the pieces are put. When it is dropped, the body ends.
pub(super) struct Sink(mpsc::Sender<io::Result<Bytes>>);

struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Why the body is to break off, once all before it is on its way.
    failed: Option<io::Error>,
}

/// A body, and where its pieces are to be put.
pub(super) fn channel() -> (Sink, Body) {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    (Sink(sender), Body::new(Pieces { pieces, failed: None }))
}

/// Nobody reads on.
pub(super) struct Gone;

impl Sink {
    /// Adds a piece; waits while the other end is behind.
    pub(super) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(piece.into())).await.map_err(|_| Gone)
    }

    /// Adds a line of JSON.
    pub(super) async fn send_line(&self, document: &impl Serialize) -> Result<(), Gone> {
        let mut line = serde_json::to_vec(document).map_err(|_| Gone)?;
        line.push(b'\n');
        self.send(line).await
    }

    /// Breaks the body off, so that nobody takes it for whole.
    pub(super) async fn abort(self, why: impl ToString) {
        // Whoever is gone has noticed already.
        let _ = self.0.send(Err(io::Error::other(why.to_string()))).await;
    }

    /// Waits until nobody reads on.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(self.pieces.poll_recv(context)) {
            // An error throws away what is not sent yet. Whoever polls sends when there is nothing more to poll.
            Some(Err(error)) => {
                self.failed = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            piece => Poll::Ready(piece.map(|piece| piece.map(Frame::data))),
        }
    }
}
