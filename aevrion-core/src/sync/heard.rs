//! When a neighbour last said something, and whether it is in the middle of something long.

use std::time::Duration;

use tokio::time::Instant;

use super::Patience;
use crate::transport::Connection;

/// When something last came, and how many bytes had by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    at: Instant,
    bytes: u64,
}

impl Heard {
    pub(super) fn now(connection: &dyn Connection) -> Self {
        Self { at: Instant::now(), bytes: connection.traffic().received }
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Whether bytes have come since then at the least rate. That is a sign of life, too: the next look is from here.
    pub(super) fn goes_on(&mut self, connection: &dyn Connection, patience: Patience) -> bool {
        let now = Self::now(connection);
        let came = now.bytes.saturating_sub(self.bytes);
        let goes_on = came > 0 && !patience.is_silence(came, now.at - self.at);
        if goes_on {
            *self = now;
        }
        goes_on
    }
}

/// The next frame of an answer on the repair lane: since a question went out, or the frame before it came.
#[derive(Debug)]
pub(super) struct Awaited {
    since: Instant,
    heard: Heard,
}

impl Awaited {
    pub(super) fn now(connection: &dyn Connection) -> Self {
        let heard = Heard::now(connection);
        Self { since: heard.at, heard }
    }

    /// Whether it is arriving. What comes on the live lane, and what acknowledges this side's own bytes, cannot be told
    /// from it; so it has as much time as the `longest` frame may take, and no more.
    pub(super) fn is_arriving(
        &mut self,
        connection: &dyn Connection,
        patience: Patience,
        longest: Duration,
    ) -> bool {
        self.since.elapsed() < longest && self.heard.goes_on(connection, patience)
    }
}
