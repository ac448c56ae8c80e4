//! Promises about the delivery of frames.

use std::sync::Arc;

use bytes::Bytes;

use super::bench::{Bench, LONGEST, look, receive, round_trip, send};
use crate::conformance::{Numbers, filler, within};
use crate::transport::{Connection, Lane};

const ORDER: &str = "frames arrive once, whole and in the order in which they were sent";
const SIZES: &str = "frames of every size arrive";
const ABANDONED: &str = "a receive that is dropped loses nothing";
const HALF: &str = "a frame whose send was dropped is sent whole or not at all";
const TRAFFIC: &str = "traffic counts at least what was carried";

/// Frames on each of the four ways, two lanes in two directions, all at once.
const FRAMES: usize = 400;

/// The frames of one way, the same on both sides. Most are small, some are long.
fn frames(way: u64) -> impl Iterator<Item = Bytes> {
    let mut numbers = Numbers::new(way);
    (0..FRAMES).map(move |number| {
        let bound = if number % 40 == 7 { 300_000 } else { 2_000 };
        filler(way << 32 | number as u64, numbers.below(bound))
    })
}

pub(super) async fn frames_arrive_whole_in_order_and_once(bench: &Bench) {
    let pair = bench.pair().await;
    let mut ways = tokio::task::JoinSet::new();
    for (direction, (from, to)) in pair.directions().into_iter().enumerate() {
        for lane in Lane::ALL {
            let way = (direction as u64) << 1 | lane as u64;
            ways.spawn(send_all(Arc::clone(from), lane, way));
            ways.spawn(receive_all(Arc::clone(to), lane, way));
        }
    }
    while let Some(way) = within(ORDER, ways.join_next()).await {
        if let Err(error) = way {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    // Nothing arrives twice: the next received frame is the next one sent.
    for lane in Lane::ALL {
        round_trip(ORDER, &*pair.near, &*pair.far, lane).await;
    }
}

async fn send_all(from: Arc<dyn Connection>, lane: Lane, way: u64) {
    for frame in frames(way) {
        send(ORDER, &*from, lane, frame).await;
    }
}

async fn receive_all(to: Arc<dyn Connection>, lane: Lane, way: u64) {
    for (number, wanted) in frames(way).enumerate() {
        let found = receive(ORDER, &*to, lane).await;
        assert!(
            found == wanted,
            "{ORDER}: frame {number} on {lane:?} has {} bytes of {}, or others",
            found.len(),
            wanted.len()
        );
    }
}

pub(super) async fn frames_of_every_size_arrive(bench: &Bench) {
    const AROUND: [usize; 6] = [1 << 8, 1 << 14, 1 << 16, 1 << 20, 2 << 20, 4 << 20];
    let pair = bench.pair().await;
    let mut sizes: Vec<usize> = AROUND.into_iter().flat_map(|size| size - 2..=size + 2).collect();
    sizes.extend([0, 1, 2, 3, 4, 5, 0, 16 << 20, 0]);
    for (seed, size) in sizes.into_iter().enumerate() {
        for (from, to) in pair.directions() {
            let lane = Lane::ALL[seed % 2];
            let frame = filler(seed as u64, size);
            let ((), found) =
                tokio::join!(send(SIZES, &**from, lane, frame.clone()), receive(SIZES, &**to, lane));
            assert!(found == frame, "{SIZES}: {size} bytes were sent, {} arrived, or others", found.len());
        }
    }
    // A frame of exactly the allowed length is not too long.
    let frame = filler(1, 5_000);
    let (_, found) = tokio::join!(
        pair.near.send(Lane::Repair, frame.clone()),
        within(SIZES, pair.far.receive(Lane::Repair, 5_000))
    );
    assert!(matches!(found, Ok(Some(found)) if found == frame), "{SIZES}: the longest allowed one too");
}

pub(super) async fn an_abandoned_receive_loses_nothing(bench: &Bench) {
    let pair = bench.pair().await;
    let frames: Vec<Bytes> = (0..20).map(|seed| filler(seed, 400_000)).collect();
    let sending = async {
        for frame in &frames {
            send(ABANDONED, &*pair.near, Lane::Repair, frame.clone()).await;
        }
    };
    let receiving = async {
        let mut found = Vec::new();
        while found.len() < frames.len() {
            found.push(receive_impatiently(&*pair.far).await);
        }
        found
    };
    let ((), found) = within(ABANDONED, async { tokio::join!(sending, receiving) }).await;
    assert!(found == frames, "{ABANDONED}: the frames are not those that were sent");
}

/// Abandons the receive many times, anywhere within a frame, before the real one.
async fn receive_impatiently(connection: &dyn Connection) -> Bytes {
    for _ in 0..100 {
        match look(connection.receive(Lane::Repair, LONGEST).as_mut()) {
            Some(Ok(Some(frame))) => return frame,
            Some(other) => panic!("{ABANDONED}: {other:?}"),
            None => tokio::task::yield_now().await,
        }
    }
    receive(ABANDONED, connection, Lane::Repair).await
}

pub(super) async fn an_abandoned_send_leaves_no_half_frame(bench: &Bench) {
    const TRIES: u64 = 12;
    let pair = bench.pair().await;
    let frame = |seed| filler(seed, 1 << 20);
    let sending = async {
        for seed in 0..TRIES {
            // Polled once, which sooner or later stops halfway, as nobody may be receiving yet.
            let _ = look(pair.near.send(Lane::Repair, frame(seed)).as_mut());
        }
        send(HALF, &*pair.near, Lane::Repair, frame(TRIES)).await;
    };
    let receiving = async {
        let mut next = 0;
        while next <= TRIES {
            let found = receive(HALF, &*pair.far, Lane::Repair).await;
            let known = (next..=TRIES).find(|seed| found == frame(*seed));
            next = 1 + known.unwrap_or_else(|| panic!("{HALF}: a frame that nobody sent, or out of order"));
        }
    };
    within(HALF, async { tokio::join!(sending, receiving) }).await;
}

pub(super) async fn traffic_counts_what_was_carried(bench: &Bench) {
    const BYTES: usize = 3 << 20;
    let pair = bench.pair().await;
    let before = (pair.near.traffic(), pair.far.traffic());
    let frame = filler(1, BYTES);
    tokio::join!(send(TRAFFIC, &*pair.near, Lane::Live, frame), async {
        drop(receive(TRAFFIC, &*pair.far, Lane::Live).await);
    });
    let (near, far) = (pair.near.traffic(), pair.far.traffic());
    let sent = near.sent - before.0.sent;
    let received = far.received - before.1.received;
    let plausible = BYTES as u64..(BYTES as u64) * 3 / 2;
    assert!(
        plausible.contains(&sent) && plausible.contains(&received),
        "{TRAFFIC}: {sent} sent and {received} received for {BYTES}"
    );
    assert!(
        near.received - before.0.received < BYTES as u64 && far.sent - before.1.sent < BYTES as u64,
        "{TRAFFIC}: and by direction"
    );
}
