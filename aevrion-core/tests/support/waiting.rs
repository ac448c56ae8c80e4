//! Waiting for what a node learns of its neighbours.

use std::time::Duration;

use aevrion_core::sync::Sync;

/// More than anything takes on a busy machine: reached only when something never happens.
pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// Looks again and again until it is so.
pub(crate) async fn until(sync: &Sync, holds: impl Fn(&Sync) -> bool) {
    let look = async {
        while !holds(sync) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(NEVER, look).await;
    looked.unwrap_or_else(|_| panic!("it never holds: {:#?} {:?}", sync.neighbours(), sync.totals()));
}
