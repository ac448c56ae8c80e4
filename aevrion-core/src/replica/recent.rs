//! The latest arrivals, for watchers, each with the key that it writes.
//!
//! Every commit wakes all watchers, and most of them watch other keys. They look here before they read, so that an
//! arrival of another key costs a comparison. A watcher that is further behind reads the table `arrivals`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::EventKey;
use crate::arrivals::{Arrival, Effect};
use crate::bounds::{RECENT_ARRIVALS, RECENT_KEY_BYTES};

/// The arrivals of the latest commits, without a gap.
#[derive(Default)]
pub(super) struct RecentArrivals(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    /// The sequence of the first arrival held.
    first: u64,
    arrivals: VecDeque<(Effect, EventKey, Bytes)>,
    key_bytes: usize,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.arrivals.len() as u64
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The arrivals that a watcher asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those of its keys.
    pub(super) arrivals: Vec<Arrival>,
    /// The sequence behind the last arrival looked at.
    pub(super) end: u64,
}

impl RecentArrivals {
    /// Takes the arrivals of a commit; `first` is the sequence of the first one.
    pub(super) fn offer(&self, first: u64, effect: Effect, arrived: &[(EventKey, Bytes)]) {
        let mut ring = self.ring();
        if ring.end() != first {
            ring.clear();
            ring.first = first;
        }
        for (event_key, key) in arrived {
            // A copy: the key may be a slice of a frame of many megabytes.
            ring.arrivals.push_back((effect, *event_key, Bytes::copy_from_slice(key)));
            ring.key_bytes += key.len();
            while ring.arrivals.len() > RECENT_ARRIVALS || ring.key_bytes > RECENT_KEY_BYTES {
                let Some((_, _, oldest)) = ring.arrivals.pop_front() else { break };
                ring.key_bytes -= oldest.len();
                ring.first += 1;
            }
        }
    }

    /// The arrivals from `next` on and before `end` whose keys are `wanted`; `None` if the first of them is not held.
    pub(super) fn find(&self, next: u64, end: u64, wanted: impl Fn(&[u8]) -> bool) -> Option<Wanted> {
        let ring = self.ring();
        let end = end.min(ring.end());
        let skipped = usize::try_from(next.checked_sub(ring.first)?).ok()?;
        let taken = usize::try_from(end.checked_sub(next)?).ok().filter(|taken| *taken > 0)?;
        let arrivals = (next..).zip(ring.arrivals.iter().skip(skipped).take(taken));
        let arrivals =
            arrivals.filter(|(_, (.., key))| wanted(key)).map(|(sequence, (effect, event_key, _))| Arrival {
                sequence,
                effect: *effect,
                event_key: *event_key,
            });
        Some(Wanted { arrivals: arrivals.collect(), end })
    }

    /// Forgets all: the store may hold other arrivals.
    pub(super) fn forget(&self) {
        self.ring().clear();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, Timestamp};

    fn arrivals(keys: &[&'static str]) -> Vec<(EventKey, Bytes)> {
        let event_key = |n: usize| EventKey {
            timestamp: Timestamp::from_millis(n as u64),
            id: EventId::from_bytes([0; 32]),
        };
        keys.iter().enumerate().map(|(n, key)| (event_key(n), Bytes::from_static(key.as_bytes()))).collect()
    }

    fn found(recent: &RecentArrivals, next: u64, end: u64) -> Option<(Vec<u64>, u64)> {
        let Wanted { arrivals, end } = recent.find(next, end, |key| key.starts_with(b"a"))?;
        Some((arrivals.into_iter().map(|arrival| arrival.sequence).collect(), end))
    }

    #[test]
    fn finds_what_is_wanted_in_the_order_of_arrival() {
        let recent = RecentArrivals::default();
        assert_eq!(found(&recent, 0, 10), None);
        recent.offer(7, Effect::Stored, &arrivals(&["a1", "b1", "a2"]));
        recent.offer(10, Effect::Stored, &arrivals(&["b2", "a3"]));
        assert_eq!(found(&recent, 7, 12), Some((vec![7, 9, 11], 12)));
        assert_eq!(found(&recent, 8, 11), Some((vec![9], 11)));
        assert_eq!(found(&recent, 10, 99), Some((vec![11], 12)), "as far as it goes");
        assert_eq!(found(&recent, 6, 12), None, "older than all that is held");
        assert_eq!(found(&recent, 12, 99), None, "nothing is there yet");
    }

    #[test]
    fn a_gap_is_never_bridged() {
        let recent = RecentArrivals::default();
        recent.offer(0, Effect::Stored, &arrivals(&["a"]));
        recent.offer(5, Effect::Stored, &arrivals(&["a"]));
        assert_eq!((found(&recent, 0, 9), found(&recent, 5, 9)), (None, Some((vec![5], 6))));
        recent.offer(3, Effect::Stored, &arrivals(&["b"]));
        assert_eq!((found(&recent, 5, 9), found(&recent, 3, 9)), (None, Some((vec![], 4))), "given anew");
        recent.forget();
        assert_eq!(found(&recent, 3, 9), None);
    }

    #[test]
    fn holds_no_more_than_its_bounds() {
        let recent = RecentArrivals::default();
        for first in 0..RECENT_ARRIVALS as u64 + 3 {
            recent.offer(first, Effect::Stored, &arrivals(&["a"]));
        }
        assert_eq!(found(&recent, 2, 9), None);
        assert_eq!(found(&recent, 3, 9), Some(((3..9).collect(), 9)));
        let long = arrivals(&["a"])[0].0;
        let next = RECENT_ARRIVALS as u64 + 3;
        recent.offer(next, Effect::Stored, &[(long, Bytes::from(vec![b'a'; RECENT_KEY_BYTES]))]);
        assert_eq!(
            (found(&recent, next - 1, 9_999), found(&recent, next, 9_999)),
            (None, Some((vec![next], next + 1)))
        );
    }
}
