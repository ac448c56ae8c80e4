//! Limiters of concurrent requests by kind, and of the memory that their bodies take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limits::{BODY_MEMORY, BODY_MEMORY_TIMEOUT, CONNECTIONS, EXPORTS, IMPORTS, UPKEEP, WATCHERS};
use crate::problem::{Kind, Problem};

/// The limiters of one server.
pub(super) struct Limiters {
    pub(super) connections: Limiter,
    pub(super) watchers: Limiter,
    pub(super) imports: Limiter,
    pub(super) exports: Limiter,
    pub(super) upkeep: Limiter,
    pub(super) bodies: BodyMemory,
}

impl Limiters {
    pub(super) fn new() -> Self {
        Self {
            connections: Limiter::new("connections", CONNECTIONS),
            watchers: Limiter::new("watchers", WATCHERS),
            imports: Limiter::new("imports", IMPORTS),
            exports: Limiter::new("exports", EXPORTS),
            upkeep: Limiter::new("verifications or rebuilds", UPKEEP),
            bodies: BodyMemory { free: Arc::new(Semaphore::new(BODY_MEMORY >> 10)) },
        }
    }
}

/// A limiter of concurrent requests of one kind.
pub(super) struct Limiter {
    what: &'static str,
    permits: usize,
    free: Arc<Semaphore>,
}

impl Limiter {
    fn new(what: &'static str, permits: usize) -> Self {
        Self { what, permits, free: Arc::new(Semaphore::new(permits)) }
    }

    /// Takes a permit, if one is free.
    pub(super) fn try_acquire(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let Self { what, permits, .. } = self;
            Problem::new(Kind::Busy, format!("{permits} {what} at once are the most: try again in a moment"))
        })
    }

    /// Permits in use.
    pub(super) fn in_use(&self) -> usize {
        self.permits - self.free.available_permits()
    }
}

/// The memory for the bodies of all requests.
pub(super) struct BodyMemory {
    /// In KiB.
    free: Arc<Semaphore>,
}

impl BodyMemory {
    /// Waits for memory for `bytes` of a body.
    pub(super) async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let share = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let share = share.min(u32::try_from(BODY_MEMORY >> 10).unwrap_or(u32::MAX));
        let permit = timeout(BODY_MEMORY_TIMEOUT, Arc::clone(&self.free).acquire_many_owned(share)).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            Problem::new(Kind::Busy, "too many large bodies are on their way: try again in a moment")
        })
    }
}
