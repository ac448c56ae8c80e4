//! Received bytes of a lane before their frames are taken, and the credit granted to the other side.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aevrion_core::transport::{FrameAssembly, TransportError};
use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// The receiving side of a lane.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    window: usize,
    arrived: Notify,
    /// Held by the one task that receives.
    reading: tokio::sync::Mutex<Reading>,
}

#[derive(Debug)]
struct State {
    bytes: BytesMut,
    /// Bytes the other side may still send.
    allowed: usize,
    /// Bytes consumed since the last credit.
    consumed: usize,
}

#[derive(Debug, Default)]
struct Reading {
    assembly: FrameAssembly,
    rest: Bytes,
}

/// The other side sent more than its credit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overrun;

impl Inbox {
    pub(crate) fn new(window: usize) -> Self {
        // As if a window had been consumed: so the first credit is the window, and the two sides need no agreement on
        // it.
        let state = State { bytes: BytesMut::new(), allowed: 0, consumed: window };
        Self {
            state: Mutex::new(state),
            window,
            arrived: Notify::new(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores received bytes. They are copied, so that many small chunks hold no more memory than their bytes.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<(), Overrun> {
        let mut state = self.lock();
        state.allowed = state.allowed.checked_sub(bytes.len()).ok_or(Overrun)?;
        state.bytes.extend_from_slice(bytes);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next frame. `credit_due` is called when a credit should be sent. Cancel safe: dropping the future loses
    /// nothing.
    pub(crate) async fn receive(
        &self,
        longest: usize,
        credit_due: impl Fn(),
    ) -> Result<Bytes, TransportError> {
        let mut reading = self.reading.lock().await;
        let Reading { assembly, rest } = &mut *reading;
        loop {
            // No await between taking bytes and keeping them.
            let before = rest.len();
            let frame = assembly.take(rest, longest)?;
            if self.consume(before - rest.len()) {
                credit_due();
            }
            if let Some(frame) = frame {
                return Ok(frame);
            }
            if rest.is_empty() {
                *rest = self.lock().bytes.split().freeze();
            }
            if rest.is_empty() {
                self.arrived.notified().await;
            }
        }
    }

    /// Whether a credit is due: not after each frame, which would cost one credit per frame, but long before the other
    /// side has to stop.
    fn consume(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        state.consumed += bytes;
        state.consumed >= self.window / 4
    }

    /// The credit to send, if one is due. The other side may send these bytes from now on.
    pub(crate) fn take_credit(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.consumed < self.window / 4 || state.consumed == 0 {
            return None;
        }
        let credit = std::mem::take(&mut state.consumed);
        state.allowed += credit;
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_other_side_may_send_what_it_was_allowed_and_no_more() {
        let inbox = Inbox::new(100);
        assert!(inbox.put(&[0]).is_err(), "it was not told yet");
        let inbox = Inbox::new(100);
        assert_eq!(inbox.take_credit(), Some(100));
        inbox.put(&[0, 0, 0, 60]).unwrap();
        inbox.put(&[1; 60]).unwrap();
        assert!(inbox.take_credit().is_none(), "nothing was received yet");
        assert_eq!(inbox.receive(60, || ()).await.unwrap(), vec![1; 60]);
        assert_eq!(inbox.take_credit(), Some(64));
        assert!(inbox.put(&[0; 101]).is_err());
    }

    #[tokio::test]
    async fn a_window_of_nothing_but_empty_frames_is_received_too() {
        let inbox = Inbox::new(8);
        assert_eq!(inbox.take_credit(), Some(8));
        inbox.put(&[0; 8]).unwrap();
        assert!(inbox.receive(1, || ()).await.unwrap().is_empty());
        assert!(inbox.receive(1, || ()).await.unwrap().is_empty());
        assert_eq!(inbox.take_credit(), Some(8));
    }
}
