//! Bodies that come in: whole ones in bounded memory, streamed ones handed to a thread that reads.

use std::io::{self, Read};

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::App;
use super::limits::{BODY_PATIENCE, DRAIN_TIME, DRAINED_BYTES, PIECES_AHEAD};
use crate::problem::{Kind, Problem};

/// A whole body, and its share of the memory for bodies.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// Reads a body of at most so many bytes.
pub(super) async fn whole(app: &App, mut body: Body, most: usize) -> Result<Whole, Problem> {
    let hint = body.size_hint();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    if hint.lower() > limit {
        drain(body).await;
        return Err(too_large(most));
    }
    let share = app.gates.hold(hint.upper().unwrap_or(limit)).await?;
    let mut bytes = BytesMut::with_capacity(usize::try_from(hint.lower()).unwrap_or(0));
    while let Some(piece) = next_piece(&mut body).await? {
        if bytes.len() + piece.len() > most {
            drain(body).await;
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Whole { bytes: bytes.freeze(), _share: share })
}

fn too_large(most: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body is too large: at most {most} bytes are allowed here"))
}

/// The next bytes of a body; `None` at its end.
async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout(BODY_PATIENCE, body.frame()).await.map_err(|_| {
            let seconds = BODY_PATIENCE.as_secs();
            Problem::new(Kind::TooSlow, format!("nothing of the body came for {seconds} s: send it again"))
        })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame =
            frame.map_err(|error| Problem::bad_request(format!("the body ended in the middle: {error}")))?;
        // Trailers say nothing that matters here.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// Reads what is left of a refused body. A connection that is closed before its client has sent everything may lose
/// the answer, too.
async fn drain(mut body: Body) {
    let mut drained = 0;
    // If that takes too long the answer goes out anyway.
    let _ = timeout(DRAIN_TIME, async {
        while let Ok(Some(piece)) = next_piece(&mut body).await {
            drained += piece.len();
            if drained > DRAINED_BYTES {
                break;
            }
        }
    })
    .await;
}

/// A body as a reader for a thread of its own.
pub(super) fn reader(mut body: Body) -> impl Read + Send + 'static {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        loop {
            let piece = match next_piece(&mut body).await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(problem) => Err(io::Error::other(problem.detail)),
            };
            let failed = piece.is_err();
            if sender.send(piece).await.is_err() {
                return drain(body).await;
            }
            if failed {
                return;
            }
        }
    });
    Pieces { pieces, current: Bytes::new() }
}

struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
