//! One lane of a connection: a bidirectional stream, cut into frames.

use aevrion_core::transport::{FrameAssembly, TransportError, frame_header};
use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::sync::Mutex;

/// Bytes taken from the stream at once: more than a packet, so that this is never the limit.
const READ: usize = 64 << 10;

/// The locks are held by the one sending task and the one receiving task.
pub(crate) struct QuicLane {
    sending: Mutex<Sending>,
    receiving: Mutex<Receiving>,
}

struct Sending {
    stream: SendStream,
    /// The unwritten bytes of the last frame: not empty only if its send was abandoned.
    rest: [Bytes; 2],
}

struct Receiving {
    stream: RecvStream,
    assembly: FrameAssembly,
    rest: Bytes,
}

/// Why a frame did not get through.
pub(crate) enum Trouble {
    /// The connection has ended, or is about to.
    Ended,
    /// The frame is invalid.
    Frame(TransportError),
}

impl From<WriteError> for Trouble {
    fn from(_: WriteError) -> Self {
        Self::Ended
    }
}

impl From<ReadError> for Trouble {
    fn from(_: ReadError) -> Self {
        Self::Ended
    }
}

impl QuicLane {
    pub(crate) fn new(sending: SendStream, receiving: RecvStream) -> Self {
        let (assembly, rest) = (FrameAssembly::default(), Bytes::new());
        Self {
            sending: Mutex::new(Sending { stream: sending, rest: Default::default() }),
            receiving: Mutex::new(Receiving { stream: receiving, assembly, rest }),
        }
    }

    /// Writes a frame. If abandoned halfway, the next send writes the other half first.
    pub(crate) async fn send(&self, frame: Bytes) -> Result<(), Trouble> {
        let header = frame_header(&frame).map_err(Trouble::Frame)?;
        let mut sending = self.sending.lock().await;
        sending.finish_frame().await?;
        sending.rest = [Bytes::copy_from_slice(&header), frame];
        sending.finish_frame().await
    }

    /// The next frame. Cancel safe: abandoning it loses nothing.
    pub(crate) async fn receive(&self, longest: usize) -> Result<Bytes, Trouble> {
        let mut receiving = self.receiving.lock().await;
        let Receiving { stream, assembly, rest } = &mut *receiving;
        loop {
            if let Some(frame) = assembly.take(rest, longest).map_err(Trouble::Frame)? {
                return Ok(frame);
            }
            // A lane is finished only by closing the connection.
            *rest = stream.read_chunk(READ, true).await?.ok_or(Trouble::Ended)?.bytes;
        }
    }
}

impl Sending {
    async fn finish_frame(&mut self) -> Result<(), Trouble> {
        while self.rest.iter().any(|part| !part.is_empty()) {
            // Written bytes are gone from `rest`, even if the next wait is never woken.
            self.stream.write_chunks(&mut self.rest).await?;
        }
        Ok(())
    }
}
