//! Limits of concurrent work by kind.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limits::{BODIES_BYTES, BODIES_PATIENCE, CONNECTIONS, EXPORTS, IMPORTS, UPKEEP, WATCHERS};
use crate::problem::{Kind, Problem};

/// Free permits of each kind.
pub(super) struct Gates {
    pub(super) connections: ConnectionLimiter,
    pub(super) watchers: ConnectionLimiter,
    pub(super) imports: ConnectionLimiter,
    pub(super) exports: ConnectionLimiter,
    pub(super) upkeep: ConnectionLimiter,
    /// In KiB.
    bodies: Arc<Semaphore>,
}

/// Permits of one kind.
pub(super) struct ConnectionLimiter {
    what: &'static str,
    places: usize,
    free: Arc<Semaphore>,
}

impl ConnectionLimiter {
    fn new(what: &'static str, places: usize) -> Self {
        Self { what, places, free: Arc::new(Semaphore::new(places)) }
    }

    /// Takes a permit, if one is free.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let Self { what, places, .. } = self;
            Problem::new(Kind::Busy, format!("{places} {what} at once are the most: try again in a moment"))
        })
    }

    /// Permits in use.
    pub(super) fn taken(&self) -> usize {
        self.places - self.free.available_permits()
    }
}

impl Gates {
    pub(super) fn new() -> Self {
        Self {
            connections: ConnectionLimiter::new("connections", CONNECTIONS),
            watchers: ConnectionLimiter::new("watchers", WATCHERS),
            imports: ConnectionLimiter::new("imports", IMPORTS),
            exports: ConnectionLimiter::new("exports", EXPORTS),
            upkeep: ConnectionLimiter::new("verifications or rebuilds", UPKEEP),
            bodies: Arc::new(Semaphore::new(BODIES_BYTES >> 10)),
        }
    }

    /// Waits for memory for `bytes` of a body.
    pub(super) async fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let share = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let share = share.min(u32::try_from(BODIES_BYTES >> 10).unwrap_or(u32::MAX));
        let permit = timeout(BODIES_PATIENCE, Arc::clone(&self.bodies).acquire_many_owned(share)).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            Problem::new(Kind::Busy, "too many large bodies are on their way: try again in a moment")
        })
    }
}
