//! Counts by reason, and how often the log hears of each: strangers decide how many there are, not how long the log gets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The log hears of each reason once in this time at most.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// Counts of `N` reasons.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize> {
    counts: [AtomicU64; N],
    logged: Mutex<[Option<Instant>; N]>,
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), logged: Mutex::new([None; N]) }
    }
}

impl<const N: usize> Tally<N> {
    /// Counts one more of the reason with this number, if there is such a one, and says whether to log it.
    pub(crate) fn count(&self, reason: usize) -> bool {
        let Some(count) = self.counts.get(reason) else { return false };
        count.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logged[reason].is_none_or(|at| at.elapsed() >= LOG_PAUSE);
        if log {
            logged[reason] = Some(Instant::now());
        }
        log
    }

    /// How many there were of each.
    pub(crate) fn counts(&self) -> [u64; N] {
        std::array::from_fn(|reason| self.counts[reason].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_are_counted_and_one_a_second_is_logged() {
        let tally = Tally::<2>::default();
        let logged = (0..100).filter(|_| tally.count(1)).count();
        assert_eq!((logged, tally.counts()), (1, [0, 100]));
        assert!(tally.count(0), "each reason for itself");
        assert!(!tally.count(2), "there is no such reason");
        tokio::time::advance(LOG_PAUSE).await;
        assert!(tally.count(1) && !tally.count(1));
    }
}
