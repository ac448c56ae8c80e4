//! What the conformance suites share: waits with a limit, and reproducible data.

use std::time::Duration;

use bytes::Bytes;

use crate::random::SplitMix64;

/// Far longer than anything in a suite takes: reaching it means a wait for an event that never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `work` with a time limit that only a wait for an event that never comes reaches.
///
/// # Panics
/// If it is reached. The text begins with the promise.
pub async fn within<T>(promise: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => panic!("{promise}: still waiting after {PATIENCE:?}"),
    }
}

/// `length` pseudo-random bytes, different for each seed.
pub(crate) fn filler(seed: u64, length: usize) -> Bytes {
    let mut numbers = Numbers::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Reproducible pseudo-random numbers.
pub(crate) struct Numbers(SplitMix64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or_default() % bound
    }
}
