//! Response bodies sent piece by piece, as they are produced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use super::limits::PIECES_AHEAD;

/// The sending half of a body. Dropping it ends the body.
pub(super) struct Sink(mpsc::Sender<io::Result<Bytes>>);

struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// The error that breaks off the body, after all pieces before it.
    failed: Option<io::Error>,
}

/// A body, and the sink of its pieces.
pub(super) fn channel() -> (Sink, Body) {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    (Sink(sender), Body::new(Pieces { pieces, failed: None }))
}

/// The client has gone.
pub(super) struct Gone;

impl Sink {
    /// Adds a piece; waits while the client is behind.
    pub(super) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(piece.into())).await.map_err(|_| Gone)
    }

    /// Adds a line of JSON.
    pub(super) async fn send_line(&self, document: &impl Serialize) -> Result<(), Gone> {
        let mut line = serde_json::to_vec(document).map_err(|_| Gone)?;
        line.push(b'\n');
        self.send(line).await
    }

    /// Breaks off the body, so that no client takes it for complete.
    pub(super) async fn abort(self, why: impl ToString) {
        // A client that has gone has noticed already.
        let _ = self.0.send(Err(io::Error::other(why.to_string()))).await;
    }

    /// Waits until the client has gone.
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
            // An error discards unsent bytes. Returning pending first makes hyper flush them.
            Some(Err(error)) => {
                self.failed = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            piece => Poll::Ready(piece.map(|piece| piece.map(Frame::data))),
        }
    }
}
