//! The promise about neighbours that vanish without closing.

use tokio::sync::oneshot;

use super::bench::{Bench, LONGEST, round_trip};
use crate::conformance::within;
use crate::transport::{Lane, Side, TransportError};

const PROMISE: &str = "a killed neighbour is noticed in bounded time";
const STOP: &str = "stop";

/// The neighbour runs in its own runtime, whose tasks all end at once, wherever they are. To the network this looks
/// like a killed process.
pub(super) async fn a_killed_neighbour_is_noticed_in_bounded_time(bench: &Bench) {
    let (say_address, address) = oneshot::channel();
    let doomed = bench.clone();
    let thread = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("the suite needs a runtime");
        let held = runtime.block_on(async {
            let transport = doomed.transport().await;
            // The test waits for these messages. If it has ended, a failed send does not matter.
            let _ = say_address.send(transport.address());
            let far = transport.accept().await.unwrap_or_else(|| panic!("{PROMISE}: it accepts at first"));
            // Until it is told to stop: by then all of its frames have arrived.
            while let Ok(Some(frame)) = far.receive(Lane::Live, LONGEST).await {
                if frame == STOP {
                    break;
                }
                let _ = far.send(Lane::Live, frame).await;
            }
            (transport, far)
        });
        // The thread that drives the tasks stops here. Then the tasks are dropped.
        drop(runtime);
        drop(held);
    });
    let transport = bench.transport().await;
    let address = within(PROMISE, address).await.unwrap_or_else(|_| panic!("{PROMISE}: it binds at first"));
    let near = within(PROMISE, transport.dial(&address)).await;
    let near = near.unwrap_or_else(|error| panic!("{PROMISE}: it lives at first: {error}"));
    for _ in 0..3 {
        let sent = within(PROMISE, near.send(Lane::Live, "echo".into())).await;
        let echo = within(PROMISE, near.receive(Lane::Live, LONGEST)).await;
        assert!(
            sent.is_ok() && matches!(&echo, Ok(Some(echo)) if echo == "echo"),
            "{PROMISE}: it answers at first, not {echo:?}"
        );
    }
    let _ = within(PROMISE, near.send(Lane::Live, STOP.into())).await;
    let end = within(PROMISE, near.receive(Lane::Live, LONGEST)).await;
    assert!(
        matches!(end, Err(TransportError::Closed { by: Side::Network | Side::There, .. }) | Ok(None)),
        "{PROMISE}: a receive says {end:?}"
    );
    let end = within(PROMISE, near.send(Lane::Repair, "anyone?".into())).await;
    assert!(matches!(end, Err(TransportError::Closed { .. })), "{PROMISE}: a send says {end:?}");
    let joined = within(PROMISE, tokio::task::spawn_blocking(move || thread.join())).await;
    assert!(matches!(joined, Ok(Ok(()))), "{PROMISE}: the neighbour's own thread ended");
    // The survivor is still fully usable.
    let other = bench.transport().await;
    let (near, far) = super::bench::connect(&*transport, &*other).await;
    round_trip(PROMISE, &*near, &*far, Lane::Live).await;
}
