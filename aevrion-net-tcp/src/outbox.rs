//! Bytes to send on a lane, and the credit for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aevrion_core::transport::{Lane, TransportError, frame_header};
use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::Notify;

use crate::chunk::{CHUNK, begin_data};

/// Bytes queued before a sender has to wait: enough to keep the network busy while the sender is woken.
const WAITING: usize = 256 << 10;

/// Largest credit another node may grant: no window is that wide.
const MOST_CREDIT: usize = 1 << 30;

/// The sending side of a lane.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    space: Notify,
}

#[derive(Debug)]
struct State {
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes the other side will take.
    credit: usize,
}

/// The other side grants more credit than any window has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooMuchCredit;

impl Outbox {
    /// Starts without credit: nothing is sent until the other side has granted some.
    pub(crate) fn new() -> Self {
        let state = State { parts: VecDeque::new(), bytes: 0, credit: 0 };
        Self { state: Mutex::new(state), space: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame, or waits for space. A frame is queued as a whole, so that an abandoned call leaves no half of
    /// it.
    pub(crate) async fn put(&self, frame: Bytes) -> Result<(), TransportError> {
        let header = frame_header(&frame)?;
        loop {
            {
                let mut state = self.lock();
                if state.bytes < WAITING {
                    state.bytes += header.len() + frame.len();
                    state.parts.push_back(Bytes::copy_from_slice(&header));
                    if !frame.is_empty() {
                        state.parts.push_back(frame);
                    }
                    return Ok(());
                }
            }
            self.space.notified().await;
        }
    }

    /// Adds one chunk of the queued bytes to `buffer`, as far as the credit goes; returns whether there was one.
    pub(crate) fn fill(&self, lane: Lane, buffer: &mut BytesMut) -> bool {
        let mut state = self.lock();
        let mut size = CHUNK.min(state.credit).min(state.bytes);
        if size == 0 {
            return false;
        }
        state.credit -= size;
        state.bytes -= size;
        begin_data(buffer, lane, size);
        while let Some(part) = state.parts.front_mut().filter(|_| size > 0) {
            let taken = size.min(part.len());
            buffer.extend_from_slice(&part[..taken]);
            part.advance(taken);
            size -= taken;
            if part.is_empty() {
                state.parts.pop_front();
            }
        }
        if state.bytes < WAITING {
            self.space.notify_one();
        }
        true
    }

    /// Adds to the credit.
    pub(crate) fn allow(&self, bytes: usize) -> Result<(), TooMuchCredit> {
        let mut state = self.lock();
        state.credit = state.credit.checked_add(bytes).ok_or(TooMuchCredit)?;
        if state.credit > MOST_CREDIT { Err(TooMuchCredit) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_leaves_than_the_credit_allows() {
        let outbox = Outbox::new();
        outbox.put(Bytes::from_static(&[7; 20])).await.unwrap();
        let mut buffer = BytesMut::new();
        assert!(!outbox.fill(Lane::Live, &mut buffer));
        outbox.allow(10).unwrap();
        assert!(outbox.fill(Lane::Live, &mut buffer));
        assert_eq!(buffer[..], [0, 0, 10, 0, 0, 0, 20, 7, 7, 7, 7, 7, 7]);
        assert!(!outbox.fill(Lane::Live, &mut buffer));
        outbox.allow(4).unwrap();
        assert!(outbox.fill(Lane::Live, &mut buffer));
        assert_eq!(buffer[13..], [0, 0, 4, 7, 7, 7, 7]);
        assert!(outbox.allow(MOST_CREDIT + 1).is_err() && outbox.allow(usize::MAX).is_err());
    }
}
