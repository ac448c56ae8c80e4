//! Rejection counters by reason with limited logging: unauthenticated peers cannot fill the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The minimum interval between two log entries for one reason.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// Counters of `N` reasons.
#[derive(Debug)]
pub struct RejectionCounters<const N: usize> {
    counts: [AtomicU64; N],
    logged: Mutex<[Option<Instant>; N]>,
}

impl<const N: usize> Default for RejectionCounters<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), logged: Mutex::new([None; N]) }
    }
}

impl<const N: usize> RejectionCounters<N> {
    /// Increments the counter of the reason with this index, if it exists. Returns whether to log it.
    #[expect(clippy::disallowed_methods, reason = "a door: how often the log may be told")]
    pub fn count(&self, reason: usize) -> bool {
        let Some(count) = self.counts.get(reason) else { return false };
        count.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logged[reason].is_none_or(|at| at.elapsed() >= LOG_PAUSE);
        if log {
            logged[reason] = Some(Instant::now());
        }
        log
    }

    /// The count of each reason.
    pub fn counts(&self) -> [u64; N] {
        std::array::from_fn(|reason| self.counts[reason].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_are_counted_and_one_a_second_is_logged() {
        let rejections = RejectionCounters::<2>::default();
        let logged = (0..100).filter(|_| rejections.count(1)).count();
        assert_eq!((logged, rejections.counts()), (1, [0, 100]));
        assert!(rejections.count(0), "each reason for itself");
        assert!(!rejections.count(2), "there is no such reason");
        tokio::time::advance(LOG_PAUSE).await;
        assert!(rejections.count(1) && !rejections.count(1));
    }
}
