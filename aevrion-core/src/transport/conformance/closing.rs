//! Promises about the end of a connection.

use super::bench::{Bench, LONGEST, ended, look};
use crate::conformance::{filler, within};
use crate::transport::{LONGEST_REASON, Lane, Side, TransportError};

const TOO_LONG: &str = "a frame that is too long closes the connection with that error on both sides";
const REASON: &str = "the reason of a close reaches the other side";
const CUT: &str = "a reason is cut to what reaches the other side";
const ORDERLY: &str = "a close without a reason ends receives in order";
const WAITING: &str = "what waits on either side ends with the connection";
const DROPPED: &str = "a connection that was dropped is at its end";

pub(super) async fn a_frame_that_is_too_long_closes_with_that_error_on_both_sides(bench: &Bench) {
    for direction in 0..2 {
        let pair = bench.pair().await;
        let (from, to) = pair.directions()[direction];
        let _ = look(from.send(Lane::Repair, filler(1, 5_001)).as_mut());
        let refused = within(TOO_LONG, to.receive(Lane::Repair, 5_000)).await;
        let Err(error @ TransportError::FrameTooLong { len: 5_001, most: 5_000 }) = refused else {
            panic!("{TOO_LONG}: the receiver is told {refused:?}");
        };
        let (by, reason) = ended(TOO_LONG, within(TOO_LONG, from.receive(Lane::Live, LONGEST)).await);
        assert_eq!((by, reason), (Side::There, error.to_string()), "{TOO_LONG}: what the sender is told");
        let other = within(TOO_LONG, to.receive(Lane::Live, LONGEST)).await;
        assert!(
            matches!(other, Err(TransportError::FrameTooLong { len: 5_001, most: 5_000 })),
            "{TOO_LONG}: the receiver's other lane is told the same, and not {other:?}"
        );
    }
}

pub(super) async fn the_reason_reaches_the_other_side(bench: &Bench) {
    for closer in 0..2 {
        let pair = bench.pair().await;
        let (here, there) = pair.directions()[closer];
        // With much data in transit, too.
        let _ = look(here.send(Lane::Repair, filler(1, 8 << 20)).as_mut());
        let _ = look(there.send(Lane::Repair, filler(1, 8 << 20)).as_mut());
        here.close("the clocks differ by an hour");
        here.close("another reason, which comes too late");
        let told = "the clocks differ by an hour".to_owned();
        for lane in Lane::ALL {
            let end = ended(REASON, within(REASON, here.receive(lane, LONGEST)).await);
            assert_eq!(end, (Side::Here, told.clone()), "{REASON}: a receive on the side that closed");
            let end = ended(REASON, within(REASON, here.send(lane, filler(1, 10))).await);
            assert_eq!(end, (Side::Here, told.clone()), "{REASON}: a send on the side that closed");
        }
        for lane in Lane::ALL {
            // Frames sent earlier may still be received.
            let end = loop {
                match within(REASON, there.receive(lane, LONGEST)).await {
                    Ok(Some(_)) => {}
                    end => break ended(REASON, end),
                }
            };
            assert_eq!(end, (Side::There, told.clone()), "{REASON}: a receive on the other side");
            let end = ended(REASON, within(REASON, there.send(lane, filler(1, 10))).await);
            assert_eq!(end, (Side::There, told.clone()), "{REASON}: a send on the other side");
        }
    }
}

pub(super) async fn a_long_reason_is_cut(bench: &Bench) {
    let pair = bench.pair().await;
    let reason = format!("x{}", "ä".repeat(LONGEST_REASON));
    pair.far.close(&reason);
    let (_, told) = ended(CUT, within(CUT, pair.near.receive(Lane::Live, LONGEST)).await);
    assert!(
        reason.starts_with(&told) && told.len() <= LONGEST_REASON && told.len() + 4 > LONGEST_REASON,
        "{CUT}: {} bytes of {} arrived: {told}",
        told.len(),
        reason.len()
    );
}

pub(super) async fn an_end_without_a_reason_is_orderly(bench: &Bench) {
    let pair = bench.pair().await;
    pair.near.close("");
    for (side, connection) in [("here", &pair.near), ("there", &pair.far)] {
        for lane in Lane::ALL {
            let end = within(ORDERLY, connection.receive(lane, LONGEST)).await;
            assert!(matches!(end, Ok(None)), "{ORDERLY}: {side} it is {end:?}");
        }
        ended(ORDERLY, within(ORDERLY, connection.send(Lane::Live, filler(1, 1))).await);
    }
}

pub(super) async fn what_waits_ends_with_the_connection(bench: &Bench) {
    const MUCH: usize = 64 << 20;
    let pair = bench.pair().await;
    let mut waiting = tokio::task::JoinSet::new();
    for connection in [&pair.near, &pair.far] {
        let (sending, receiving) = (connection.clone(), connection.clone());
        // Nobody receives on this lane, so the send has to wait.
        waiting.spawn(async move {
            loop {
                if let Err(error) = sending.send(Lane::Repair, filler(1, MUCH / 64)).await {
                    return error;
                }
            }
        });
        waiting.spawn(async move {
            match receiving.receive(Lane::Live, LONGEST).await {
                Err(error) => error,
                Ok(frame) => panic!("{WAITING}: nothing was sent, and {frame:?} arrived"),
            }
        });
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    pair.near.close("enough");
    while let Some(end) = within(WAITING, waiting.join_next()).await {
        let end = end.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (_, reason) = ended::<()>(WAITING, Err(end));
        assert_eq!(reason, "enough", "{WAITING}: with the reason");
    }
}

pub(super) async fn a_dropped_connection_ends(bench: &Bench) {
    let pair = bench.pair().await;
    drop(pair.far);
    let end = within(DROPPED, pair.near.receive(Lane::Live, LONGEST)).await;
    assert!(
        matches!(end, Ok(None) | Err(TransportError::Closed { by: Side::There | Side::Network, .. })),
        "{DROPPED}: {end:?}"
    );
}
