//! Request bodies: whole ones in bounded memory, streamed ones handed to a reading thread.

use std::io::{self, Read};

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};

use super::limiters::BodyMemory;
use super::limits::{
    BODY_FIRST_BYTES, BODY_STALL_BYTES, BODY_STALL_TIMEOUT, DRAIN_TIME, DRAINED_BYTES, PIECES_AHEAD,
};
use super::stall::{StallDetector, Stalled};
use crate::problem::{Kind, Problem};

/// A whole body, and its share of the memory for bodies.
pub(super) struct WholeBody {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// The memory share of a body, as far as the body has arrived.
#[derive(Default)]
struct Share {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Extends the share to `bytes`; `end` is the final size of the body.
    async fn reach(&mut self, memory: &BodyMemory, bytes: usize, end: usize) -> Result<(), Problem> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let wanted = if bytes <= BODY_FIRST_BYTES { end.min(BODY_FIRST_BYTES) } else { end }.max(bytes);
        let more = memory.acquire(wanted - self.bytes).await?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        self.bytes = wanted;
        Ok(())
    }
}

/// Reads a body of at most `most` bytes.
pub(super) async fn whole(memory: &BodyMemory, body: Body, most: usize) -> Result<WholeBody, Problem> {
    let hint = body.size_hint();
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (least, end) = (size(hint.lower()), hint.upper().map_or(most, size).min(most));
    let mut body = IncomingBody::new(body);
    if least > most {
        body.drain().await;
        return Err(too_large(most));
    }
    let mut share = Share::default();
    let mut bytes = BytesMut::with_capacity(least.min(BODY_FIRST_BYTES));
    while let Some(piece) = body.next_piece().await? {
        let len = bytes.len() + piece.len();
        if len > most {
            body.drain().await;
            return Err(too_large(most));
        }
        share.reach(memory, len, end).await?;
        if len > bytes.capacity() {
            bytes.reserve(share.bytes.min(least.max(len)) - bytes.len());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(WholeBody { bytes: bytes.freeze(), _share: share })
}

fn too_large(most: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body is too large: at most {most} bytes are allowed here"))
}

/// A body being received.
struct IncomingBody {
    body: Body,
    stall_detector: StallDetector,
}

impl IncomingBody {
    fn new(body: Body) -> Self {
        Self { body, stall_detector: StallDetector::new(BODY_STALL_TIMEOUT, BODY_STALL_BYTES) }
    }

    /// The next bytes; `None` at the end.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let began = Instant::now();
            let Ok(frame) = timeout(self.stall_detector.remaining(), self.body.frame()).await else {
                self.stall_detector.end_period().map_err(|Stalled| too_slow())?;
                continue;
            };
            let Some(frame) = frame else { return Ok(None) };
            let broken = |error| Problem::bad_request(format!("the body ended in the middle: {error}"));
            let data = frame.map_err(broken)?.into_data();
            self.stall_detector.record(began.elapsed(), data.as_ref().map_or(0, Bytes::len));
            // Trailers are ignored.
            if let Ok(data) = data {
                return Ok(Some(data));
            }
        }
    }

    /// Reads the rest of a refused body. Closing the connection before its client has sent everything may lose the
    /// answer too.
    async fn drain(&mut self) {
        let mut drained = 0;
        // After the time limit the answer goes out anyway.
        let _ = timeout(DRAIN_TIME, async {
            while let Ok(Some(piece)) = self.next_piece().await {
                drained += piece.len();
                if drained > DRAINED_BYTES {
                    break;
                }
            }
        })
        .await;
    }
}

fn too_slow() -> Problem {
    let seconds = BODY_STALL_TIMEOUT.as_secs();
    Problem::new(
        Kind::TooSlow,
        format!(
            "less than {BODY_STALL_BYTES} bytes of the body came in {seconds} s, and it is not whole: send it again"
        ),
    )
}

/// A body as a reader for a thread of its own.
pub(super) fn reader(body: Body) -> impl Read + Send + 'static {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let mut body = IncomingBody::new(body);
    tokio::spawn(async move {
        loop {
            let piece = match body.next_piece().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(problem) => Err(io::Error::other(problem.detail)),
            };
            let failed = piece.is_err();
            if sender.send(piece).await.is_err() {
                return body.drain().await;
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
