//! Waiting for a node to learn about its neighbours.

use std::time::Duration;

use aevrion_core::replication::Replication;

/// More than any operation takes on a busy machine: reached only if an expected change never happens.
pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// Polls until the condition holds.
pub(crate) async fn until(replication: &Replication, holds: impl Fn(&Replication) -> bool) {
    let look = async {
        while !holds(replication) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(NEVER, look).await;
    looked.unwrap_or_else(|_| {
        panic!("it never holds: {:#?} {:?}", replication.neighbours(), replication.totals())
    });
}
