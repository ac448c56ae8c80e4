//! Cooperative scheduling: long work gives way to other tasks.
//!
//! A runtime runs a task until it waits. Stores answer in place, so a loop over rows never waits, and would keep its
//! thread, with the timers and sockets of all other tasks, until its end. Work is therefore charged here row by row,
//! and yields once it has used up a quantum. A caller that drops the future stops the work there.
//!
//! Work is counted, not time: the same input yields at the same places, in a simulation, too.

use std::cell::Cell;

use tokio::task::{Id, try_id, yield_now};

use crate::bounds::QUANTUM;

thread_local! {
    /// The task charged last on this thread, and its cost since its last yield. After another task the count begins
    /// anew.
    static CHARGED: Cell<(Option<Id>, usize)> = const { Cell::new((None, 0)) };
}

/// Charges the running task for work of `cost` rows, just done or about to be, and yields if that uses up its quantum.
/// Cost: some nanoseconds; about a microsecond for the yield.
pub(crate) async fn charge(cost: usize) {
    if uses_up_quantum(cost) {
        yield_now().await;
    }
}

/// The cost of work on so many bytes, in rows.
pub(crate) const fn rows_of(bytes: usize) -> usize {
    bytes >> 10
}

fn uses_up_quantum(cost: usize) -> bool {
    let task = try_id();
    let (last, charged) = CHARGED.get();
    let charged = if task == last { charged.saturating_add(cost) } else { cost };
    let used_up = charged >= QUANTUM;
    CHARGED.set((task, if used_up { 0 } else { charged }));
    used_up
}

/// Resets the count on this thread: a simulation must not depend on earlier runs.
#[cfg(feature = "testkit")]
pub(crate) fn reset() {
    CHARGED.set((None, 0));
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// The number of yields in work of `rows` rows, one by one.
    fn yields(rows: usize) -> usize {
        let mut work = pin!(async move {
            for _ in 0..rows {
                charge(1).await;
            }
        });
        let mut context = Context::from_waker(Waker::noop());
        let mut yields = 0;
        while work.as_mut().poll(&mut context).is_pending() {
            yields += 1;
        }
        yields
    }

    #[test]
    fn each_quantum_ends_with_a_yield() {
        reset();
        assert_eq!(yields(QUANTUM - 1), 0);
        assert_eq!(yields(1), 1);
        assert_eq!(yields(QUANTUM * 10), 10);
    }

    #[tokio::test]
    async fn a_task_pays_for_no_other() {
        let charged = |cost| tokio::spawn(async move { uses_up_quantum(cost) });
        for _ in 0..4 {
            assert!(!charged(QUANTUM - 1).await.unwrap());
        }
        assert!(charged(QUANTUM).await.unwrap());
    }
}
