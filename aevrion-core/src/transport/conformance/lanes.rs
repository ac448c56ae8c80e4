//! Promises about the two lanes: they do not wait for each other, and neither buffers without bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bench::{Bench, receive, round_trip, send};
use crate::conformance::{filler, within};
use crate::transport::{Connection, Lane};

const BLIND: &str = "a lane that nobody reads does not block the other";
const HELD: &str = "a sender is held back after a bounded number of bytes while nobody receives";

const FRAME: usize = 64 << 10;
/// Far more than any transport should buffer for a receiver that does not read.
const BOUND: usize = 24 << 20;
/// The number of frames that the sender tries to send.
const ALL: usize = 2 * BOUND / FRAME;

/// Sends frames until all are sent or the connection ends, and counts them.
fn flood(from: &Arc<dyn Connection>, lane: Lane) -> (tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
    let (from, count) = (Arc::clone(from), Arc::new(AtomicUsize::new(0)));
    let counting = Arc::clone(&count);
    let task = tokio::spawn(async move {
        for seed in 0..ALL {
            if from.send(lane, filler(seed as u64, FRAME)).await.is_err() {
                return;
            }
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    (task, count)
}

/// Returns how many frames were accepted once no more are. Round trips on the other lane serve as the clock.
async fn once_it_stands_still(
    promise: &str,
    one: &dyn Connection,
    other: &dyn Connection,
    free: Lane,
    count: &AtomicUsize,
) -> usize {
    let mut still = 0;
    let mut before = count.load(Ordering::SeqCst);
    while still < 200 {
        round_trip(promise, one, other, free).await;
        let now = count.load(Ordering::SeqCst);
        assert!(now * FRAME <= BOUND, "{HELD}: {} MiB were taken and nobody received", (now * FRAME) >> 20);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    before
}

pub(super) async fn a_lane_that_nobody_reads_does_not_block_the_other(bench: &Bench) {
    for (full, free) in [(Lane::Repair, Lane::Live), (Lane::Live, Lane::Repair)] {
        let pair = bench.pair().await;
        for (from, to) in pair.directions() {
            let (flood, count) = flood(from, full);
            once_it_stands_still(BLIND, &**from, &**to, free, &count).await;
            // Many frames get through, not only a few bytes.
            for seed in 0..8 {
                let frame = filler(seed, 3 << 20);
                let sending = send(BLIND, &**from, free, frame.clone());
                let ((), found) = tokio::join!(sending, receive(BLIND, &**to, free));
                assert!(found == frame, "{BLIND}: what was sent arrives");
            }
            flood.abort();
        }
    }
}

pub(super) async fn a_sender_is_held_back_while_nobody_receives(bench: &Bench) {
    for (full, free) in [(Lane::Repair, Lane::Live), (Lane::Live, Lane::Repair)] {
        let pair = bench.pair().await;
        let (flood, count) = flood(&pair.near, full);
        let taken = once_it_stands_still(HELD, &*pair.near, &*pair.far, free, &count).await;
        assert!(taken < ALL, "{HELD}: all {ALL} frames were taken");
        // All of them arrive once somebody receives.
        for seed in 0..ALL {
            let found = receive(HELD, &*pair.far, full).await;
            assert!(found == filler(seed as u64, FRAME), "{HELD}: afterwards they arrive, frame {seed} too");
        }
        within(HELD, flood).await.unwrap_or_else(|error| panic!("{HELD}: {error}"));
    }
}
